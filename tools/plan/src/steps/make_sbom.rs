//! The bill of materials by syft. It is planned beside [`TakeOut`](super::TakeOut), which stands for it in trees that have one.

use super::{Describe, Short};
use std::path::PathBuf;

/// rootfs.tar → its bill of materials, by syft.
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
