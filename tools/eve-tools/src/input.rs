//! What comes in: a tar on standard input or a folder of parts; and where contents are kept while the image is made.

use crate::Environment;
use anyhow::{Context as _, Result, bail};
use diskimage::recipes::{self, Parts};
use filetree::{Kind, Node, Spool, Tree};
use std::{
    fs::{self, File},
    io::{IsTerminal as _, stdin},
    path::{Path, PathBuf},
};

/// The tree in the tar on standard input.
pub fn read_stdin(environment: &Environment) -> Result<Tree> {
    if stdin().is_terminal() {
        bail!("a tar is expected on standard input, which is a terminal");
    }
    let mut spool = Spool::new_in(&temporary_folder(environment)?)?;
    recipes::read_tar(stdin().lock(), &mut spool).context("standard input")
}

/// The parts in their folder (`all` of what is there, or what is known), or the tar on standard input where that is
/// missing or empty; and the time of what is made. Files in a folder are as old as the build that left them there, so
/// without a time from outside theirs is not taken.
pub fn read_parts(folder: &str, all: bool, environment: &Environment) -> Result<(Parts, i64)> {
    let folder = Path::new(folder);
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        let folder = folder.canonicalize().with_context(|| format!("cannot find `{}`", folder.display()))?;
        return Ok((Parts::of_folder(&folder, all)?, environment.epoch.unwrap_or(0)));
    }
    let tree = read_stdin(environment).with_context(|| format!("there are no parts in `{}`", folder.display()))?;
    let epoch = epoch(environment, &tree)?;
    Ok((Parts::of_tree(own_rootfs(tree, environment)?), epoch))
}

/// Gives `rootfs.img` a file of its own where the EFI system partition has to be taken from it.
fn own_rootfs(mut tree: Tree, environment: &Environment) -> Result<Tree> {
    if tree.get("EFI").is_some() {
        return Ok(tree);
    }
    let at = tree.resolve("rootfs.img", true)?;
    if let Some(Node { kind: Kind::File { content, .. }, .. }) = tree.get_mut(at) {
        let mut spool = Spool::new_in(&temporary_folder(environment)?)?;
        *content = spool.add(&mut content.open()?)?;
    }
    Ok(tree)
}

/// The time of all that is made.
pub fn epoch(environment: &Environment, tree: &Tree) -> Result<i64> {
    environment.epoch.map_or_else(|| recipes::newest(tree), Ok)
}

/// A folder for temporary files: an image from scratch has none, so it is made.
pub fn temporary_folder(environment: &Environment) -> Result<PathBuf> {
    let folder = environment.tmp.as_ref().map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder `{}` for temporary files\nhint: TMPDIR names another one", folder.display()))?;
    Ok(folder)
}

/// An empty file without a name, to be written and read.
pub fn temporary_file(environment: &Environment) -> Result<File> {
    let path = temporary_folder(environment)?.join(format!(".eve-tools.{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path);
    let file = file.with_context(|| format!("cannot make the temporary file `{}`", path.display()))?;
    fs::remove_file(&path).with_context(|| format!("cannot remove the name `{}`", path.display()))?;
    Ok(file)
}
