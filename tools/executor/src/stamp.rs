//! The stamp of a node: what it was made from, as JSON beside its artifacts. Comparing it with the node tells why the node must be made
//! again. A stamp names files of the tree by their paths inside it, so it stays true when the tree is moved, copied or restored elsewhere.

use crate::{
    artifacts::{ArtifactKey, ArtifactRecord, FileRecord, step_text},
    content,
    job::Written,
};
use anyhow::{Context as _, Result};
use common::{artifact::write_atomically, digest::hex};
use plan::Node;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Component, Path, PathBuf},
};

/// The record of a node that was made.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The node's own inputs by name.
    inputs: BTreeMap<String, String>,
    /// The results of the nodes that it needs, by name.
    needs: BTreeMap<String, String>,
    /// Its output files, by their paths below the tree; absolute if they are elsewhere.
    outputs: BTreeMap<PathBuf, Output>,
    /// Whether the files came from a store.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    taken: bool,
    /// Whether times were brought up to date since the stamp was read.
    #[serde(skip)]
    retimed: bool,
}

/// The state of an output file when it was made.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Output {
    /// Bytes.
    size: u64,
    /// Nanoseconds since the epoch. A file with this size and time is not read; with another time its digest decides.
    mtime: i128,
    /// `sha256:…` of the content, `tree:…` of a large file, `folder:…`, or `link:TARGET`.
    digest: String,
}

impl Stamp {
    /// The stamp at `path`; none if it is missing or invalid. Paths of `tree` that it has as absolute ones, as stamps once had, become
    /// relative.
    pub fn read(path: &Path, tree: &Path) -> Option<Self> {
        let stamp: Self = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        let inputs = stamp.inputs.into_iter().map(|(name, value)| (name, inside(tree, &value))).collect();
        let outputs = stamp.outputs.into_iter().map(|(path, output)| (below(tree, &path), output)).collect();
        Some(Self { inputs, outputs, ..stamp })
    }

    /// The stamp of `node` of `tree`, whose files have just been made from the results `needs`.
    pub fn of(node: &Node, needs: BTreeMap<String, String>, tree: &Path) -> Result<Self> {
        Self::of_made(node, needs, tree, &BTreeMap::new())
    }

    /// The same, with what the step has said of the bytes of some files.
    pub(crate) fn of_made(node: &Node, needs: BTreeMap<String, String>, tree: &Path, written: &BTreeMap<PathBuf, Written>) -> Result<Self> {
        let output = |path: &Path| match written.get(path) {
            Some(Written::Hashed(digest)) => with_digest(path, digest.clone()),
            Some(Written::Copied(ranges)) => with_digest(path, content::digest_of_made(path, &look_at(path)?, ranges)?),
            None => with_digest(path, content::digest(path, &look_at(path)?)?),
        };
        let outputs = node.outputs.iter().map(|path| Ok((below(tree, path), output(path)?))).collect::<Result<_>>()?;
        Ok(Self { inputs: inputs(node, tree), needs, outputs, taken: false, retimed: false })
    }

    /// The stamp of `node` when its files are those of `record`; none if the record is of other files. Reads no file.
    pub(crate) fn expected(node: &Node, needs: BTreeMap<String, String>, record: &ArtifactRecord, tree: &Path) -> Option<Self> {
        let same = node.outputs.len() == record.files.len();
        let files = record.files.iter().map(|file| Output { size: file.size, mtime: 0, digest: file.digest.clone() });
        let outputs = node.outputs.iter().map(|path| below(tree, path)).zip(files).collect();
        same.then(|| Self { inputs: inputs(node, tree), needs, outputs, taken: false, retimed: false })
    }

    /// The same stamp for files that came from a store.
    pub(crate) fn taken(self) -> Self {
        Self { taken: true, ..self }
    }

    /// Whether the files came from a store.
    pub(crate) fn is_taken(&self) -> bool {
        self.taken
    }

