//! The tags of all packages from four runs of git, against asking git about each package, as linuxkit does.

use super::{
    row::{Budget, Row},
    setting::{Rival, Setting},
};
use anyhow::Result;
use child::{Tool, usage::Usage};

const ROUNDS: usize = 3;

/// Best of some rounds each. No budget: the ratio is one over the number of packages, more or less.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let ctx = setting.ctx;
    let names = ctx.tree()?.package_names()?;
    let ours = || Ok(setting.ourselves(&ctx.root)?.arg("show-tag").measure()?.0);
    let theirs = || {
        let mut sum = Usage::default();
        for name in &names {
            for cmd in setting.rivals.git_of_package(&ctx.root, &ctx.profile.packages.folder.join(name))? {
                sum = sum.then(cmd.measure()?.0);
            }
        }
        Ok(sum)
    };
    let rival = Rival { name: "git ls-tree + git status per package", tools: &[Tool::Git], run: &theirs };
    Ok(vec![setting.compare(&format!("tags of {} packages", names.len()), ROUNDS, &ours, &rival, Budget::None)?])
}
