//! `persist.img`: the start of the partition of /persist.

use super::{Describe, Keep, Short};
use crate::{NodeId, planner::Planner};
use std::path::PathBuf;

/// Writes 1 MiB of zeros, so that the first boot formats the partition.
#[derive(Clone, Debug)]
pub struct MakePersist {
    /// The image.
    pub out: PathBuf,
}

impl Describe for MakePersist {
    fn describe(&self, short: &Short<'_>) -> String {
        format!("write 1 MiB of zeros: {}", short(&self.out))
    }

    fn keep(&self) -> Keep {
        Keep::Digests
    }
}

impl Planner<'_> {
    /// `persist.img`.
    pub(crate) fn persist_img(&mut self) -> NodeId {
        let out = self.layout.part("persist.img");
        self.add(NodeId::PersistImg, vec![], vec![], [out.clone()], MakePersist { out })
    }
}
