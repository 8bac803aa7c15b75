//! Files that get their final names only when they are complete.

use anyhow::{Context as _, Result};
use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

/// An unfinished artifact `NAME`, written to `.NAME.part` in the same folder. [`Pending::commit`] renames it; dropping it before that removes
/// it. The executor holds the tree's lock, so an existing part was left by a dead run and is removed.
#[derive(Debug)]
pub struct Pending {
    part: PathBuf,
    path: PathBuf,
    done: bool,
}

impl Pending {
    /// Creates the folder and removes an old part.
    pub fn new(path: &Path) -> Result<Self> {
        let folder = path.parent().context("an artifact has a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        let name = path.file_name().context("an artifact has a name")?.to_string_lossy();
        let part = folder.join(format!(".{name}.part"));
        remove(&part);
        Ok(Self { part, path: path.to_owned(), done: false })
    }

    /// The temporary path, for a tool that writes the file itself.
    #[must_use]
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// Creates the part as an empty file, open for reading and writing.
    pub fn create(&self) -> Result<File> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&self.part);
        file.with_context(|| format!("cannot write `{}`", self.part.display()))
    }

    /// Renames the complete artifact to its final name, after its content is on the disk: after a power loss the name never leads to half
    /// of it.
    pub fn commit(self) -> Result<()> {
        flush(&self.part).with_context(|| format!("cannot write `{}` to the disk", self.part.display()))?;
        self.rename()
    }

    /// Renames the complete artifact of a node to its final name, before its content is on the disk. The executor waits for the disk before it
    /// writes the node's stamp, and meanwhile makes what needs the artifact.
    pub fn commit_before_stamp(self) -> Result<()> {
        self.rename()
    }

    fn rename(mut self) -> Result<()> {
        std::fs::rename(&self.part, &self.path).with_context(|| format!("cannot rename a complete file to `{}`", self.path.display()))?;
        self.done = true;
        Ok(())
    }
}

/// Writes a file, or a folder with everything in it, to the disk. A link has no content of its own.
pub fn flush(path: &Path) -> std::io::Result<()> {
    let metadata = path.symlink_metadata()?;
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path)? {
            flush(&entry?.path())?;
        }
    }
    if metadata.is_file() || metadata.is_dir() { File::open(path)?.sync_all() } else { Ok(()) }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.done {
            remove(&self.part);
        }
    }
}

/// Removes a part, which may be a folder. Ignores errors: the next write to the part reports them.
fn remove(part: &Path) {
    let _ = if part.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        std::fs::remove_dir_all(part)
    } else {
        std::fs::remove_file(part)
    };
}

/// Copies a program to `path` and makes it executable.
pub fn install_program(program: &Path, path: &Path) -> Result<()> {
    let pending = Pending::new(path)?;
    std::fs::copy(program, pending.part()).with_context(|| format!("cannot install `{}`", path.display()))?;
    std::fs::set_permissions(pending.part(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    pending.commit()
}

/// Writes a small file in one step: readers see the old or the new content. Does not wait for the disk: such a file is a stamp, or its
/// stamp knows its size, so that the next build notices what a power loss left of it.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let pending = Pending::new(path)?;
    pending.create()?.write_all(bytes).with_context(|| format!("cannot write `{}`", path.display()))?;
    pending.rename()
}

/// Creates or replaces the symbolic link `link` to `target` in one step.
pub fn link_atomically(link: &Path, target: &Path) -> Result<()> {
    let pending = Pending::new(link)?;
    std::os::unix::fs::symlink(target, pending.part()).with_context(|| format!("cannot link `{}`", link.display()))?;
    pending.rename()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_half_made_stays() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("below/a");
        let pending = Pending::new(&path).expect("pending");
        pending.create().expect("create").write_all(b"half").expect("write");
        drop(pending);
        assert_eq!(std::fs::read_dir(folder.path().join("below")).expect("read").count(), 0);
        let pending = Pending::new(&path).expect("pending");
        std::fs::create_dir_all(pending.part().join("of a folder")).expect("folder");
        std::mem::forget(pending);
        drop(Pending::new(&path).expect("pending"));
        assert_eq!(std::fs::read_dir(folder.path().join("below")).expect("read").count(), 0);
        write_atomically(&path, b"whole").expect("write");
        assert_eq!(std::fs::read(&path).expect("read"), b"whole");
    }
}
