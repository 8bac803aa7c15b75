//! config.img: a FAT volume with a configuration and the name of what it was made for.

use super::{CONFIG_SIZE, CONFIG_VOLUME_ID, LABEL, volume};
use crate::{
    calendar::{Moment, moment},
    fat,
};
use anyhow::{Context as _, Result, bail};
use filetree::{Content, Kind, Node, Tree};

/// Name of the empty file that says when and for what version a configuration was made: `origin.2026-11-22.1.2.3`.
pub fn origin_name(epoch: i64, version: &str) -> Result<String> {
    if version.is_empty() || version.contains(['/', '\n', '\0']) {
        bail!("`{}` is no version: it becomes a part of a file's name", version.escape_debug());
    }
    Ok(format!("origin.{}.{version}", date(epoch)))
}

/// `2026-11-22`, in UTC, of a time in seconds since the epoch.
#[must_use]
pub fn date(epoch: i64) -> String {
    let Moment { year, month, day, .. } = moment(epoch);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The volume for a configuration's `tree`, which has its origin already (`rootfs::config_tree`, [`config_tree_of_tar`]).
/// Errors say what FAT cannot hold, and the bytes that are too many.
pub fn config(tree: &Tree, epoch: i64) -> Result<fat::Layout> {
    fat::layout(tree, &volume(CONFIG_SIZE, LABEL, CONFIG_VOLUME_ID, epoch)).context("the configuration cannot become config.img")
}

/// The same tree that `rootfs::config_tree` reads from a folder, from a tar of that folder: folders that hold one folder
/// and nothing else are passed through (a tar of `conf/*` names them), hidden files at that place are left out.
pub fn config_tree_of_tar(tar: Tree, origin: &str, epoch: i64) -> Result<Tree> {
    let Kind::Dir(mut children) = tar.root.kind else { bail!("the root of a tar is a directory") };
    loop {
        children.retain(|name, _| !name.starts_with(b"."));
        match children.pop_first() {
            Some((_, Node { kind: Kind::Dir(below), .. })) if children.is_empty() => children = below,
            Some((name, node)) => {
                children.insert(name, node);
                break;
            }
            None => bail!("the tar holds no files of a configuration"),
        }
    }
    let mut tree = Tree::new();
    tree.root.kind = Kind::Dir(children);
    tree.insert(origin, Node::file(0o644, epoch, Content::from("")))?;
    Ok(tree)
}
