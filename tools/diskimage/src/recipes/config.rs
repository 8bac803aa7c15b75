//! config.img: a FAT volume with the configuration and its origin.

use super::{CONFIG_SIZE, CONFIG_VOLUME_ID, LABEL, volume};
use crate::{
    calendar::{Moment, moment},
    fat, gpt,
};
use anyhow::{Context as _, Result, bail};
use filetree::{Content, Kind, Node, Tree};

/// Name of the empty file that records date and version of a configuration: `origin.2026-11-22.1.2.3`.
pub fn origin_name(epoch: i64, version: &str) -> Result<String> {
    if version.is_empty() || version.contains(['/', '\n', '\0']) {
        bail!("invalid version `{}`: it becomes a part of a file name", version.escape_debug());
    }
    Ok(format!("origin.{}.{version}", date(epoch)))
}

/// The UTC date of a Unix timestamp as `2026-11-22`.
#[must_use]
pub fn date(epoch: i64) -> String {
    let Moment { year, month, day, .. } = moment(epoch);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The volume for the configuration `tree`, which already contains its origin (`rootfs::config_tree`, [`config_tree_of_tar`]).
pub fn config(tree: &Tree, epoch: i64) -> Result<fat::Layout> {
    config_for_disk(tree, gpt::SECTOR, epoch)
}

/// The same for a partition of a disk with sectors of `sector` bytes (512 or 4096).
pub fn config_for_disk(tree: &Tree, sector: u64, epoch: i64) -> Result<fat::Layout> {
    let options = fat::Options { sector: u32::try_from(sector)?, ..volume(CONFIG_SIZE, LABEL, CONFIG_VOLUME_ID, epoch) };
    fat::layout(tree, &options).context("cannot make config.img")
}

/// Same tree as from `rootfs::config_tree`, but from a tar of the folder. Descends through folders that contain only one folder
/// (a tar of `conf/*` has one), and drops hidden files there.
pub fn config_tree_of_tar(tar: Tree, origin: &str, epoch: i64) -> Result<Tree> {
    let Kind::Dir(mut children) = tar.root.kind else { bail!("internal error: the root of a tar is not a directory") };
    loop {
        children.retain(|name, _| !name.starts_with(b"."));
        match children.pop_first() {
            Some((_, Node { kind: Kind::Dir(below), .. })) if children.is_empty() => children = below,
            Some((name, node)) => {
                children.insert(name, node);
                break;
            }
            None => bail!("the tar contains no configuration files"),
        }
    }
    let mut tree = Tree::new();
    tree.root.kind = Kind::Dir(children);
    tree.insert(origin, Node::file(0o644, epoch, Content::from("")))?;
    Ok(tree)
}
