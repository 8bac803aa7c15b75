//! The stamp of a node: what it was made from, as JSON beside its artifacts. Comparing it with the node tells why the node must be made
//! again.

use anyhow::{Context as _, Result};
use common::{
    artifact::write_atomically,
    digest::{hex, sha256_of},
};
use plan::Node;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

/// The record of a node that was made.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The node's own inputs by name.
    inputs: BTreeMap<String, String>,
    /// The results of the nodes that it needs, by name.
    needs: BTreeMap<String, String>,
    /// Its output files.
    outputs: BTreeMap<PathBuf, Output>,
}

/// The state of an output file when it was made.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Output {
    /// Bytes.
    size: u64,
    /// Nanoseconds since the epoch; with the size it tells whether the file was changed later.
    mtime: i128,
    /// `sha256:…` of the content, or `link:TARGET`.
    digest: String,
}

impl Stamp {
    /// The stamp at `path`; none if it is missing or invalid.
    pub fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// The stamp of `node`, whose files have just been made from the results `needs`.
    pub fn of(node: &Node, needs: BTreeMap<String, String>) -> Result<Self> {
        let inputs = node.inputs.iter().map(|input| (input.name.clone(), input.value.clone())).collect();
        let outputs = node.outputs.iter().map(|path| Ok((path.clone(), output(path)?))).collect::<Result<_>>()?;
        Ok(Self { inputs, needs, outputs })
    }

    /// Writes the stamp.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_atomically(path, &serde_json::to_vec_pretty(self)?)
    }

    /// One digest over all files of the node.
    #[must_use]
    pub fn result(&self) -> String {
        let mut hash = Sha256::new();
        for (path, output) in &self.outputs {
            hash.update(path.file_name().unwrap_or_default().as_bytes());
            hash.update([0]);
            hash.update(&output.digest);
            hash.update([0]);
        }
        format!("sha256:{}", hex(&hash.finalize()))
    }

    /// Why `node` must be made again; none if it is up to date. `read`: compare the content of its files, not only size and time.
    #[must_use]
    pub fn stale(&self, node: &Node, needs: &BTreeMap<String, String>, read: bool) -> Option<String> {
        let inputs = node.inputs.iter().map(|input| (input.name.clone(), input.value.clone())).collect();
        difference(&self.inputs, &inputs, true)
            .or_else(|| difference(&self.needs, needs, false))
            .or_else(|| self.changed_output(node, read))
    }

    /// Files of this stamp that are not in `next`.
    pub fn gone<'s>(&'s self, next: &'s Self) -> impl Iterator<Item = &'s Path> {
        self.outputs.keys().filter(|path| !next.outputs.contains_key(*path)).map(PathBuf::as_path)
    }

    fn changed_output(&self, node: &Node, read: bool) -> Option<String> {
        for path in &node.outputs {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let Some(made) = self.outputs.get(path) else { return Some(format!("{name} was not among its files")) };
            match path.symlink_metadata() {
                Err(_) => return Some(format!("{name} is missing")),
                Ok(now) if now.is_symlink() && link_digest(path).ok().as_ref() == Some(&made.digest) => {}
                Ok(now) if look(path, &now) == (made.size, made.mtime) => {
                    if read && output(path).ok().is_none_or(|now| now.digest != made.digest) {
                        return Some(format!("{name} has other bytes than were made"));
                    }
                }
                Ok(now) if now.is_symlink() => return Some(format!("{name} leads elsewhere now")),
                Ok(_) => return Some(format!("{name} was changed by somebody else")),
            }
        }
        None
    }
}

/// A sentence about the first difference between two sets of values.
fn difference(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>, show: bool) -> Option<String> {
    for (name, value) in new {
        match old.get(name) {
            None => return Some(format!("{name} is new")),
            Some(before) if before == value => {}
            Some(before) if show && before.len().max(value.len()) <= 80 => return Some(format!("{name} was {before}, is {value}")),
            Some(_) => return Some(format!("{name} has changed")),
        }
    }
    old.keys().find(|name| !new.contains_key(*name)).map(|name| format!("{name} is gone"))
}

