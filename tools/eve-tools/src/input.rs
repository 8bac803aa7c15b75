//! Input of the tools: a tar on standard input, or a folder of parts; and temporary files.

use crate::Environment;
use anyhow::{Context as _, Result, bail};
use diskimage::recipes::{self, Parts};
use filetree::{Kind, Node, Spool, Tree};
use std::{
    fs::{self, File},
    io::{IsTerminal as _, stdin},
    path::{Path, PathBuf},
};

/// Reads the tar on standard input.
pub fn read_stdin(environment: &Environment) -> Result<Tree> {
    if stdin().is_terminal() {
        bail!("expected a tar on standard input, which is a terminal");
    }
    let mut spool = Spool::new_in(&temporary_folder(environment)?)?;
    recipes::read_tar(stdin().lock(), &mut spool).context("cannot read standard input")
}

/// Reads the parts in `folder` (`all` files, or only known ones), or a tar on standard input if the folder is missing or empty.
/// Also returns the mtime of the results: files in a folder have the time of an earlier build, so without SOURCE_DATE_EPOCH it
/// is 0.
pub fn read_parts(folder: &str, all: bool, environment: &Environment) -> Result<(Parts, i64)> {
    let folder = Path::new(folder);
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        let folder = folder.canonicalize().with_context(|| format!("cannot find `{}`", folder.display()))?;
        return Ok((Parts::of_folder(&folder, all)?, environment.epoch.unwrap_or(0)));
    }
    let tree = read_stdin(environment).with_context(|| format!("`{}` contains no parts", folder.display()))?;
    let epoch = epoch(environment, &tree)?;
    Ok((Parts::of_tree(own_rootfs(tree, environment)?), epoch))
}

/// Copies `rootfs.img` to its own file if the EFI system partition must be read from it.
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

/// Mtime of the results: SOURCE_DATE_EPOCH, else the newest mtime in `tree`.
pub fn epoch(environment: &Environment, tree: &Tree) -> Result<i64> {
    environment.epoch.map_or_else(|| recipes::newest(tree), Ok)
}

/// The folder for temporary files; created if missing, as an image `FROM scratch` has none.
pub fn temporary_folder(environment: &Environment) -> Result<PathBuf> {
    let folder = environment.tmp.as_ref().map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create the folder `{}` for temporary files\nhint: set TMPDIR to another one", folder.display()))?;
    Ok(folder)
}

/// An empty, unlinked temporary file.
pub fn temporary_file(environment: &Environment) -> Result<File> {
    let path = temporary_folder(environment)?.join(format!(".eve-tools.{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path);
    let file = file.with_context(|| format!("cannot create the temporary file `{}`", path.display()))?;
    fs::remove_file(&path).with_context(|| format!("cannot unlink `{}`", path.display()))?;
    Ok(file)
}
