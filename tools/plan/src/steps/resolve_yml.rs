//! A linuxkit yml with its tags filled in.

use super::{Describe, Short};
use crate::{
    Composed, Node, NodeId,
    planner::{Planner, input},
};
use anyhow::Result;
use std::path::PathBuf;

/// Replaces the `*_TAG` names in a template.
#[derive(Clone, Debug)]
pub struct ResolveYml {
    /// `images/rootfs.yml.in`.
    pub template: PathBuf,
    /// The resolved file.
    pub out: PathBuf,
    /// Its text.
    pub text: String,
}

impl Describe for ResolveYml {
    fn describe(&self, short: &Short<'_>) -> String {
        format!("fill in the tags of {}: {}", short(&self.template), short(&self.out))
    }
}

impl Planner<'_> {
    /// Where the resolved yml of what is composed lies.
    pub(crate) fn yml_path(&self, of: Composed) -> PathBuf {
        self.layout.yml(of, &self.knobs.image.hv, &self.platform_suffix())
    }

    /// The resolved yml, and the packages that it names.
    pub(crate) fn yml(&mut self, of: Composed) -> Result<(NodeId, Vec<String>)> {
        let (text, template, packages) = self.facts.yml(of)?;
        let out = self.yml_path(of);
        let node = Node {
            id: NodeId::Yml(of),
            inputs: vec![input("text", &text)],
            needs: vec![],
            outputs: vec![out.clone()],
            step: ResolveYml { template, out, text }.into(),
        };
        Ok((self.add(node), packages))
    }
}
