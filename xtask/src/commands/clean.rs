//! `clean`: removes what builds for ZARCH wrote below dist/. Keeps other architectures' builds and the caches that all trees share, and
//! prints where they are. Removes from the store what no build has used for long; with `--store`, all of it.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::{Arch, display::short};
use diskimage::squashfs::BlockStore;
use plan::Dist;
use std::path::{Path, PathBuf};

/// Start of the name under which a part of the store is removed.
const GONE: &str = ".gone-";

/// Which versions to remove.
#[derive(clap::Args)]
pub struct Clean {
    /// remove only versions of ZARCH that `current` does not point to (each change of a tracked file makes a new version)
    #[arg(long)]
    old: bool,
    /// also remove the artifacts and compressed blocks that all trees share
    #[arg(long, conflicts_with = "old")]
    store: bool,
}

/// `clean`.
pub fn run(ctx: &Ctx, Clean { old, store }: Clean) -> Result<()> {
    let dist = ctx.dist();
    if dist.path().exists() {
        clean_dist(ctx, &dist, old)?;
    }
    if !old {
        clean_store(ctx, store)?;
    }
    Ok(())
}

fn clean_dist(ctx: &Ctx, dist: &Dist, old: bool) -> Result<()> {
    let _lock = executor::lock_tree(dist)?;
    let arch = ctx.knobs.image.arch;
    let (paths, kept) = if old { (old_versions(&dist.arch(arch))?, Vec::new()) } else { split(entries(dist.path())?, arch) };
    for path in &paths {
        if !ctx.globals.dry_run {
            let removed = if path.is_dir() && !path.is_symlink() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
            removed.with_context(|| format!("cannot remove `{}`", path.display()))?;
        }
        println!("remove {}", short(path, &ctx.root));
    }
    for (arch, path) in kept {
        println!("kept: {} (`cargo xtask clean ZARCH={arch}` removes it)", short(&path, &ctx.root));
    }
    if !old {
        let (images, downloads) = (ctx.environment.linuxkit_cache(), ctx.environment.cache());
        println!("kept for all trees: images in {}, downloads in {}", images.display(), downloads.display());
    }
    Ok(())
}

/// Removes from the store what is old, or all of it. Builds of other trees that run meanwhile lose nothing: they make again what they miss.
fn clean_store(ctx: &Ctx, all: bool) -> Result<()> {
    let (Some(folder), Some(blocks), Some(artifacts)) = (ctx.store(), ctx.blocks(), super::store::artifacts(ctx)) else { return Ok(()) };
    let (packages, checked) = (ctx.built_packages(), ctx.checked_layers());
    if !folder.exists() {
        return Ok(());
    }
    if all {
        if !ctx.globals.dry_run {
            remove_left_over(&folder);
        }
        let all = [blocks.as_path(), artifacts.folder()].into_iter().chain(packages.as_deref()).chain(checked.as_deref());
        return all.filter(|path| path.exists()).try_for_each(|path| {
            println!("remove {}", path.display());
            if ctx.globals.dry_run { Ok(()) } else { remove_shared(path) }
        });
    }
    if !ctx.globals.dry_run {
        BlockStore::prune(&blocks, native::BLOCKS_LIMIT);
        artifacts.prune();
    }
    println!("kept for all trees: artifacts and compressed blocks in {} (`cargo xtask clean --store` removes them)", folder.display());
    Ok(())
}

/// Removes what a `clean --store` that was killed has left.
fn remove_left_over(folder: &Path) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(GONE)).for_each(|entry| {
        let _ = std::fs::remove_dir_all(entry.path());
    });
}

/// Removes a folder that other processes may be writing to: under another name first, so that it does not fill up meanwhile.
fn remove_shared(path: &Path) -> Result<()> {
    let context = || format!("cannot remove `{}`", path.display());
    let folder = path.parent().with_context(context)?;
    let gone = tempfile::Builder::new().prefix(GONE).tempdir_in(folder).with_context(context)?;
    std::fs::rename(path, gone.path().join("store")).with_context(context)?;
    // An entry that is just becoming whole in there may be missed once.
    std::fs::remove_dir_all(gone.path()).or_else(|_| gone.close()).with_context(context)
}

/// The entries of a folder without the lock file. Another process may be waiting on it; a new file of that name would be another lock.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.file_name().is_some_and(|name| name != Dist::LOCK));
    paths.sort();
    Ok(paths)
}

/// Divides the entries of `dist/` into those that go and the folders of architectures other than `arch`.
fn split(entries: Vec<PathBuf>, arch: Arch) -> (Vec<PathBuf>, Vec<(Arch, PathBuf)>) {
    let other = |path: &Path| path.file_name()?.to_str()?.parse::<Arch>().ok().filter(|found| *found != arch);
    let (mut gone, mut kept) = (Vec::new(), Vec::new());
    for path in entries {
        match other(&path) {
            Some(arch) => kept.push((arch, path)),
            None => gone.push(path),
        }
    }
    (gone, kept)
}

/// The folders of all versions of an architecture except the one that its link `current` points to; none without the link.
fn old_versions(arch: &Path) -> Result<Vec<PathBuf>> {
    let Ok(current) = std::fs::read_link(arch.join(Dist::CURRENT)) else { return Ok(Vec::new()) };
    let mut versions = entries(arch)?;
    versions.retain(|path| path.is_dir() && !path.is_symlink() && path.file_name() != current.file_name());
    Ok(versions)
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
        assert_eq!(old_versions(&dist.path().join("amd64")).expect("read"), [dist.path().join("amd64/1")]);
        assert_eq!(old_versions(&dist.path().join("arm64")).expect("read"), [] as [PathBuf; 0]);
        assert_eq!(entries(dist.path()).expect("read").len(), 2);
    }

    #[test]
    fn another_architecture_is_kept() {
        let paths = ["amd64", "arm64", "conf", "tmp"].map(|name| Path::new("/dist").join(name)).to_vec();
        let (gone, kept) = split(paths.clone(), Arch::Arm64);
        assert_eq!(gone, [&paths[1], &paths[2], &paths[3]].map(Clone::clone));
        assert_eq!(kept, [(Arch::Amd64, paths[0].clone())]);
    }
}
