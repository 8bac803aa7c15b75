//! A small text file: the version, the platform, a package's build.yml.

use super::{Describe, Short};
use crate::{
    Need, Node, NodeId, PackageFacts,
    planner::{Planner, input, need},
};
use anyhow::Result;
use std::path::PathBuf;

/// Writes a small text file.
#[derive(Clone, Debug)]
pub struct WriteText {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub text: String,
}

impl Describe for WriteText {
    fn describe(&self, short: &Short<'_>) -> String {
        format!("write `{}` to {}", self.text.trim_end(), short(&self.path))
    }
}

impl Planner<'_> {
    fn text(&mut self, id: NodeId, path: PathBuf, (name, value): (&str, &str), text: String) -> NodeId {
        self.add(Node {
            id,
            inputs: vec![input(name, value)],
            needs: vec![],
            outputs: vec![path.clone()],
            step: WriteText { path, text }.into(),
        })
    }

    /// `installer/eve_version`.
    pub(crate) fn version(&mut self) -> NodeId {
        let (path, version) = (self.layout.part("eve_version"), self.full_version());
        self.text(NodeId::Version, path, ("version", &version), format!("{version}\n"))
    }

    /// `installer/eve_platform`, for the image that installs itself; all boards of a family have one there.
    pub(crate) fn platform(&mut self) -> Option<NodeId> {
        if !self.can.platforms_have_names {
            return None;
        }
        let path = self.layout.part("eve_platform");
        let family = if self.knobs.image.platform.contains("imx8") { "imx8" } else { &self.knobs.image.platform };
        Some(self.text(NodeId::Platform, path, ("PLATFORM", family), format!("{family}\n")))
    }

    /// The files of a package that are made from templates.
    pub(crate) fn generated(&mut self, package: &PackageFacts) -> Result<Vec<Need>> {
        let Some(text) = self.facts.generated_yml(package)? else { return Ok(vec![]) };
        let id = NodeId::BuildYml(package.name.clone());
        let made = self.text(id, package.dir.join("build.yml"), ("text", &text), text.clone());
        Ok(vec![need(&made, "linuxkit reads it")])
    }

    /// The build.yml of packages that have a template for it.
    pub(crate) fn build_ymls(&mut self, names: &[String]) -> Result<Vec<NodeId>> {
        let mut goals = Vec::new();
        for name in names {
            let package = self.facts.package(name)?;
            goals.extend(self.generated(&package)?.into_iter().map(|need| need.id));
        }
        Ok(goals)
    }
}
