//! `clean`: removes what builds wrote below dist/. Keeps the caches that all trees share, and prints where they are. Removes from the
//! store of compressed blocks what no image has used for long.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::display::short;
use diskimage::squashfs::BlockStore;
use plan::Dist;
use std::path::{Path, PathBuf};

/// Which versions to remove.
#[derive(clap::Args)]
pub struct Clean {
    /// remove only versions that `current` does not point to (each change of a tracked file makes a new version)
    #[arg(long)]
    old: bool,
}

/// `clean`.
pub fn run(ctx: &Ctx, Clean { old }: Clean) -> Result<()> {
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
        if let Some(blocks) = ctx.blocks().filter(|folder| folder.exists()) {
            let left = if ctx.globals.dry_run { u64::MAX } else { BlockStore::prune(&blocks, native::BLOCKS_LIMIT) };
            if left > 0 {
                println!("kept for all trees: compressed blocks of earlier images in {}", blocks.display());
            }
        }
    }
    Ok(())
}

/// The entries of a folder without the lock file. Another process may be waiting on it; a new file of that name would be another lock.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.file_name().is_some_and(|name| name != Dist::LOCK));
    paths.sort();
    Ok(paths)
}

/// For every architecture that has a link `current`: the folders of all versions except the one it points to.
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
    fn versions_are_old_unless_current_points_to_them() {
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
