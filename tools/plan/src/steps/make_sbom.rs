//! The bill of materials by syft. [`TakeOut`](super::TakeOut) replaces it on trees whose rootfs.tar contains one; its file plans both.

use super::{Describe, Short};
use std::path::PathBuf;

/// Runs syft on rootfs.tar to make its bill of materials.
#[derive(Clone, Debug)]
pub struct MakeSbom {
    /// The tar.
    pub tar: PathBuf,
    /// syft's settings.
    pub config: PathBuf,
    /// syft's image.
    pub image: String,
    /// The SPDX document.
    pub out: PathBuf,
}

impl Describe for MakeSbom {
    fn describe(&self, short: &Short<'_>) -> String {
        format!("list what is in {} by {}: {}", short(&self.tar), self.image, short(&self.out))
    }
}
