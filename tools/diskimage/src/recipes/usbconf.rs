//! The USB stick that brings a device its port configuration, or collects what it has to say.

use super::{Parts, disk};
use crate::{disk::Table, eve::Kind};
use anyhow::{Result, bail};
use filetree::{Content, Node, Tree};

/// Size of a stick's image when none is asked for: 200 MiB.
pub const USB_SIZE: u64 = 204_800 << 10;

/// What is on the stick; at least one of them.
#[derive(Clone, Debug, Default)]
pub struct UsbConf {
    /// `-d`: a folder `dump`, where the device leaves its state.
    pub dump: bool,
    /// `-i`: a folder `identity`, where the device leaves who it is.
    pub identity: bool,
    /// `-f`: the port configuration, `usb.json`.
    pub config: Option<Content>,
}

impl UsbConf {
    /// The files on the stick.
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
            bail!("a USB stick with nothing on it: it brings a configuration, or collects a dump or an identity\nhint: -f FILE, -d, -i");
        }
        Ok(tree)
    }
}

/// The stick's disk of `size` bytes.
pub fn usb_conf(stick: &UsbConf, size: u64, epoch: i64) -> Result<Table> {
    disk(&[Kind::UsbConf], size, &Parts::of_tree(stick.tree(epoch)?), epoch)
}
