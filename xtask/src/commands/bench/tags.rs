//! Measures computing the tags of all packages (at most four git processes), against linuxkit's way: two git processes per package.

use super::{
    row::{Budget, Row},
    setting::{Rival, Setting},
};
use anyhow::Result;
use child::{Tool, usage::Usage};

const ROUNDS: usize = 3;

/// Takes the best of [`ROUNDS`] rounds. There is no budget: the ratio depends on the number of packages.
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
