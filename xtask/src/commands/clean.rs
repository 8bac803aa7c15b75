//! `clean`: removes what builds have made in the tree. Caches that trees share stay, and are named.

use super::Run;
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::display::short;
use plan::Dist;
use std::path::{Path, PathBuf};

/// What is removed.
#[derive(clap::Args)]
pub struct Clean {
    /// only the versions that `current` does not point to: each change of a tracked file makes a new one
    #[arg(long)]
    old: bool,
}

impl Run for Clean {
    fn run(self, ctx: &Ctx) -> Result<()> {
        clean(ctx, self.old)
    }
}

fn clean(ctx: &Ctx, old: bool) -> Result<()> {
    let dist = ctx.dist();
    if !dist.path().exists() {
        return Ok(());
    }
    let _lock = executor::lock_tree(&dist)?;
    let paths = if old { old_versions(dist.path())? } else { entries(dist.path())? };
    for path in &paths {
        if !ctx.globals.dry_run {
            let removed = if path.is_dir() && !path.is_symlink() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
            removed.with_context(|| format!("cannot remove `{}`", path.display()))?;
        }
        println!("remove {}", short(path, &ctx.root));
    }
    if !old {
        let (images, downloads) = (ctx.environment.linuxkit_cache(), ctx.environment.cache());
        println!("kept for all trees: images in {}, downloads in {}", images.display(), downloads.display());
    }
    Ok(())
}

/// All that is in a folder but the lock: others may wait for it, and it is the same for them only while it has its name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.file_name().is_some_and(|name| name != Dist::LOCK));
    paths.sort();
    Ok(paths)
}

/// The folders of versions, for all architectures that have a `current`, but the one that it leads to.
fn old_versions(dist: &Path) -> Result<Vec<PathBuf>> {
    let mut old = Vec::new();
    for arch in entries(dist)? {
        let Ok(current) = std::fs::read_link(arch.join(Dist::CURRENT)) else { continue };
        let versions = entries(&arch)?.into_iter().filter(|path| path.is_dir() && !path.is_symlink());
        old.extend(versions.filter(|path| path.file_name() != current.file_name()));
    }
    Ok(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_are_those_that_nothing_leads_to() {
        let dist = tempfile::tempdir().expect("folder");
        for name in ["amd64/1", "amd64/2", "tmp/x"] {
            std::fs::create_dir_all(dist.path().join(name)).expect("folder");
        }
        std::os::unix::fs::symlink("2", dist.path().join("amd64/current")).expect("link");
        std::fs::write(dist.path().join(Dist::LOCK), "").expect("lock");
        assert_eq!(old_versions(dist.path()).expect("read"), [dist.path().join("amd64/1")]);
        assert_eq!(entries(dist.path()).expect("read").len(), 2);
    }
}
