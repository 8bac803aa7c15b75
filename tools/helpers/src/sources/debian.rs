//! The sources of the Debian packages in a root file system, by the digests in `sources/RELEASE.lock`, as one archive.

use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::git::Git;
use common::{artifact::Pending, display::size, error::usage};
use filetree::{Content, Node, Tree};
use flate2::{Compression, write::GzEncoder};
use native::mirrors::Origins;
use pkgbuild::debian::{Mirrors, Policy, Progress, SourceId, SourceLock, SourcePin, Store};
use sbom::{Ecosystem, components};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The folder of the locks of sources.
const FOLDER: &str = "sources";

/// The lock of the sources of a release. It is not in the archive's package, whose image does not contain them.
#[must_use]
pub fn sources_lock(root: &Path, release: &str) -> PathBuf {
    root.join(FOLDER).join(format!("{release}.lock"))
}

/// Writes the sources of the packages that `rootfs`, a tar, has records of, to the archive `out`, or to standard output.
pub fn collect_debian(ctx: &Ctx, rootfs: &Path, out: Option<&Path>) -> Result<()> {
    let (pins, packages) = pinned(&read_locks(&ctx.root)?, wanted(rootfs)?)?;
    let origins = Origins::new(&ctx.knobs, &ctx.environment);
    let store = Store::open(&ctx.environment.cache().join("debs"), &origins.network(&ctx.tools))?;
    let policy = Policy { offline: ctx.globals.offline };
    let mirrors = if policy.offline { Mirrors::default() } else { origins.mirrors()? };
    let bytes: u64 = pins.iter().map(|pin| pin.size).sum();
    eprintln!("{packages} source packages, {} files, {}", pins.len(), size(bytes));
    let files = store.fetch_sources(&pins, &mirrors, policy, &|_: &Progress| (), &|| advice(&time_of_locks(ctx)))?;
    let tree = tree(&pins, &files)?;
    let Some(out) = out else { return write(&tree, std::io::stdout().lock()) };
    let pending = Pending::new(out)?;
    write(&tree, pending.create()?).with_context(|| format!("cannot write `{}`", out.display()))?;
    pending.commit()
}

/// The time of the newest lock of sources as a snapshot mirror writes it, `20261127T151133Z`: every pinned file was on the mirrors then. Empty
/// if git does not know the locks.
fn time_of_locks(ctx: &Ctx) -> String {
    let time = |git: Git| git.look_text(["log", "-1", "--date=format-local:%Y%m%dT%H%M%SZ", "--format=%cd", "--", FOLDER]);
    ctx.git(&ctx.root).and_then(time).unwrap_or_default()
}

/// What to do about files that no mirror has, with the time when all had been there.
fn advice(time: &str) -> String {
    let time = if time.is_empty() { "YYYYMMDDTHHMMSSZ" } else { time };
    format!(
        "hint: all were on the mirrors when they were pinned, and a snapshot mirror SNAPSHOT still has them: cargo xtask collected_sources \
         DEBIAN_MIRROR=http://SNAPSHOT/archive/debian/{time} DEBIAN_SECURITY_MIRROR=http://SNAPSHOT/archive/debian-security/{time}\n\
         hint: or renew the pins and build again: cargo xtask pins"
    )
}

fn write(tree: &Tree, out: impl Write) -> Result<()> {
    // The files are compressed already.
    let writer = GzEncoder::new(BufWriter::with_capacity(1 << 20, out), Compression::none());
    filetree::write_tar(tree, writer)?.finish()?.flush().context("cannot write the archive")
}

/// The source packages of the records in a tar, each with one of its binary packages.
fn wanted(rootfs: &Path) -> Result<BTreeMap<SourceId, String>> {
    let file =
        File::open(rootfs).map_err(|error| usage(format!("cannot open `{}`: {error}\nhint: cargo xtask rootfstar", rootfs.display())))?;
    let entries = filetree::read_tar_file(Arc::new(file)).with_context(|| format!("cannot read `{}`", rootfs.display()))?;
    let mut wanted = BTreeMap::new();
    for component in components(entries)?.into_iter().filter(|component| component.origin == Ecosystem::Debian) {
        let own = component.source.map(|(name, version)| format!("{name} ({version})"));
        let using = component.built_using.as_deref();
        for source in pkgbuild::debian::sources_of(&component.name, &component.version, own.as_deref(), using)? {
            wanted.entry(source).or_insert_with(|| component.name.clone());
        }
    }
    Ok(wanted)
}

/// All locks of the tree.
fn read_locks(root: &Path) -> Result<SourceLock> {
    let mut lock = SourceLock::default();
    let mut paths: Vec<PathBuf> = walkdir::WalkDir::new(root.join(FOLDER))
        .max_depth(1)
        .into_iter()
        .filter_map(|entry| Some(entry.ok()?.into_path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "lock"))
        .collect();
    paths.sort();
    for path in paths {
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        lock.add(&text, &path.display().to_string())?;
    }
    Ok(lock)
}

/// The pins of the wanted packages, and the number of packages.
fn pinned(lock: &SourceLock, wanted: BTreeMap<SourceId, String>) -> Result<(Vec<SourcePin>, usize)> {
    let missing: Vec<String> = wanted
        .iter()
        .filter(|(id, _)| !lock.packages.contains_key(*id))
        .map(|((name, version), of)| format!("{name} {version} (of {of})"))
        .collect();
    if !missing.is_empty() {
        bail!("the sources of some packages are not pinned in {FOLDER}/:\n  {}\nhint: cargo xtask pins --sources", missing.join("\n  "));
    }
    let pins = wanted.keys().filter_map(|id| lock.packages.get(id)).flatten().cloned().collect();
    Ok((pins, wanted.len()))
}

/// A folder for each source package, and the list of all files.
fn tree(pins: &[SourcePin], files: &[PathBuf]) -> Result<Tree> {
    let mut tree = Tree::new();
    let mut list = BTreeSet::new();
    let node = |content| Node::file(0o644, 0, content);
    for (pin, file) in pins.iter().zip(files) {
        let folder = format!("{}_{}", pin.name, pin.version.replace(':', "%3a"));
        tree.insert(format!("{folder}/{}", pin.file_name()), node(Content::of_path(file)?))?;
        list.insert(format!("{},{},{folder}/{},sha256:{}\n", pin.name, pin.version, pin.file_name(), pin.sha256));
    }
    tree.insert(super::manifests::MANIFEST, node(Content::from(list.into_iter().collect::<String>().into_bytes())))?;
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_about_files_that_are_gone_can_be_typed() {
        let text = advice("20261127T151133Z");
        assert!(text.contains("DEBIAN_MIRROR=http://SNAPSHOT/archive/debian/20261127T151133Z DEBIAN_SECURITY_MIRROR="), "{text}");
        assert!(text.lines().all(|line| line.starts_with("hint: ") && line.contains("cargo xtask ")), "{text}");
    }
}
