//! Measures whole builds of a fresh clone of the last commit: `live` a second time with nothing changed, and a first time with the time of
//! each phase, which the executor reports with `--json`.

use super::{
    row::{Budget, Cost, Row, Theirs},
    setting::Setting,
};
use anyhow::{Context as _, Result};
use child::{Cmd, usage::Usage};
use serde::Deserialize;
use std::path::PathBuf;

/// The fields of `live --json` that we need.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    seconds: f64,
    pub(super) made: Vec<Made>,
    #[serde(default)]
    pub(super) taken: Vec<Made>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Made {
    pub(super) node: String,
    seconds: f64,
}

/// Phases of fewer seconds share one row.
const SHORT: f64 = 0.5;

/// Builds `live` with all packages cached, and again: the time that the executor reports, and the time of the whole process.
pub fn again(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let clone = clone(setting)?;
    let live = || -> Result<Cmd> { Ok(setting.ourselves(&clone)?.args(["--json", "live"])) };
    let (first, report) = measure(live()?)?;
    let (second, again) = measure(live()?)?;
    if !again.made.is_empty() {
        anyhow::bail!(
            "`live` with nothing changed made {}",
            again.made.iter().map(|made| made.node.as_str()).collect::<Vec<_>>().join(", ")
        );
    }
    let row = |what: &str, ours: Cost, theirs: Cost| Row {
        what: what.to_owned(),
        ours,
        theirs: Theirs::Cost("the first run", theirs),
        budget: Budget::Ratio(0.01),
        memory: None,
    };
    Ok(vec![
        row("live again, in the program", Cost::of_seconds(again.seconds), Cost::of_seconds(report.seconds)),
        row("live again, the whole process", second.into(), first.into()),
    ])
}

/// Builds live.qcow2 in a clone with nothing but downloads cached; with `--cold` also without downloads.
pub fn fresh(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let mut rows = phases(setting, "warm downloads", None)?;
    if setting.cold {
        rows.extend(phases(setting, "cold downloads", Some(setting.fresh_folder("downloads")?))?);
    }
    Ok(rows)
}

fn phases(setting: &Setting<'_>, name: &str, downloads: Option<PathBuf>) -> Result<Vec<Row>> {
    let clone = clone(setting)?;
    let mut live = setting.ourselves(&clone)?.env("LINUXKIT_CACHE", setting.fresh_folder("images")?).args(["--json", "live"]);
    if let Some(downloads) = &downloads {
        live = live.env("XDG_CACHE_HOME", downloads);
    }
    let (usage, mut report) = measure(live)?;
    report.made.sort_by(|a, b| b.seconds.total_cmp(&a.seconds).then_with(|| a.node.cmp(&b.node)));
    let title = format!("fresh clone, {name}");
    let mut rows = vec![Row::alone(format!("{title}: all of `live`"), usage.into())];
    let (long, short): (Vec<&Made>, Vec<&Made>) = report.made.iter().partition(|made| made.seconds >= SHORT);
    rows.extend(long.iter().map(|made| Row::alone(format!("{title}: {}", made.node), Cost::of_seconds(made.seconds))));
    let rest = short.iter().map(|made| made.seconds).sum();
    rows.push(Row::alone(format!("{title}: {} shorter steps together", short.len()), Cost::of_seconds(rest)));
    Ok(rows)
}

fn clone(setting: &Setting<'_>) -> Result<PathBuf> {
    let to = setting.fresh("clone")?;
    setting.rivals.clone(&setting.ctx.root, &to)?.run()?;
    Ok(to)
}

pub(super) fn measure(live: Cmd) -> Result<(Usage, Report)> {
    let (usage, text) = live.measure()?;
    Ok((usage, serde_json::from_slice(&text).context("`live --json` printed something else than its report")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_a_build_is_parsed() {
        let text =
            r#"{"state": "made", "artifacts": [], "made": [{"node": "rootfs.tar", "seconds": 1.5}], "warnings": [], "seconds": 2.25}"#;
        let report: Report = serde_json::from_str(text).expect("report");
        assert_eq!((report.made[0].node.as_str(), report.made[0].seconds, report.seconds), ("rootfs.tar", 1.5, 2.25));
    }
}
