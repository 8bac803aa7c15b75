//! The output file of a tool: written under a temporary name and renamed. A file that is a mount point (docker -v) cannot be
//! replaced, so it is written in place; a failure leaves it empty, which lf-edge/eve's scripts take as "not written".

use anyhow::{Context as _, Result, bail};
use std::{
    fs::{self, File},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// An output file. Dropping it without [`Output::commit`] discards what was written.
pub struct Output {
    file: File,
    /// Temporary path; `None` when writing in place.
    part: Option<PathBuf>,
    path: PathBuf,
    done: bool,
}

impl Output {
    /// Opens the output for `path`. Call it after all checks of the inputs.
    pub fn open(path: &Path) -> Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true);
        // A symbolic link stays; its target is replaced.
        let path =
            path.canonicalize().or_else(|_| std::path::absolute(path)).with_context(|| format!("cannot find `{}`", path.display()))?;
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            bail!("`{}` is not a regular file", path.display());
        }
        let in_place = is_mount_point(&path);
        let name = path.file_name().with_context(|| format!("`{}` has no file name", path.display()))?.to_string_lossy();
        let part = (!in_place).then(|| path.with_file_name(format!(".{name}.part")));
        let opened = part.as_ref().unwrap_or(&path);
        let file = options.open(opened).with_context(|| format!("cannot write `{}`", opened.display()))?;
        Ok(Self { file, part, path, done: false })
    }

    /// The file to write.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The file to write.
    pub fn file_mut(&mut self) -> &mut File {
        &mut self.file
    }

    /// Renames the finished file to its final name.
    pub fn commit(mut self) -> Result<()> {
        if let Some(part) = &self.part {
            fs::rename(part, &self.path).with_context(|| format!("cannot rename to `{}`", self.path.display()))?;
        }
        self.done = true;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // A failure here is ignored: the error that led here is reported.
        let _ = match &self.part {
            Some(part) => fs::remove_file(part),
            None => self.file.set_len(0),
        };
    }
}

/// Whether `path` itself is a mount point.
pub fn is_mount_point(path: &Path) -> bool {
    fs::read("/proc/self/mountinfo").is_ok_and(|table| has_mount(&table, path))
}

/// Fields are separated by blanks; the fifth is the mount point, with blanks escaped in octal (proc_pid_mountinfo(5)).
fn has_mount(table: &[u8], path: &Path) -> bool {
    let mut wanted = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => wanted.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            _ => wanted.push(*byte),
        }
    }
    table.split(|byte| *byte == b'\n').any(|line| line.split(|byte| *byte == b' ').nth(4) == Some(&wanted))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write as _;

    #[test]
    fn mounts_are_found_by_their_whole_path() {
        let table = b"1 0 0:1 / / rw - overlay x rw\n2 1 8:1 /host/a\\040b /in\\040put.img rw - ext4 x rw\n";
        assert!(has_mount(table, Path::new("/")) && has_mount(table, Path::new("/in put.img")));
        assert!(!has_mount(table, Path::new("/in")) && !has_mount(table, Path::new("/host/a b")));
    }

    #[test]
    fn a_failure_leaves_what_was_there_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.img");
        fs::write(&path, "old").unwrap();
        let mut output = Output::open(&path).unwrap();
        output.file_mut().write_all(b"half").unwrap();
        drop(output);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let mut output = Output::open(&path).unwrap();
        output.file_mut().write_all(b"whole").unwrap();
        output.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
