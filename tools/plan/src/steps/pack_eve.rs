//! The image lfedge/eve of trees whose program makes artifacts: the program's image and a layer with the parts, as an archive for
//! `docker load`. `build_eve.rs` plans it.

use super::{Describe, Short};
use crate::ImageRef;
use std::path::PathBuf;

/// Packs the parts and the program's image into an archive.
#[derive(Clone, Debug)]
pub struct PackEve {
    /// The image with the program.
    pub program: ImageRef,
    /// The name of the image that is made.
    pub reference: String,
    /// The parts: their names in the image, and their files.
    pub parts: Vec<(String, PathBuf)>,
    /// The description of the parts, JSON.
    pub manifest: String,
    /// Unix timestamp of the image and of its files.
    pub epoch: i64,
    /// The archive.
    pub out: PathBuf,
}

impl Describe for PackEve {
    fn describe(&self, short: &Short<'_>) -> String {
        let names: Vec<&str> = self.parts.iter().map(|(name, _)| name.as_str()).collect();
        format!("pack {} into the image {} with {}: {}", names.join(", "), self.reference, self.program, short(&self.out))
    }
}