    /// What a store knows of the files of `node`, which has just been made.
    pub(crate) fn record(&self, node: &Node, tree: &Path) -> ArtifactRecord {
        let files = node.outputs.iter().filter_map(|path| self.outputs.get(&below(tree, path)));
        let files = files.map(|output| FileRecord { size: output.size, digest: output.digest.clone() }).collect();
        ArtifactRecord { node: node.id.to_string(), keep: node.step.keep(), files }
    }

    /// The key of what `node` makes from the results `needs`. `out` is the folder of the build, `recipe` the engine's.
    pub(crate) fn key(node: &Node, needs: &BTreeMap<String, String>, tree: &Path, out: &Path, recipe: &str) -> ArtifactKey {
        ArtifactKey::of(recipe, &node.id.to_string(), &step_text(&node.step, tree, out), &inputs(node, tree), needs)
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

    /// Why `node` of `tree` must be made again; none if it is up to date. Reads files whose time has changed, as a copy changes it: if their
    /// bytes are the same, the stamp gets the new times. `read`: compare the content of all its files.
    #[must_use]
    pub fn stale(&mut self, node: &Node, needs: &BTreeMap<String, String>, tree: &Path, read: bool) -> Option<String> {
        difference(&self.inputs, &inputs(node, tree), true)
            .or_else(|| difference(&self.needs, needs, false))
            .or_else(|| self.changed_output(node, tree, read))
    }

    /// Writes the times that [`stale`](Self::stale) brought up to date, so that the files are not read again. Errors do not matter.
    pub fn note_times(&self, path: &Path) {
        if let (true, Some(folder), Ok(text)) = (self.retimed, path.parent(), serde_json::to_vec_pretty(self)) {
            // Under a name of its own: whoever only asks for the state of a node has no lock.
            let readable = fs::Permissions::from_mode(0o644);
            let _ = tempfile::Builder::new().prefix(".").permissions(readable).tempfile_in(folder).and_then(|mut file| {
                file.write_all(&text)?;
                Ok(file.persist(path).map(drop)?)
            });
        }
    }

    /// Files of this stamp that are not in `next`, as paths in `tree`.
    pub fn gone<'s>(&'s self, next: &'s Self, tree: &'s Path) -> impl Iterator<Item = PathBuf> {
        // An old stamp has absolute paths, perhaps those of the tree from which this one was copied.
        let leads_out = |path: &Path| path.is_absolute() || path.components().any(|part| part == Component::ParentDir);
        let paths = self.outputs.keys().filter(move |path| !next.outputs.contains_key(*path) && !leads_out(path));
        paths.map(|path| tree.join(path))
    }

    fn changed_output(&mut self, node: &Node, tree: &Path, read: bool) -> Option<String> {
        for path in &node.outputs {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let Some(made) = self.outputs.get_mut(&below(tree, path)) else { return Some(format!("{name} was not among its files")) };
            let Ok(now) = path.symlink_metadata() else { return Some(format!("{name} is missing")) };
            if now.is_symlink() {
                if !content::digest(path, &now).is_ok_and(|now| now == made.digest) {
                    return Some(format!("{name} leads elsewhere now"));
                }
                continue;
            }
            if !content::is_of_today(&now, &made.digest) {
                return Some(format!("the digest of {name} is one of an older xtask"));
            }
            let (size, mtime) = content::look(path, &now);
            if size == made.size && mtime == made.mtime && !read {
                continue;
            }
            if size != made.size || !content::digest(path, &now).is_ok_and(|now| now == made.digest) {
                let same_look = size == made.size && mtime == made.mtime;
                return Some(format!(
                    "{name} {}",
                    if same_look { "has other bytes than were made" } else { "was changed by somebody else" }
                ));
            }
            self.retimed |= mtime != made.mtime;
            made.mtime = mtime;
        }
        None
    }
}

