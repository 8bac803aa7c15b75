//! A person at a machine of their own: an ordinary user with an empty HOME, a clone, and what this machine has downloaded and built.

use super::{clone_tree, scratch};
use child::fake::executable;
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown},
    path::{Path, PathBuf},
    process::Command,
};

/// The user nobody, who may do nothing that others may not.
const NOBODY: u32 = 65534;

/// The person. Where root runs the tests, every command is another user's; where an ordinary user runs them, it is theirs.
pub struct Person {
    folder: tempfile::TempDir,
    changes_user: bool,
}

impl Person {
    /// With a clone of this repository.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("eve-person-").tempdir_in(place()).unwrap();
        let person = Self { changes_user: fs::metadata("/proc/self").unwrap().uid() == 0, folder };
        fs::set_permissions(person.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        clone_tree(&person.tree());
        for name in ["home", "bin"] {
            fs::create_dir(person.path(name)).unwrap();
        }
        // Another user cannot look into the folder of this repository. `cargo xtask` without compiling: the program under test.
        let program = person.path("bin/xtask");
        fs::copy(env!("CARGO_BIN_EXE_xtask"), &program).unwrap();
        executable(&person.path("bin/cargo"), format!("#!/bin/sh\nshift\nexec '{}' \"$@\"\n", program.display()));
        person
    }

    /// The clone.
    pub fn tree(&self) -> PathBuf {
        self.path("tree")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Gives the person the images and downloads of the caches `images` and `cache`. Their artifacts stay where they are.
    pub fn take_caches(&self, images: &Path, cache: &Path) {
        let downloads = |from: &Path, name: &str| (from.join(name), self.path("cache/eve-xtask").join(name));
        let eve = cache.join("eve-xtask");
        for (from, to) in [(images.to_owned(), self.path("images")), downloads(&eve, "debs"), downloads(&eve, "checkouts")] {
            if from.exists() {
                link_folder(&from, &to);
            }
        }
        if self.changes_user {
            for entry in walkdir::WalkDir::new(self.folder.path()).into_iter().map(Result::unwrap) {
                // Not a file that is in the caches, too.
                if entry.file_type().is_dir() || entry.metadata().unwrap().nlink() == 1 {
                    lchown(entry.path(), Some(NOBODY), Some(NOBODY)).unwrap();
                }
            }
        }
    }

    /// A shell in the clone that runs `script` and stops at the first command that fails, with an environment that has nothing of the person
    /// who runs the tests but the toolchain's folders.
    pub fn shell(&self, script: &str) -> Command {
        let mut command = Command::new(if self.changes_user { "setpriv" } else { "sh" });
        if self.changes_user {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh"]);
        }
        command.args(["-ec", script]).current_dir(self.tree()).env_clear();
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap_or_default());
        command.env("PATH", path).env("HOME", self.path("home"));
        command.env("XDG_CACHE_HOME", self.path("cache")).env("LINUXKIT_CACHE", self.path("images"));
        for name in ["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "DEBIAN_MIRROR", "http_proxy", "no_proxy"] {
            if let Ok(value) = std::env::var(name) {
                command.env(name, value);
            }
        }
        command
    }
}

/// Where a person's folder is: others may enter that place, and it is on the disk of the tests, where links to the caches cost no room.
fn place() -> PathBuf {
    let is_open = |place: &Path| place.ancestors().all(|folder| fs::metadata(folder).is_ok_and(|found| found.mode() & 0o001 != 0));
    let disk = |place: &Path| fs::metadata(place).map(|found| found.dev()).ok();
    let is_near = |place: &Path| disk(place) == disk(&scratch());
    let places = [std::env::temp_dir(), scratch(), "/var/tmp".into()];
    places.iter().find(|place| is_open(place) && is_near(place)).unwrap_or(&places[2]).clone()
}

/// Makes a folder like `from`: large files, which nobody changes in place, are links, so that it costs no room.
fn link_folder(from: &Path, to: &Path) {
    const LARGE: u64 = 1 << 20;
    // A file that another build has just put there or taken away may be missing.
    for entry in walkdir::WalkDir::new(from).into_iter().filter_map(Result::ok) {
        let to = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(&to).unwrap();
            continue;
        }
        let Ok(metadata) = entry.metadata() else { continue };
        let is_linked = metadata.len() > LARGE && metadata.mode() & 0o004 != 0 && fs::hard_link(entry.path(), &to).is_ok();
        if !is_linked && let Err(error) = fs::copy(entry.path(), &to) {
            assert!(!entry.path().exists(), "{}: {error}", entry.path().display());
        }
    }
}