/// Size and time of a file, or of everything below a folder, to detect changes.
fn look(path: &Path, metadata: &std::fs::Metadata) -> (u64, i128) {
    if !metadata.is_dir() {
        return (metadata.len(), mtime(metadata));
    }
    let below = walkdir::WalkDir::new(path).into_iter().filter_map(|entry| entry.ok()?.metadata().ok());
    below.fold((0, 0), |(size, time), now| (size + if now.is_dir() { 1 } else { now.len() }, time.max(mtime(&now))))
}

fn mtime(metadata: &std::fs::Metadata) -> i128 {
    i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
}

fn link_digest(path: &Path) -> Result<String> {
    Ok(format!("link:{}", std::fs::read_link(path)?.display()))
}

/// A digest over the names and contents below a folder.
fn folder_digest(folder: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    for entry in walkdir::WalkDir::new(folder).min_depth(1).sort_by_file_name() {
        let entry = entry.with_context(|| format!("cannot read `{}`", folder.display()))?;
        hash.update(entry.path().strip_prefix(folder)?.as_os_str().as_bytes());
        hash.update([0]);
        if entry.file_type().is_file() {
            hash.update(sha256_of(entry.path())?);
        }
    }
    Ok(format!("folder:{}", hex(&hash.finalize())))
}

fn output(path: &Path) -> Result<Output> {
    let metadata = path.symlink_metadata().with_context(|| format!("`{}` was not made", path.display()))?;
    let digest = match metadata.file_type() {
        kind if kind.is_symlink() => link_digest(path)?,
        kind if kind.is_dir() => folder_digest(path)?,
        _ => format!("sha256:{}", sha256_of(path)?),
    };
    let (size, mtime) = look(path, &metadata);
    Ok(Output { size, mtime, digest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::{Input, NodeId, steps::WriteText};

    fn node(path: &Path, value: &str) -> Node {
        Node {
            id: NodeId::Version,
            step: WriteText { path: path.to_owned(), text: String::new() }.into(),
            inputs: vec![Input { name: "HV".into(), value: value.into() }],
            needs: vec![],
            outputs: vec![path.to_owned()],
        }
    }

    #[test]
    fn the_reason_names_what_changed() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a");
        std::fs::write(&path, "one").expect("write");
        let kvm = node(&path, "kvm");
        let needs = BTreeMap::from([("pkg/grub".to_owned(), "sha256:1".to_owned())]);
        let stamp = Stamp::of(&kvm, needs.clone()).expect("stamp");
        assert_eq!(stamp.stale(&kvm, &needs, false), None);
        assert_eq!(stamp.stale(&node(&path, "xen"), &needs, false).as_deref(), Some("HV was kvm, is xen"));
        assert_eq!(stamp.stale(&kvm, &BTreeMap::new(), false).as_deref(), Some("pkg/grub is gone"));
        // Changed behind our back, with the same size and time.
        let time = path.metadata().and_then(|metadata| metadata.modified()).expect("time");
        std::fs::write(&path, "two").expect("write");
        std::fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(time)).expect("time");
        assert_eq!(stamp.stale(&kvm, &needs, false), None);
        assert_eq!(stamp.stale(&kvm, &needs, true).as_deref(), Some("a has other bytes than were made"));
        std::fs::write(&path, "other").expect("write");
        assert_eq!(stamp.stale(&kvm, &needs, false).as_deref(), Some("a was changed by somebody else"));
        std::fs::remove_file(&path).expect("remove");
        assert_eq!(stamp.stale(&kvm, &needs, false).as_deref(), Some("a is missing"));
    }

    #[test]
    fn what_lies_in_a_folder_is_looked_at_too() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("EFI");
        std::fs::create_dir_all(path.join("BOOT")).expect("folder");
        std::fs::write(path.join("BOOT/grub.cfg"), "one").expect("write");
        let made = node(&path, "kvm");
        let stamp = Stamp::of(&made, BTreeMap::new()).expect("stamp");
        assert_eq!(stamp.stale(&made, &BTreeMap::new(), false), None);
        std::fs::write(path.join("BOOT/grub.cfg"), "another").expect("write");
        assert_eq!(stamp.stale(&made, &BTreeMap::new(), false).as_deref(), Some("EFI was changed by somebody else"));
    }
}
