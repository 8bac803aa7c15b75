//! Measures plans of trees with ten and a hundred times the packages of this one: planning must stay linear.

use super::{
    loops::copy_folder,
    row::{Budget, Row},
    setting::Setting,
};
use anyhow::{Context as _, Result};
use std::{path::Path, time::Duration};

/// The package that is copied: few files, one base.
const MODEL: &str = "sysctl";
/// The most seconds for a plan of 4,700 packages.
const MOST: f64 = 0.5;

/// The age from which files are remembered, and some.
const SETTLED: Duration = Duration::from_secs(4);

/// Plans `pkgs` with this tree's packages, and with copies of one of them until there are 470 and 4,700.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let tree = setting.fresh("tree")?;
    setting.rivals.clone(&setting.ctx.root, &tree)?.run()?;
    let mut rows = Vec::new();
    for packages in [0, 470, 4700] {
        let count = grow(&tree, packages)?;
        setting.rivals.commit(&tree)?.into_iter().try_for_each(|git| git.run())?;
        // The first one reads what is remembered later; files that have just been written are not remembered.
        std::thread::sleep(SETTLED);
        let plan = || Ok::<_, anyhow::Error>(setting.ourselves(&tree)?.args(["--dry-run", "pkgs"]).measure()?.0);
        plan()?;
        let (one, other) = (plan()?, plan()?);
        let best = if one.wall < other.wall { one } else { other };
        rows.push(Row { budget: Budget::Seconds(MOST), ..Row::alone(format!("plan of {count} packages"), best.into()) });
    }
    Ok(rows)
}

/// Copies the model until the tree has `packages`; returns their number.
fn grow(tree: &Path, packages: usize) -> Result<usize> {
    let folder = tree.join("pkg");
    let model = folder.join(MODEL);
    let mut count = std::fs::read_dir(&folder).with_context(|| format!("cannot read `{}`", folder.display()))?.count();
    while count < packages {
        let copy = folder.join(format!("copy{count}"));
        copy_folder(&model, &copy)?;
        let yml = copy.join("build.yml");
        let text = std::fs::read_to_string(&yml)?.replace(MODEL, &format!("copy{count}"));
        std::fs::write(&yml, text).with_context(|| format!("cannot write `{}`", yml.display()))?;
        count += 1;
    }
    Ok(count)
}
