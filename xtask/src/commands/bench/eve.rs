//! A checkout of lf-edge/eve, against its own Makefile and scripts. They want linuxkit on the PATH, or what stands in for it
//! (docs/BENCHMARKS.md).

use super::{
    row::{Budget, Row},
    setting::{Rival, Setting},
};
use anyhow::Result;
use child::Tool;

const ROUNDS: usize = 3;
const BUDGET: Budget = Budget::Ratio(0.05);

/// Best of some rounds each; nothing without `--eve`.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let Some(eve) = &setting.eve else {
        eprintln!("SKIPPED: lf-edge/eve: no checkout is named\nhint: cargo xtask bench --eve DIR");
        return Ok(Vec::new());
    };
    let plan = || Ok(setting.ourselves(eve)?.args(["--dry-run", "live-gcp"]).measure()?.0);
    let make = || Ok(setting.rivals.make_plan(eve, "live-gcp")?.measure()?.0);
    let make = Rival { name: "make -n live-gcp", tools: &[Tool::Linuxkit], run: &make };
    let yml = || Ok(setting.ourselves(eve)?.args(["bench", "--part", "yml"]).measure()?.0);
    let script = || Ok(setting.rivals.parse_pkgs(eve, setting.ctx.knobs.image.arch.as_str())?.measure()?.0);
    let script = Rival { name: "tools/parse-pkgs.sh", tools: &[Tool::Linuxkit], run: &script };
    Ok(vec![
        setting.compare("lf-edge/eve: plan of live-gcp", ROUNDS, &plan, &make, BUDGET)?,
        setting.compare("lf-edge/eve: all tags and the resolved yml", ROUNDS, &yml, &script, BUDGET)?,
    ])
}
