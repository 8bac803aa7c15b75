//! The links `dist/<arch>/current` and `live.img`.

use super::{Describe, Short};
use crate::{
    NodeId,
    planner::{Planner, input, need},
};
use anyhow::Result;
use knobs::ImageFormat;
use std::path::PathBuf;

/// Creates or replaces a link to a folder or file beside it.
#[derive(Clone, Debug)]
pub struct Link {
    /// The link.
    pub link: PathBuf,
    /// Its target, relative.
    pub target: PathBuf,
}

impl Describe for Link {
    fn describe(&self, short: &Short<'_>) -> String {
        format!("link {} to {}", short(&self.link), self.target.display())
    }
}

impl Planner<'_> {
    /// The node that `made` plans, and the link `current` after it.
    pub(crate) fn then_current(&mut self, made: impl FnOnce(&mut Self) -> Result<NodeId>) -> Result<Vec<NodeId>> {
        let made = made(self)?;
        Ok(vec![self.current(&made), made])
    }

    /// The installer or the verification that `made` plans, and the link `current` after it; with the firmware of virtual machines unless
    /// that is in a registry: [`Goal::LiveDisk`](crate::Goal::LiveDisk) has the same rule.
    pub(crate) fn medium(&mut self, made: impl FnOnce(&mut Self) -> Result<NodeId>) -> Result<Vec<NodeId>> {
        let mut goals = if self.can.packages_are_published { Vec::new() } else { vec![self.firmware()?] };
        goals.extend(self.then_current(made)?);
        Ok(goals)
    }

    /// The link `dist/<arch>/current`, after `made`, so that the version it points to can run.
    pub(crate) fn current(&mut self, made: &NodeId) -> NodeId {
        let link = self.dist.current_link(self.knobs.image.arch);
        let version = self.facts.version();
        let (inputs, needs) = (vec![input("version", version)], vec![need(made, "it leads to what was made last")]);
        self.add(NodeId::Current, inputs, needs, [link.clone()], Link { link, target: PathBuf::from(version) })
    }

    /// The link `live.img`, after the live disk `made` in `format`.
    pub(crate) fn live_link(&mut self, made: &NodeId, format: ImageFormat) -> NodeId {
        let link = self.layout.live_link();
        let file = format.row().file;
        let (inputs, needs) = (vec![input("file", file)], vec![need(made, "it leads to the live disk that was built last")]);
        self.add(NodeId::LiveImg, inputs, needs, [link.clone()], Link { link, target: PathBuf::from(file) })
    }
}
