//! A tar on standard input, and where its contents are kept while the image is made.

use crate::Environment;
use anyhow::{Context as _, Result, bail};
use diskimage::recipes;
use filetree::{Spool, Tree};
use std::{
    fs::{self, File},
    io::{IsTerminal as _, stdin},
    path::PathBuf,
};

/// The tree in the tar on standard input.
pub fn read_stdin(environment: &Environment) -> Result<Tree> {
    if stdin().is_terminal() {
        bail!("a tar is expected on standard input, which is a terminal");
    }
    let mut spool = Spool::new_in(&temporary_folder(environment)?)?;
    recipes::read_tar(stdin().lock(), &mut spool).context("standard input")
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
