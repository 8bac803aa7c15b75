//! Files of the tree, copied beside a disk's parts.

use super::{Describe, Short};
use crate::{
    DiskKind, Need, NodeId,
    planner::{Planner, input},
};
use std::path::PathBuf;

/// Copies the content of folders of the tree and of artifacts.
#[derive(Clone, Debug)]
pub struct CopyFiles {
    /// The folders; files of later ones replace those of earlier ones.
    pub from: Vec<PathBuf>,
    /// The destination.
    pub to: PathBuf,
}

impl Describe for CopyFiles {
    fn describe(&self, short: &Short<'_>) -> String {
        let from: Vec<String> = self.from.iter().map(|path| short(path)).collect();
        format!("copy {} to {}", from.join(" and "), short(&self.to))
    }

    fn owns_its_outputs(&self) -> bool {
        true
    }
}

impl Planner<'_> {
    /// The node of the tree's files beside a disk's parts; none if the profile has none.
    pub(crate) fn files(&mut self, kind: DiskKind, after: &[Need]) -> Option<NodeId> {
        let profile = self.facts.profile();
        let disk = if kind == DiskKind::Verification { &profile.verification } else { &profile.installer };
        let folder = disk.as_ref()?.files.clone()?;
        let kind = if kind == DiskKind::Verification { kind } else { DiskKind::Installer };
        let to = self.layout.parts(kind);
        let mut from = vec![folder.clone()];
        let mut needs = vec![];
        if kind == DiskKind::Verification {
            from.insert(0, self.layout.parts(DiskKind::Installer));
            needs = after.to_vec();
        }
        let digest = self.facts.folder_digest(&folder).ok()?;
        let outputs: Vec<PathBuf> = self.facts.folder_files(&folder).ok()?.into_iter().map(|file| to.join(file)).collect();
        Some(self.add(NodeId::Files(kind), vec![input("content", digest)], needs, outputs, CopyFiles { from, to }))
    }
}
