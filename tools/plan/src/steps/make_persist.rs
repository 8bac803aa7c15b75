//! The start of /persist.

use super::{Describe, Short};
use crate::{Node, NodeId, planner::Planner};
use std::path::PathBuf;

/// A mebibyte of zeros: enough to have the partition formatted on the first boot.
#[derive(Clone, Debug)]
pub struct MakePersist {
    /// The image.
    pub out: PathBuf,
}

impl Describe for MakePersist {
    fn describe(&self, short: &Short<'_>) -> String {
        format!("write 1 MiB of zeros: {}", short(&self.out))
    }
}

impl Planner<'_> {
    /// `persist.img`.
    pub(crate) fn persist_img(&mut self) -> NodeId {
        let out = self.layout.part("persist.img");
        self.add(Node {
            id: NodeId::PersistImg,
            inputs: vec![],
            needs: vec![],
            outputs: vec![out.clone()],
            step: MakePersist { out }.into(),
        })
    }
}
