//! Unpacks many packages into one root: reads them in parallel, merges them in order, drops documentation and translations.

use super::{
    Pin,
    deb::{Deb, read_deb},
    download::digest,
};
use anyhow::{Context as _, Result, anyhow, bail};
use filetree::{Content, Kind, Node, Spool, Tree};
use std::{
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Dropped folders of `usr/share`. `eve-debian-deploy.sh` has the same list.
const DROPPED: &[&str] = &["bash-completion", "bug", "doc-base", "groff", "info", "linda", "lintian", "locale", "man", "zsh"];

/// Folder with the control stanza of each unpacked package, in the form that image scanners know.
pub const STATUS: &str = "var/lib/dpkg/status.d";

/// Whether a file of a package is unpacked. Of `usr/share/doc` only copyright files are, which redistribution requires.
#[must_use]
pub fn is_kept(path: &[u8]) -> bool {
    let Some(rest) = path.strip_prefix(b"usr/share/") else { return true };
    let parts: Vec<&[u8]> = rest.split(|b| *b == b'/').collect();
    match parts[..] {
        [b"doc", _, name] => name == b"copyright",
        [b"doc", _, _, ..] => false,
        [first, ..] => !DROPPED.iter().any(|dropped| first == dropped.as_bytes()),
        [] => true,
    }
}

/// Unpacks packages into `root` in the given order, reading up to `jobs` at a time; contents go to files in the folder `spool`.
/// Fails if a file's digest, name, version or architecture differs from its pin.
pub fn unpack(root: &mut Tree, debs: &[(&Pin, &Content)], spool: &Path, jobs: usize, mtime: i64) -> Result<()> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<Deb>)>> = Mutex::default();
    let work = || -> Result<()> {
        let mut spool = Spool::new_in(spool)?;
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((pin, content)) = debs.get(at) else { return Ok(()) };
            let read = read_pinned(pin, content, &mut spool).with_context(|| format!("cannot unpack `{}` {}", pin.name, pin.version));
            if read.is_err() {
                next.store(debs.len(), Ordering::Relaxed);
            }
            done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((at, read));
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.clamp(1, debs.len().max(1))).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| anyhow!("internal error: a thread panicked while unpacking packages"))?)
    })?;
    let mut read = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    read.sort_by_key(|(at, _)| *at);
    let mut link = highest_link(root)?;
    for (at, deb) in read {
        let deb = deb?;
        let name = debs.get(at).map_or("", |(pin, _)| &pin.name);
        put(root, &deb.files, &mut link).with_context(|| format!("cannot unpack `{name}`"))?;
        root.insert(format!("{STATUS}/{name}"), Node::file(0o644, mtime, Content::from(deb.control.as_str())))?;
    }
    finish(root, mtime)
}

fn read_pinned(pin: &Pin, content: &Content, spool: &mut Spool) -> Result<Deb> {
    let found = digest(&mut content.open()?)?;
    if found != pin.sha256 {
        bail!("its SHA-256 is {found}, not the pinned {}", pin.sha256);
    }
    let deb = read_deb(content, spool, &is_kept)?;
    for (field, pinned) in [("Package", &pin.name), ("Version", &pin.version), ("Architecture", &pin.arch)] {
        let says = deb.field(field).unwrap_or("nothing");
        if says != pinned {
            bail!("its {field} is `{says}`, not the pinned `{pinned}`");
        }
    }
    Ok(deb)
}

fn highest_link(tree: &Tree) -> Result<u64> {
    let mut highest = 0;
    tree.walk(&mut |_, node| {
        if let Kind::File { link: Some(link), .. } = node.kind {
            highest = highest.max(link);
        }
        Ok(())
    })?;
    Ok(highest)
}

/// Merges a package into a root. A directory that meets a link to a directory follows the link, as in dpkg.
fn put(root: &mut Tree, files: &Tree, link: &mut u64) -> Result<()> {
    let first = *link;
    files.walk(&mut |path, node| {
        let mut node = Node { meta: node.meta.clone(), kind: kind_alone(&node.kind) };
        if let Kind::File { link: Some(own), .. } = &mut node.kind {
            // Link ids are unique only within a package, so they are shifted above those of the root.
            *own += first;
            *link = (*link).max(*own);
        }
        let at = match node.kind {
            Kind::Dir(_) => root.resolve(path, true)?,
            _ => path.to_vec(),
        };
        match (path.is_empty(), root.get(&at).map(|there| &there.kind), &node.kind) {
            (true, ..) => Ok(()),
            (_, Some(Kind::Dir(_)), new) if !matches!(new, Kind::Dir(_)) => {
                bail!("`{}` is a directory of another package", String::from_utf8_lossy(&at))
            }
            _ => root.insert(&at, node),
        }
    })
}

fn kind_alone(kind: &Kind) -> Kind {
    match kind {
        Kind::Dir(_) => Kind::Dir(filetree::Children::new()),
        other => other.clone(),
    }
}

/// Does the only maintainer script work that programs need: concatenates the certificates into one file.
fn finish(root: &mut Tree, mtime: i64) -> Result<()> {
    let mut bundle = Vec::new();
    if let Some(folder) = root.get("usr/share/ca-certificates") {
        let certificates = Tree { root: folder.clone() };
        certificates.walk(&mut |path, node| {
            if let (true, Kind::File { content, .. }) = (path.ends_with(b".crt"), &node.kind) {
                bundle.extend(content.read_all()?);
            }
            Ok(())
        })?;
    }
    if !bundle.is_empty() {
        root.insert("etc/ssl/certs/ca-certificates.crt", Node::file(0o644, mtime, Content::from(bundle)))?;
    }
    Ok(())
}
