//! `merge-coverage`: the coverage profiles of lf-edge/eve's unit tests, of Eden's and of other runs as one, for the target `coverage-merge`.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::Tool;
use common::error::usage;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The profiles.
#[derive(clap::Args)]
pub struct MergeCoverage {
    /// the profile of the unit tests
    #[arg(long, value_name = "FILE")]
    unit: PathBuf,
    /// a profile that is merged if it is there
    #[arg(long, value_name = "FILE")]
    also: Vec<PathBuf>,
    /// folders, separated by spaces, with the binary profiles of other runs
    #[arg(long, value_name = "DIRS", default_value = "")]
    extra: String,
    /// the merged profile
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// `merge-coverage`.
pub fn run(ctx: &Ctx, asked: MergeCoverage) -> Result<()> {
    let [unit, out] = [&asked.unit, &asked.out].map(|path| ctx.root.join(path));
    let Ok(mut merged) = fs::read_to_string(&unit) else {
        return Err(usage(format!("`{}` is not there\nhint: cargo xtask make test", asked.unit.display())));
    };
    for path in asked.also.iter().map(|path| ctx.root.join(path)).filter(|path| path.is_file()) {
        add(&mut merged, &path)?;
    }
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let text = folder.path().join("profile");
    for extra in asked.extra.split_whitespace() {
        let go = ctx.tools.cmd(Tool::Go)?.args(["tool", "covdata", "textfmt", "-i", extra, "-o"]).arg(&text);
        go.dir(&ctx.root).step(format!("reading the coverage in {extra}")).run()?;
        add(&mut merged, &text)?;
    }
    let parent = out.parent().unwrap_or(&ctx.root);
    fs::create_dir_all(parent).with_context(|| format!("cannot make the folder `{}`", parent.display()))?;
    fs::write(&out, merged).with_context(|| format!("cannot write `{}`", out.display()))
}

/// Adds the lines of a profile without the first, which names its mode.
fn add(merged: &mut String, path: &Path) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read the coverage profile `{}`", path.display()))?;
    merged.extend(text.split_inclusive('\n').skip(1));
    Ok(())
}
