//! The archive image: its layout, building it, and reading packages from one.
//!
//! ```text
//! /packages/ARCH/lock        pins of these packages
//! /packages/ARCH/*.deb       packages, named as in Debian's pool
//! /packages/ARCH/merged-usr  if the packages have files below /usr only, as from Debian 13 on
//! /bin/busybox, /bin/sh …   for the deploy script in docker
//! ```

use super::{Fetched, Lock, Pin, download::digest, release, unpack::unpack};
use anyhow::{Context as _, Result, bail};
use filetree::{Content, Kind, Meta, Node, Tree};
use std::{collections::BTreeMap, path::Path};

/// Packages of a stage in `/packages/ARCH`.
#[derive(Clone, Debug)]
pub struct Archive {
    /// Pins of the packages.
    pub lock: Lock,
    /// The .deb files by package name.
    pub debs: BTreeMap<String, Content>,
    /// Whether the packages have files below `/usr` only.
    pub merged_usr: bool,
}

/// Marks an archive whose packages have no files in /bin, /sbin and /lib.
const MERGED_USR: &str = "merged-usr";

impl Archive {
    /// The archive for `arch` (`amd64`, `arm64`) of a stage that is based on an archive image.
    pub fn from_tree(stage: &Tree, arch: &str) -> Result<Self> {
        let folder = format!("packages/{arch}");
        let Some(text) = file_in(stage, &format!("{folder}/lock")) else {
            let others = stage.get("packages").and_then(Node::children).into_iter().flat_map(|arches| arches.keys());
            let others: Vec<String> = others.map(|arch| String::from_utf8_lossy(arch).into_owned()).collect();
            let has = if others.is_empty() { "none".to_owned() } else { format!("one for {}", others.join(", ")) };
            bail!("the stage has no Debian archive for {arch} (`/{folder}`), but {has}\nhint: base the stage on the archive image (FROM)");
        };
        let text = String::from_utf8(text.read_all()?).with_context(|| format!("`/{folder}/lock` is not text"))?;
        let lock = Lock::parse(&text, &format!("/{folder}/lock"))?;
        let mut debs = BTreeMap::new();
        for pin in lock.pins.values() {
            let path = format!("{folder}/{}", pin.file_name());
            let content = file_in(stage, &path).with_context(|| format!("`/{path}` of the archive's lock is missing in the image"))?;
            debs.insert(pin.name.clone(), content.clone());
        }
        Ok(Self { lock, debs, merged_usr: stage.get(format!("{folder}/{MERGED_USR}")).is_some() })
    }
}

fn file_in<'t>(tree: &'t Tree, path: &str) -> Option<&'t Content> {
    match &tree.get(path)?.kind {
        Kind::File { content, .. } => Some(content),
        _ => None,
    }
}

/// Options of [`build_archive`].
pub struct ArchiveOptions<'a> {
    /// Fetches the files of a lock for a release and architecture: usually [`super::Store::fetch_all`].
    pub fetch: &'a dyn Fn(&Lock, &str, &str) -> Result<Fetched>,
    /// Folder for temporary files; holds the unpacked packages.
    pub spool: &'a Path,
    /// Modification time of generated files and of the packages.
    pub mtime: i64,
}

/// `RUN eve-debian-archive.sh` in process: builds the image's root at `/archive` of the stage from the lock
/// `/etc/eve-debian/mirrors/RELEASE/ARCH.lock` (copied there by the Dockerfile), which must exist for one release only. Reuses
/// packages in `/packages/ARCH` of the stage, from an older archive image. The image holds exactly the pins of that lock.
pub fn build_archive(stage: &mut Tree, arch: &str, options: &ArchiveOptions<'_>) -> Result<()> {
    let release = release_of(stage, arch)?;
    let path = format!("{MIRRORS}/{release}/{arch}.lock");
    let text = file_in(stage, &path).with_context(|| format!("`/{path}` is not a file"))?;
    let lock = Lock::parse(&String::from_utf8(text.read_all()?)?, &format!("/{path}"))?;
    let debs = gather(stage, &lock, &release, arch, options)?;
    let folder = format!("archive/packages/{arch}");
    let header = format!("# Debian {release}, {arch}: what this image holds.\n");
    stage.insert(&folder, Node::dir(0o755, options.mtime))?;
    stage.insert(format!("{folder}/lock"), Node::file(0o644, options.mtime, Content::from(lock.to_text(&header).as_str())))?;
    for pin in lock.pins.values() {
        let content = debs.get(&pin.name).context("every pin has a file")?.clone();
        stage.insert(format!("{folder}/{}", pin.file_name()), Node::file(0o644, options.mtime, content))?;
    }
    if put_busybox(stage, &lock, &debs, options)? {
        stage.insert(format!("{folder}/{MERGED_USR}"), Node::file(0o644, options.mtime, Content::from("")))?;
    }
    Ok(())
}

