//! A USB stick for a device's port configuration or its dumps. No target has one: the helper `makeusbconf` makes it.

use super::{Describe, Short};
use crate::ImageRef;
use std::path::PathBuf;

/// A USB stick to be made.
#[derive(Clone, Debug)]
pub struct MakeStick {
    /// With a folder for a device's dump.
    pub dump: bool,
    /// With a folder for a device's identity.
    pub identity: bool,
    /// The port configuration, `usb.json`.
    pub config: Option<PathBuf>,
    /// The stick's size.
    pub bytes: u64,
    /// The image, or the block device.
    pub out: PathBuf,
    /// Whether it is a block device.
    pub device: bool,
    /// Unix timestamp of all files.
    pub epoch: i64,
    /// mkimage-raw-efi.
    pub tool: Option<ImageRef>,
}

impl Describe for MakeStick {
    fn describe(&self, short: &Short<'_>) -> String {
        let config = self.config.as_ref().map(|path| short(path));
        let on = [self.dump.then(|| "dump/".to_owned()), self.identity.then(|| "identity/".to_owned()), config];
        format!("make a USB stick with {}: {}", on.into_iter().flatten().collect::<Vec<_>>().join(", "), short(&self.out))
    }

    fn tool(&self) -> Option<&ImageRef> {
        self.tool.as_ref()
    }
}
