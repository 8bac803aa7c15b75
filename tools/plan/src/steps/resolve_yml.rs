//! A linuxkit yml with its tags filled in.

use super::{Describe, Keep, Short};
use crate::{
    Composed, NodeId,
    planner::{Planner, input},
};
use anyhow::Result;
use common::error::usage;
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

    fn keep(&self) -> Keep {
        Keep::Digests
    }
}

impl Planner<'_> {
    /// The path of the resolved yml.
    pub(crate) fn yml_path(&self, of: Composed) -> PathBuf {
        self.layout.yml(of, &self.knobs.image.hv, &self.platform_suffix())
    }

    /// The node of the resolved yml; an error if the tree has no such root file system.
    pub(crate) fn yml_alone(&mut self, of: Composed) -> Result<NodeId> {
        let profile = self.facts.profile();
        if of != Composed::Rootfs && profile.templates.installer.is_none() {
            let name = &profile.tree.name;
            return Err(usage(format!(
                "{name} has no yml of an installer: its profile has no [templates] installer\nhint: rootfs-yml writes that of the root file system"
            )));
        }
        Ok(self.yml(of)?.0)
    }

    /// The node of the resolved yml, and the packages in it.
    pub(crate) fn yml(&mut self, of: Composed) -> Result<(NodeId, Vec<String>)> {
        let (text, template, packages) = self.facts.yml(of)?;
        let out = self.yml_path(of);
        let inputs = vec![input("text", &text)];
        Ok((self.add(NodeId::Yml(of), inputs, vec![], [out.clone()], ResolveYml { template, out, text }), packages))
    }
}