/// The folder of the locks in the stage.
const MIRRORS: &str = "etc/eve-debian/mirrors";

/// The release that has a lock for `arch` in the stage.
fn release_of(stage: &Tree, arch: &str) -> Result<String> {
    let mut locks = release::Locks::default();
    for (release, node) in stage.get(MIRRORS).and_then(Node::children).into_iter().flatten() {
        for file in node.children().into_iter().flat_map(|files| files.keys()) {
            locks.add(&String::from_utf8_lossy(release), &String::from_utf8_lossy(file));
        }
    }
    locks.release_of(arch).map(str::to_owned)
}

/// The file of each pin, with checked digest: from an older archive, else fetched.
fn gather(stage: &Tree, lock: &Lock, release: &str, arch: &str, options: &ArchiveOptions<'_>) -> Result<BTreeMap<String, Content>> {
    let mut debs = BTreeMap::new();
    for pin in lock.pins.values() {
        if let Some(content) = file_in(stage, &format!("packages/{arch}/{}", pin.file_name()))
            && content.len() == pin.size
            && digest(&mut content.open()?)? == pin.sha256
        {
            debs.insert(pin.name.clone(), content.clone());
        }
    }
    let missing =
        Lock { pins: lock.pins.iter().filter(|(name, _)| !debs.contains_key(*name)).map(|(n, p)| (n.clone(), p.clone())).collect() };
    if missing.pins.is_empty() {
        return Ok(debs);
    }
    for (fetched, path) in (options.fetch)(&missing, release, arch)?.files {
        // The lock's own pin: its digest alone decides what goes into the image.
        let pin = missing.pins.get(&fetched.name).with_context(|| format!("`{}` was fetched and is in no lock", fetched.name))?;
        let content = Content::of_path(&path)?;
        check(pin, &content, &path)?;
        debs.insert(pin.name.clone(), content);
    }
    Ok(debs)
}

/// Deletes a damaged file of the store, so that the next run fetches it again.
fn check(pin: &Pin, content: &Content, path: &Path) -> Result<()> {
    let found = digest(&mut content.open()?)?;
    if found != pin.sha256 {
        let _ = std::fs::remove_file(path);
        bail!(
            "the stored file of `{}` {} was damaged (SHA-256 {found}) and has been deleted\nhint: run the command again",
            pin.name,
            pin.version
        );
    }
    Ok(())
}

/// Adds busybox and its links (listed in `/etc/eve-debian/applets`) from the archive's own package. Returns whether that package
/// has it below `/usr`, where all packages of its release then have their files.
fn put_busybox(stage: &mut Tree, lock: &Lock, debs: &BTreeMap<String, Content>, options: &ArchiveOptions<'_>) -> Result<bool> {
    let (Some(pin), Some(content)) = (lock.pins.get("busybox-static"), debs.get("busybox-static")) else {
        bail!("the archive's lock has no busybox-static, which the image's scripts need");
    };
    let mut unpacked = Tree::new();
    unpack(&mut unpacked, &[(pin, content)], options.spool, 1, options.mtime)?;
    let merged_usr = unpacked.get("bin/busybox").is_none();
    let busybox = unpacked.get(if merged_usr { "usr/bin/busybox" } else { "bin/busybox" });
    let busybox = busybox.context("the package busybox-static has neither /bin/busybox nor /usr/bin/busybox")?;
    stage.insert("archive/bin/busybox", busybox.clone())?;
    let applets = match file_in(stage, "etc/eve-debian/applets") {
        Some(list) => String::from_utf8(list.read_all()?).context("`/etc/eve-debian/applets` is not text")?,
        None => "sh\n".to_owned(),
    };
    for name in applets.lines().map(str::trim).filter(|name| !name.is_empty() && !name.starts_with('#')) {
        if name.contains('/') || name == ".." {
            bail!("/etc/eve-debian/applets: `{name}` is not an applet's name");
        }
        let link = Node { meta: Meta::root(0o777, options.mtime), kind: Kind::Symlink(b"busybox".to_vec()) };
        stage.insert(format!("archive/bin/{name}"), link)?;
    }
    stage.insert("archive/tmp", Node::dir(0o1777, options.mtime))?;
    Ok(merged_usr)
}
