//! The USB stick that brings a device its port configuration, or collects its state or identity.

use super::{Parts, disk};
use crate::{disk::Table, eve::Kind};
use anyhow::{Result, bail};
use filetree::{Content, Node, Tree};

/// Default size of the stick's image in bytes: 200 MiB.
pub const USB_SIZE: u64 = 204_800 << 10;

/// Content of the stick; at least one field must be set.
#[derive(Clone, Debug, Default)]
pub struct UsbConf {
    /// `-d`: folder `dump`, where the device stores its state.
    pub dump: bool,
    /// `-i`: folder `identity`, where the device stores its identity.
    pub identity: bool,
    /// `-f`: the port configuration, `usb.json`.
    pub config: Option<Content>,
}

impl UsbConf {
    /// Files of the stick.
    pub fn tree(&self, epoch: i64) -> Result<Tree> {
        let mut tree = Tree::new();
        for (name, wanted) in [("dump", self.dump), ("identity", self.identity)] {
            if wanted {
                tree.insert(name, Node::dir(0o755, epoch))?;
            }
        }
        if let Some(config) = &self.config {
            tree.insert("usb.json", Node::file(0o644, epoch, config.clone()))?;
        }
        if tree.root.children().is_none_or(std::collections::BTreeMap::is_empty) {
            bail!("the USB stick would be empty: it needs a configuration, a dump folder or an identity folder\nhint: -f FILE, -d, -i");
        }
        Ok(tree)
    }
}

/// The stick as a disk of `size` bytes.
pub fn usb_conf(stick: &UsbConf, size: u64, epoch: i64) -> Result<Table> {
    disk(&[Kind::UsbConf], size, &Parts::of_tree(stick.tree(epoch)?), epoch)
}
