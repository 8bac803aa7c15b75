//! Measures how long cargo compiles xtask, which every new user waits for. The sources of its crates are already downloaded.

use super::{
    row::{Budget, Row},
    setting::Setting,
};
use anyhow::Result;

/// Compiles once, into an empty target folder.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let workspace = setting.ctx.environment.workspace().unwrap_or_else(|| setting.ctx.root.clone());
    let target = setting.fresh_folder("target")?;
    let usage = setting.rivals.compile(&workspace, &target)?.measure()?.0;
    let row = Row::alone("xtask from its sources, release".to_owned(), usage.into());
    Ok(vec![Row { budget: Budget::Seconds(90.0), ..row }])
}
