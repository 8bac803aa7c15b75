//! The link `dist/<arch>/current`.

use super::{Describe, Short};
use crate::{
    Node, NodeId,
    planner::{Planner, input, need},
};
use anyhow::Result;
use std::path::PathBuf;

/// Points a link at a folder beside it.
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
    /// What a target makes, and then the link to it.
    pub(crate) fn then_current(&mut self, made: impl FnOnce(&mut Self) -> Result<NodeId>) -> Result<Vec<NodeId>> {
        let made = made(self)?;
        Ok(vec![self.current(&made), made])
    }

    /// `dist/<arch>/current`, once `made` is there: what it leads to can be run.
    pub(crate) fn current(&mut self, made: &NodeId) -> NodeId {
        let link = self.dist.current_link(self.knobs.image.arch);
        self.add(Node {
            id: NodeId::Current,
            inputs: vec![input("version", self.facts.version())],
            needs: vec![need(made, "it leads to what was made last")],
            outputs: vec![link.clone()],
            step: Link { link, target: PathBuf::from(self.facts.version()) }.into(),
        })
    }
}
