//! Measures plans and tags of a checkout of lf-edge/eve, against its Makefile and scripts, which need linuxkit or a replacement on the
//! PATH (docs/BENCHMARKS.md).

use super::{
    row::{Budget, Row},
    setting::{Rival, Setting},
};
use anyhow::Result;
use child::Tool;

const ROUNDS: usize = 3;
const BUDGET: Budget = Budget::Ratio(0.05);

/// Takes the best of [`ROUNDS`] rounds; without `--eve` prints SKIPPED.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let Some(eve) = &setting.eve else {
        eprintln!("SKIPPED: lf-edge/eve: no checkout is given\nhint: cargo xtask bench --eve DIR");
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
