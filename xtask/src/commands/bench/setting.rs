//! What a benchmark gets: the tree, a folder to work in, and a function that runs our side and the other side in turn.

use super::row::{Budget, Row, Theirs};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::{Cmd, Tool, interrupt, rivals::Rivals, usage::Usage};
use std::path::{Path, PathBuf};

/// The setting of a benchmark.
pub struct Setting<'c> {
    /// The tree and its knobs.
    pub ctx: &'c Ctx,
    /// The command lines that we compare ourselves with.
    pub rivals: Rivals<'c>,
    /// An empty folder on the disk that builds use; removed after the benchmark.
    pub folder: PathBuf,
    /// Whether to measure also what is slow or needs the network.
    pub cold: bool,
    /// A checkout of lf-edge/eve.
    pub eve: Option<PathBuf>,
}

/// A measured action.
pub type Action<'a> = &'a dyn Fn() -> Result<Usage>;

/// The other side of a comparison.
pub struct Rival<'a> {
    /// Its name in the table: `tar x + mksquashfs`.
    pub name: &'static str,
    /// The tools that it needs and this machine may lack.
    pub tools: &'a [Tool],
    /// Runs it.
    pub run: Action<'a>,
}

impl Setting<'_> {
    /// The path of a file or folder of this benchmark; removes an existing one.
    pub fn fresh(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove `{}`", path.display()))
            }
            _ => Ok(path),
        }
    }

    /// The size in bytes of a file of this benchmark; 0 if it does not exist.
    pub fn length(&self, name: &str) -> u64 {
        self.folder.join(name).metadata().map_or(0, |metadata| metadata.len())
    }

    /// An empty folder of this benchmark.
    pub fn fresh_folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.fresh(name)?;
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make `{}`", path.display()))?;
        Ok(path)
    }

    /// xtask on the tree `root`, with our caches and knobs, but without the store: nothing is taken from earlier builds.
    pub fn ourselves(&self, root: &Path) -> Result<Cmd> {
        let ctx = self.ctx;
        let mut cmd = self.rivals.ourselves(root)?.env("LINUXKIT_CACHE", ctx.environment.linuxkit_cache()).env("STORE", "off");
        for (name, value) in
            [("DEBIAN_MIRROR", &ctx.knobs.host.debian_mirror), ("DEBIAN_SECURITY_MIRROR", &ctx.knobs.host.debian_security_mirror)]
        {
            if let Some(value) = value {
                cmd = cmd.env(name, value);
            }
        }
        Ok(cmd.env("HV", &ctx.knobs.image.hv).env("ZARCH", ctx.knobs.image.arch.as_str()))
    }

    /// Measures our side of a comparison in a process of its own, see `part`.
    pub fn part(&self, words: &[&str], paths: &[&Path]) -> Result<Usage> {
        let cmd = self.ourselves(&self.ctx.root)?.args(["bench", "--part"]).args(words).args(paths);
        Ok(cmd.measure()?.0)
    }

    /// Runs both sides in turn, `rounds` times, and takes the best time of each. If the other side cannot run, prints SKIPPED and
    /// puts the reason into the row.
    pub fn compare(&self, what: &str, rounds: usize, ours: Action<'_>, rival: &Rival<'_>, budget: Budget) -> Result<Row> {
        let absent = rival.tools.iter().find_map(|tool| self.ctx.tools.find(*tool).err());
        let mut failed = absent.map(|missing| format!("`{}` is not on this machine", missing.tool.info().name));
        let (mut best_of_ours, mut best_of_theirs) = (None, None);
        for _ in 0..rounds {
            keep_best(&mut best_of_ours, ours().with_context(|| format!("cannot measure {what}"))?);
            if failed.is_none() {
                match (rival.run)() {
                    Ok(usage) => keep_best(&mut best_of_theirs, usage),
                    Err(error) if interrupt::is_interrupted() => return Err(error),
                    Err(error) => failed = Some(format!("{error:#}")),
                }
            }
        }
        let theirs = match (failed, best_of_theirs) {
            (None, Some(usage)) => Theirs::Cost(rival.name, usage.into()),
            (why, _) => {
                let why = why.unwrap_or_default();
                eprintln!("SKIPPED: {}: {why}\nhint: cargo xtask doctor --install --for bench", rival.name);
                Theirs::Missing(rival.name, why.lines().next().unwrap_or_default().to_owned())
            }
        };
        let ours = best_of_ours.context("at least one round is measured")?;
        Ok(Row { what: what.to_owned(), ours: ours.into(), theirs, budget, memory: None })
    }
}

fn keep_best(best: &mut Option<Usage>, usage: Usage) {
    if best.is_none_or(|best| usage.wall < best.wall) {
        *best = Some(usage);
    }
}
