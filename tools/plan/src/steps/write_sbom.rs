//! The bill of materials, made in process from the records of packages in rootfs.tar. `take_out.rs` plans it.

use super::{Describe, Keep, Short};
use std::path::PathBuf;

/// Lists the packages of a root file system as an SPDX document.
#[derive(Clone, Debug)]
pub struct WriteSbom {
    /// The tar of the root file system.
    pub tar: PathBuf,
    /// Its yml, which names the packages of the tree.
    pub yml: PathBuf,
    /// The image's version.
    pub version: String,
    /// The document's time: Unix timestamp.
    pub epoch: i64,
    /// The stub of the unified kernel image, if the root file system gets one by SIGN: it is of the build machine, and has no record there.
    pub stub: Option<PathBuf>,
    /// The document.
    pub out: PathBuf,
}

impl Describe for WriteSbom {
    fn describe(&self, short: &Short<'_>) -> String {
        format!("list the packages in {} by their records: {}", short(&self.tar), short(&self.out))
    }

    fn keep(&self) -> Keep {
        Keep::Copied
    }
}
