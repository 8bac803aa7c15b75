//! A USB stick with a port configuration for a device, or for its dumps. Only the helper `makeusbconf` uses this step.

use super::{Describe, Short};
use crate::ImageRef;
use std::path::PathBuf;

/// Makes a USB stick.
#[derive(Clone, Debug)]
pub struct MakeStick {
    /// Add a folder for a device's dump.
    pub dump: bool,
    /// Add a folder for a device's identity.
    pub identity: bool,
    /// The port configuration, `usb.json`.
    pub config: Option<PathBuf>,
    /// The stick's size.
    pub bytes: u64,
    /// The image file, or a block device.
    pub out: PathBuf,
    /// Whether `out` is a block device.
    pub device: bool,
    /// Unix timestamp of all files.
    pub epoch: i64,
    /// The image mkimage-raw-efi.
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
