//! `config.img`: the configuration as a FAT file system.

use super::{Describe, Keep, Short};
use crate::{
    ImageRef, NodeId,
    planner::{Planner, input, tool_input},
};
use anyhow::Result;
use diskimage::recipes;
use std::path::PathBuf;

/// conf/ → FAT.
#[derive(Clone, Debug)]
pub struct MakeConfig {
    /// The folder with the configuration.
    pub conf_dir: PathBuf,
    /// Files and folders to pack; empty for all in the folder.
    pub files: Vec<String>,
    /// The version in the origin file's name.
    pub version: String,
    /// The name of an empty file that records the origin of the configuration.
    pub origin: String,
    /// Unix timestamp of all files.
    pub epoch: i64,
    /// The image.
    pub out: PathBuf,
    /// The image mkconf.
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

    /// The files of a list are not among the inputs.
    fn keep(&self) -> Keep {
        if self.files.is_empty() { Keep::Local } else { Keep::Never }
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
        let outputs = [out.clone()];
        let step = MakeConfig { conf_dir, files: vec![], version, origin, epoch, out, tool };
        Ok(self.add(NodeId::ConfigImg, inputs, needs, outputs, step))
    }
}
