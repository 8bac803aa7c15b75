//! A small text file: the version, the platform, a package's build.yml.

use super::{Describe, Keep, Short};
use crate::{
    Need, NodeId, PackageFacts,
    planner::{Planner, input, need},
};
use anyhow::Result;
use std::path::PathBuf;

/// Writes a small text file.
#[derive(Clone, Debug)]
pub struct WriteText {
    /// The file.
    pub path: PathBuf,
    /// Its content.
    pub text: String,
}

impl Describe for WriteText {
    fn describe(&self, short: &Short<'_>) -> String {
        format!("write `{}` to {}", self.text.trim_end(), short(&self.path))
    }

    fn keep(&self) -> Keep {
        Keep::Digests
    }
}

impl Planner<'_> {
    fn text(&mut self, id: NodeId, path: PathBuf, (name, value): (&str, &str), text: String) -> NodeId {
        self.add(id, vec![input(name, value)], vec![], [path.clone()], WriteText { path, text })
    }

    /// `installer/eve_version`.
    pub(crate) fn version(&mut self) -> NodeId {
        let (path, version) = (self.layout.part("eve_version"), self.full_version());
        self.text(NodeId::Version, path, ("version", &version), format!("{version}\n"))
    }

    /// `installer/eve_platform`, on trees with platforms in names. All boards of a family have the same content.
    pub(crate) fn platform(&mut self) -> Option<NodeId> {
        if !self.can.platforms_have_names {
            return None;
        }
        let path = self.layout.part("eve_platform");
        let family = if self.knobs.image.platform.contains("imx8") { "imx8" } else { &self.knobs.image.platform };
        Some(self.text(NodeId::Platform, path, ("PLATFORM", family), format!("{family}\n")))
    }

    /// The node of a package's build.yml, if that is generated from a template.
    pub(crate) fn generated(&mut self, package: &PackageFacts) -> Result<Vec<Need>> {
        let Some(text) = self.facts.generated_yml(package)? else { return Ok(vec![]) };
        let id = NodeId::BuildYml(package.name.clone());
        let made = self.text(id, package.dir.join("build.yml"), ("text", &text), text.clone());
        Ok(vec![need(&made, "linuxkit reads it")])
    }

    /// The nodes of the generated build.yml of packages.
    pub(crate) fn build_ymls(&mut self, names: &[String]) -> Result<Vec<NodeId>> {
        let mut goals = Vec::new();
        for name in names {
            let package = self.facts.package(name)?;
            goals.extend(self.generated(&package)?.into_iter().map(|need| need.id));
        }
        Ok(goals)
    }
}
