//! xtask itself from its sources: what a newcomer waits for before anything happens. The sources of the crates that it
//! uses are downloaded before.

use super::{
    row::{Budget, Row},
    setting::Setting,
};
use anyhow::Result;

/// Into an empty target folder, once.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let workspace = setting.ctx.environment.workspace().unwrap_or_else(|| setting.ctx.root.clone());
    let target = setting.fresh_folder("target")?;
    let usage = setting.rivals.compile(&workspace, &target)?.measure()?.0;
    let row = Row::alone("xtask from its sources, release".to_owned(), usage.into());
    Ok(vec![Row { budget: Budget::Seconds(90.0), ..row }])
}
