//! The configuration as a FAT volume.

use super::{Describe, Short};
use crate::{
    ImageRef, Node, NodeId,
    planner::{Planner, input, tool_input},
};
use anyhow::Result;
use diskimage::recipes;
use std::path::PathBuf;

/// conf/ → FAT.
#[derive(Clone, Debug)]
pub struct MakeConfig {
    /// The folder.
    pub conf_dir: PathBuf,
    /// Files and folders of it; none for all that it holds.
    pub files: Vec<String>,
    /// The version that the origin file names.
    pub version: String,
    /// The empty file that tells where the configuration came from.
    pub origin: String,
    /// Unix timestamp of all files.
    pub epoch: i64,
    /// The image.
    pub out: PathBuf,
    /// mkconf.
    pub tool: Option<ImageRef>,
}

impl Describe for MakeConfig {
    fn describe(&self, short: &Short<'_>) -> String {
        let what = if self.files.is_empty() { format!("{}/", short(&self.conf_dir)) } else { self.files.join(", ") };
        format!("pack {what} and {} as FAT, 1 MiB, label EVE: {}", self.origin, short(&self.out))
    }

    fn tool(&self) -> Option<&ImageRef> {
        self.tool.as_ref()
    }
}

impl Planner<'_> {
    /// `config.img`.
    pub(crate) fn config_img(&mut self) -> Result<NodeId> {
        let out = self.layout.part("config.img");
        let origin = recipes::origin_name(self.facts.epoch(), self.facts.version())?;
        let mut needs = vec![];
        let tool = self.tool("mkconf", &mut needs)?;
        let conf_dir = self.knobs.image.conf_dir.clone();
        let mut inputs = vec![
            input("CONF_DIR", conf_dir.display()),
            input("content of CONF_DIR", self.facts.folder_digest(&conf_dir)?),
            input("origin", &origin),
            self.time(),
        ];
        inputs.extend(tool_input(tool.as_ref()));
        let (version, epoch) = (self.facts.version().to_owned(), self.facts.epoch());
        Ok(self.add(Node {
            id: NodeId::ConfigImg,
            inputs,
            needs,
            outputs: vec![out.clone()],
            step: MakeConfig { conf_dir, files: vec![], version, origin, epoch, out, tool }.into(),
        }))
    }
}