/// `path` as a stamp has it: relative if it is below `tree`.
fn below(tree: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(tree).unwrap_or(path).to_owned()
}

/// The value of an input as a stamp has it: a path below `tree` without `tree`.
fn inside(tree: &Path, value: &str) -> String {
    let inside = tree.to_str().and_then(|tree| value.strip_prefix(tree)?.strip_prefix('/'));
    inside.unwrap_or(value).to_owned()
}

fn inputs(node: &Node, tree: &Path) -> BTreeMap<String, String> {
    node.inputs.iter().map(|input| (input.name.clone(), inside(tree, &input.value))).collect()
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

fn look_at(path: &Path) -> Result<fs::Metadata> {
    path.symlink_metadata().with_context(|| format!("`{}` was not made", path.display()))
}

fn with_digest(path: &Path, digest: String) -> Result<Output> {
    let (size, mtime) = content::look(path, &look_at(path)?);
    Ok(Output { size, mtime, digest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::{Input, NodeId, steps::WriteText};
    use std::{fs::File, os::unix::fs::FileExt as _};

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
        let (tree, path) = (folder.path(), folder.path().join("a"));
        std::fs::write(&path, "one").expect("write");
        let kvm = node(&path, "kvm");
        let needs = BTreeMap::from([("pkg/grub".to_owned(), "sha256:1".to_owned())]);
        let mut stamp = Stamp::of(&kvm, needs.clone(), tree).expect("stamp");
        assert_eq!(stamp.stale(&kvm, &needs, tree, false), None);
        assert_eq!(stamp.stale(&node(&path, "xen"), &needs, tree, false).as_deref(), Some("HV was kvm, is xen"));
        assert_eq!(stamp.stale(&kvm, &BTreeMap::new(), tree, false).as_deref(), Some("pkg/grub is gone"));
        // Changed behind our back, with the same size and time.
        let time = path.metadata().and_then(|metadata| metadata.modified()).expect("time");
        std::fs::write(&path, "two").expect("write");
        File::options().write(true).open(&path).and_then(|file| file.set_modified(time)).expect("time");
        assert_eq!(stamp.stale(&kvm, &needs, tree, false), None);
        assert_eq!(stamp.stale(&kvm, &needs, tree, true).as_deref(), Some("a has other bytes than were made"));
        std::fs::write(&path, "other").expect("write");
        assert_eq!(stamp.stale(&kvm, &needs, tree, false).as_deref(), Some("a was changed by somebody else"));
        std::fs::remove_file(&path).expect("remove");
        assert_eq!(stamp.stale(&kvm, &needs, tree, false).as_deref(), Some("a is missing"));
    }

    #[test]
    fn what_lies_in_a_folder_is_looked_at_too() {
        let folder = tempfile::tempdir().expect("folder");
        let (tree, path) = (folder.path(), folder.path().join("EFI"));
        std::fs::create_dir_all(path.join("BOOT")).expect("folder");
        std::fs::write(path.join("BOOT/grub.cfg"), "one").expect("write");
        let made = node(&path, "kvm");
        let mut stamp = Stamp::of(&made, BTreeMap::new(), tree).expect("stamp");
        assert_eq!(stamp.stale(&made, &BTreeMap::new(), tree, false), None);
        std::fs::write(path.join("BOOT/grub.cfg"), "another").expect("write");
        assert_eq!(stamp.stale(&made, &BTreeMap::new(), tree, false).as_deref(), Some("EFI was changed by somebody else"));
    }

    fn set_time(path: &Path, seconds: u64) {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        File::options().write(true).open(path).and_then(|file| file.set_modified(time)).expect("time");
    }

    #[test]
    fn a_stamp_travels_with_its_tree() {
        let folder = tempfile::tempdir().expect("folder");
        let [old, new] = ["old", "new"].map(|name| folder.path().join(name));
        std::fs::create_dir(&old).expect("folder");
        std::fs::write(old.join("a"), "one").expect("write");
        let at = |tree: &Path| node(&tree.join("a"), &tree.join("conf").display().to_string());
        Stamp::of(&at(&old), BTreeMap::new(), &old).and_then(|stamp| stamp.write(&old.join("stamp"))).expect("stamp");
        assert!(!std::fs::read_to_string(old.join("stamp")).expect("read").contains(old.to_str().expect("UTF-8")));
        std::fs::rename(&old, &new).expect("moved");
        // A copy, or a CI cache, also changes the times.
        set_time(&new.join("a"), 7);
        let read = || Stamp::read(&new.join("stamp"), &new).expect("a stamp");
        let mut stamp = read();
        assert_eq!(stamp.stale(&at(&new), &BTreeMap::new(), &new, false), None);
        stamp.note_times(&new.join("stamp"));
        assert_eq!(read().outputs[Path::new("a")].mtime, 7_000_000_000, "the next look does not read the file");
        std::fs::write(new.join("a"), "two").expect("write");
        assert_eq!(read().stale(&at(&new), &BTreeMap::new(), &new, false).as_deref(), Some("a was changed by somebody else"));
    }

    #[test]
    fn holes_are_zeros_to_the_digest_of_a_large_file() {
        let folder = tempfile::tempdir().expect("folder");
        let digest = |write: &dyn Fn(&File)| {
            let path = folder.path().join("disk");
            write(&File::create(&path).expect("create"));
            look_at(&path).and_then(|now| content::digest(&path, &now)).expect("a digest")
        };
        let holes = digest(&|file| {
            file.set_len(crate::chunks::LARGE + 5).and_then(|()| file.write_all_at(b"x", 1 << 20)).expect("written");
        });
        let zeros = digest(&|mut file| {
            file.write_all(&vec![0; usize::try_from(crate::chunks::LARGE + 5).expect("fits")])
                .and_then(|()| file.write_all_at(b"x", 1 << 20))
                .expect("written");
        });
        assert!(holes == zeros && holes.starts_with("tree:"));
        let other =
            |length, byte: &[u8], at| digest(&|file| file.set_len(length).and_then(|()| file.write_all_at(byte, at)).expect("written"));
        assert_ne!(other(crate::chunks::LARGE + 5, b"y", 1 << 20), holes);
        assert_ne!(other(crate::chunks::LARGE + 5, b"x", 2 << 20), holes);
        assert_ne!(other(crate::chunks::LARGE + 6, b"x", 1 << 20), holes);
    }

    #[test]
    fn a_stamp_with_absolute_paths_is_understood() {
        let folder = tempfile::tempdir().expect("folder");
        let (tree, path) = (folder.path(), folder.path().join("a"));
        std::fs::write(&path, "one").expect("write");
        // As they were written before: nothing is below an empty tree.
        let conf = node(&path, &tree.join("conf").display().to_string());
        Stamp::of(&conf, BTreeMap::new(), Path::new("/nowhere")).and_then(|stamp| stamp.write(&tree.join("stamp"))).expect("stamp");
        let mut stamp = Stamp::read(&tree.join("stamp"), tree).expect("a stamp");
        assert_eq!(stamp.stale(&conf, &BTreeMap::new(), tree, false), None);
    }

    #[test]
    fn what_a_node_no_longer_makes_is_named_in_the_tree() {
        let outputs = |names: &[&str]| {
            let output = || Output { size: 0, mtime: 0, digest: String::new() };
            Stamp { outputs: names.iter().map(|name| (name.into(), output())).collect(), ..Stamp::default() }
        };
        let (before, next) = (outputs(&["dist/a", "dist/b", "../c", "/d"]), outputs(&["dist/b"]));
        assert_eq!(before.gone(&next, Path::new("/tree")).collect::<Vec<_>>(), [Path::new("/tree/dist/a")]);
    }
}
