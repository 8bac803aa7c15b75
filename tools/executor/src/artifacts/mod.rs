//! A store of artifacts: the files that a step once made, found by a digest of everything that the step reads, whatever the tree, its
//! folder or its version's name. Here are the key, the record and the trait; `local.rs` is the store in the cache folder.

mod local;
#[cfg(test)]
mod tests;

pub use local::LocalStore;
pub use plan::Keep;

use anyhow::Result;
use common::digest::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, fmt, path::Path, path::PathBuf};

/// The version of the key's text. Another one makes all entries unknown.
const RULES: &str = "artifact 2";

/// The name of an artifact: the SHA-256 of all that its step reads. That is the text of these lines, each with a line feed at its end:
/// `artifact 2`; the engine's [`recipe`](crate::Engine::recipe), which names the code and the programs that do the work; the node's id; the
/// step with all its values, in which `TREE` and `OUT` stand for the folders of the tree and of the build; a line `input NAME VALUE` for
/// each input of the node and `need NODE RESULT` for each node that it needs, sorted by name. Values and results are digests of contents.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactKey([u8; 32]);

impl ArtifactKey {
    /// The key of what `step` makes. `inputs` and `needs` are those of its stamp.
    pub(crate) fn of(recipe: &str, node: &str, step: &str, inputs: &BTreeMap<String, String>, needs: &BTreeMap<String, String>) -> Self {
        let mut hash = Sha256::new();
        let mut line = |text: &str| {
            // With its length, no text can be taken for two lines.
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
            hash.update("\n");
        };
        [RULES, recipe, node, step].into_iter().for_each(&mut line);
        inputs.iter().for_each(|(name, value)| line(&format!("input {name} {value}")));
        needs.iter().for_each(|(name, result)| line(&format!("need {name} {result}")));
        Self(hash.finalize().into())
    }
}

/// 64 hexadecimal digits: a name for a folder, or a tag in a registry.
impl fmt::Display for ArtifactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for ArtifactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArtifactKey({self})")
    }
}

/// What is known of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRecord {
    /// The node that made it, for people.
    pub node: String,
    /// Whether its files are kept, and how they come into a tree.
    pub keep: Keep,
    /// Its files in the order of the node's outputs.
    pub files: Vec<FileRecord>,
}

impl ArtifactRecord {
    /// Whether a store that has the record also has the files.
    #[must_use]
    pub fn has_files(&self) -> bool {
        matches!(self.keep, Keep::Linked | Keep::Copied | Keep::Local)
    }
}

/// A file, folder or link of an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Bytes; those of all files in a folder.
    pub size: u64,
    /// `sha256:HEX` of a file's content; `tree:HEX` of a file of 16 MiB or more, over its chunks that are not zero; `folder:HEX`;
    /// `link:TARGET`.
    pub digest: String,
}

/// A place that keeps artifacts for other builds: a folder, or a registry. Several threads, processes and trees use it at once. Whatever it
/// gives is compared with the record by the executor, so a store need not be trusted to be whole.
pub trait ArtifactStore: fmt::Debug + Send + Sync {
    /// The record of `key`; none if the store has none that can be read.
    fn find(&self, key: &ArtifactKey) -> Option<ArtifactRecord>;

    /// Creates the files of `key` at `places`, one for each file of its record; replaces what is there. False if the store does not have
    /// them, or no longer; an error if they cannot be read or written.
    fn get(&self, key: &ArtifactKey, places: &[PathBuf], progress: &(dyn Fn(u64, u64) + Sync)) -> Result<bool>;

    /// Adds the files at `places`, which `record` describes, or the record alone if its files are not kept. Does not change the files.
    /// Nothing of it is found before it is whole.
    fn put(&self, key: &ArtifactKey, record: &ArtifactRecord, places: &[PathBuf]) -> Result<()>;

    /// Removes an entry that turned out to be damaged.
    fn remove(&self, key: &ArtifactKey);

    /// Called after a run that added something: removes what is too much.
    fn tidy(&self) {}
}

/// The text of a step in a key: all its values, without the names of the tree's and the build's folder.
pub(crate) fn step_text(step: &dyn fmt::Debug, tree: &Path, out: &Path) -> String {
    let text = format!("{step:?}");
    // The build's folder is in the tree's.
    [(out, "OUT"), (tree, "TREE")].into_iter().fold(text, |text, (folder, name)| match folder.to_str() {
        Some(folder) if folder.len() > 1 => text.replace(folder, name),
        _ => text,
    })
}
