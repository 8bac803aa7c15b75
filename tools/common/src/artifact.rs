//! Files that get their final names only when they are complete.

use anyhow::{Context as _, Result, bail};
use std::{
    fs::File,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
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
    pub fn commit_before_stamp(mut self) -> Result<()> {
        #[cfg(target_os = "linux")]
        if self.exchange() {
            self.done = true;
            discard(&self.part);
            return Ok(());
        }
        self.rename()
    }

    /// Exchanges the part with an older artifact; false if there is none, or the file system cannot. A rename over a file would make ext4 write
    /// all of the new one to the disk first.
    #[cfg(target_os = "linux")]
    fn exchange(&self) -> bool {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        let is_file = |path: &Path| path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
        is_file(&self.path) && is_file(&self.part) && renameat_with(CWD, &self.part, CWD, &self.path, RenameFlags::EXCHANGE).is_ok()
    }

    fn rename(mut self) -> Result<()> {
        std::fs::rename(&self.part, &self.path).with_context(|| format!("cannot rename a complete file to `{}`", self.path.display()))?;
        self.done = true;
        Ok(())
    }
}

/// Writes a file, or a folder with everything in it, to the disk. A link has no content of its own. What vanishes from the folder meanwhile
/// is the part of an artifact that another step makes there: that step flushes it under its final name.
pub fn flush(path: &Path) -> std::io::Result<()> {
    let metadata = path.symlink_metadata()?;
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path)? {
            match flush(&entry?.path()) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                flushed => flushed?,
            }
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

/// Removes the old artifact that an exchange left under the part's name. Freeing the blocks of a large file takes the file system a tenth of a
/// second, which nobody has to wait for: it happens where the last open file of it is closed.
#[cfg(target_os = "linux")]
fn discard(part: &Path) {
    let old = File::open(part);
    remove(part);
    // Without another thread it is closed here.
    let _ = std::thread::Builder::new().spawn(move || drop(old));
}

/// Waits until all that any process has written is on the disk, so that what is measured next does not wait for it.
pub fn settle() {
    rustix::fs::sync();
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

/// Writes a file that a person named, in one step: readers see the old or the new content, and so they do after a power loss. The target of a
/// symbolic link is written, and the link stays. A file that is there keeps its mode and, if root writes, its owner; hard links to it keep
/// the old content. A device or a pipe is written to, not replaced.
pub fn write_named(path: &Path, bytes: &[u8]) -> Result<()> {
    if path.metadata().is_ok_and(|before| !before.is_file()) {
        return std::fs::write(path, bytes).with_context(|| format!("cannot write `{}`", path.display()));
    }
    write_to_disk(&target(path)?, bytes)
}

/// The same for a file whose name follows from another: a link in its place is replaced and not followed, because nobody named it.
pub fn write_to_disk(path: &Path, bytes: &[u8]) -> Result<()> {
    let cannot = || format!("cannot write `{}`", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    let usual = std::fs::Permissions::from_mode(0o666);
    // No other process holds a lock or knows this name, so each writer has a part of its own.
    let mut part = tempfile::Builder::new().prefix(".part-").permissions(usual).tempfile_in(folder).with_context(cannot)?;
    if let Some(before) = path.symlink_metadata().ok().filter(std::fs::Metadata::is_file) {
        // Only root can give a file away; another person's file becomes ours, as with any program that replaces files.
        let _ = std::os::unix::fs::fchown(part.as_file(), Some(before.uid()), Some(before.gid()));
        part.as_file().set_permissions(before.permissions()).with_context(cannot)?;
    }
    part.write_all(bytes).with_context(cannot)?;
    part.as_file().sync_all().with_context(cannot)?;
    part.persist(path).map(drop).with_context(cannot)
}

/// Where the symbolic links of `path` lead in the end, also if nothing is there; `path` itself if it is no link.
fn target(path: &Path) -> Result<PathBuf> {
    let mut end = path.to_owned();
    // As many as the kernel follows.
    for _ in 0..40 {
        match std::fs::read_link(&end) {
            Ok(next) => end = end.parent().unwrap_or_else(|| Path::new("")).join(next),
            Err(_) => return Ok(end),
        }
    }
    bail!("cannot write `{}`: its symbolic links lead in a circle", path.display())
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
        // In place of an older one, of which other names keep what they have.
        std::fs::hard_link(&path, folder.path().join("other")).expect("link");
        let pending = Pending::new(&path).expect("pending");
        pending.create().expect("create").write_all(b"new").expect("write");
        pending.commit_before_stamp().expect("renamed");
        assert_eq!(
            (std::fs::read(&path).expect("read"), std::fs::read(folder.path().join("other")).expect("read")),
            (b"new".to_vec(), b"whole".to_vec())
        );
        assert_eq!(std::fs::read_dir(folder.path().join("below")).expect("read").count(), 1);
    }

    #[test]
    fn a_folder_in_which_others_work_is_flushed() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("whole"), b"whole").expect("write");
        let (below, done) = (folder.path().to_owned(), std::sync::atomic::AtomicBool::new(false));
        std::thread::scope(|scope| {
            let others = scope.spawn(|| {
                for number in 0_u32.. {
                    if done.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                    let part = below.join(format!(".{number}.part"));
                    std::fs::write(&part, b"").expect("write");
                    std::fs::rename(part, below.join("another")).expect("rename");
                }
            });
            let flushed: std::io::Result<()> = (0..200).try_for_each(|_| flush(folder.path()));
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            others.join().expect("the other step");
            flushed.expect("flushed");
        });
        assert_eq!(flush(&folder.path().join("none")).expect_err("no folder").kind(), std::io::ErrorKind::NotFound);
    }

    #[test]
    fn a_file_of_a_person_keeps_its_links_and_its_mode() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().expect("folder");
        let at = |name: &str| folder.path().join(name);
        let mode = |name: &str| at(name).metadata().expect("mode").permissions().mode() & 0o777;
        std::fs::create_dir(at("below")).expect("folder");
        std::fs::write(at("below/file"), b"old").expect("write");
        std::fs::set_permissions(at("below/file"), std::fs::Permissions::from_mode(0o750)).expect("mode");
        symlink("below/file", at("one")).expect("link");
        symlink(at("one"), at("below/two")).expect("link");
        write_named(&at("below/two"), b"new").expect("write");
        assert!(at("one").is_symlink() && at("below/two").is_symlink());
        assert_eq!((std::fs::read(at("below/file")).expect("read"), mode("below/file")), (b"new".to_vec(), 0o750));
        // A link to nothing, a circle, and a device.
        symlink("below/later", at("three")).expect("link");
        write_named(&at("three"), b"made").expect("write");
        assert_eq!(std::fs::read(at("below/later")).expect("read"), b"made");
        symlink("circle", at("circle")).expect("link");
        let error = write_named(&at("circle"), b"").expect_err("circle").to_string();
        assert!(error.ends_with("circle`: its symbolic links lead in a circle"), "{error}");
        symlink("/dev/null", at("null")).expect("link");
        write_named(&at("null"), b"nothing").expect("write");
        assert!(at("null").is_symlink() && !Path::new("/dev/null").is_file());
        // What nobody named is not written through a link.
        symlink("below/file", at("four")).expect("link");
        write_to_disk(&at("four"), b"beside").expect("write");
        assert!(!at("four").is_symlink() && std::fs::read(at("below/file")).expect("read") == b"new");
        assert_eq!(std::fs::read_dir(at("below")).expect("read").count(), 3);
    }
}
