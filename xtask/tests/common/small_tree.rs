//! A tree with one package from nothing: enough for `live-raw`, in less than a second and without a download.

use super::{Xtask, init};
use std::{fs, path::Path};
use tempfile::TempDir;

const PROFILE: &str = "[tree]\nname = \"small\"\nengine = \"native\"\n[packages]\nfolder = \"pkg\"\n[templates]\nrootfs = \"images/rootfs.yml.in\"\n[rootfs]\nlimit = 262144000\n[live]\nparts = [\"efi\", \"conf\", \"imga\"]\n[firmware]\npackage = \"base\"\nfiles = [\"CODE.fd\"]\n";

/// Writes the tree into `folder` and commits it. git ignores `/home`, for caches of the test's own.
pub fn small_tree(folder: &Path) {
    // The end of a tar is a tar of nothing.
    let nothing = "\0".repeat(1024);
    for (name, text) in [
        ("xtask.toml", PROFILE),
        ("images/rootfs.yml.in", "kernel:\n  image: BASE_TAG\n  cmdline: \"console=ttyS0\"\ninit:\n  - BASE_TAG\n"),
        ("pkg/base/build.yml", "org: lfedge\nimage: eve-base\n"),
        ("pkg/base/Dockerfile", "FROM scratch\nCOPY files/ /\n"),
        ("pkg/base/files/kernel", "not a kernel"),
        ("pkg/base/files/kernel.tar", &nothing),
        ("pkg/base/files/CODE.fd", "not firmware"),
        ("pkg/base/files/EFI/BOOT/BOOTX64.EFI", "not GRUB"),
        ("pkg/base/files/EFI/BOOT/grub.cfg", "set linuxkit_cmdline=\n"),
        ("pkg/base/files/etc/base", "base"),
        ("conf/server", "example.org\n"),
        (".gitignore", "/dist\n/home\n"),
    ] {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    init(folder, "main", "small");
}

/// Such a tree in a folder of its own, and the caches of the person who builds it.
pub struct SmallTree {
    folder: TempDir,
}

impl SmallTree {
    pub fn new() -> Self {
        let tree = Self { folder: tempfile::tempdir().unwrap() };
        small_tree(tree.root());
        tree
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn xtask(&self) -> Xtask {
        let home = self.root().join("home");
        let xtask = Xtask::new(self.root()).env("HOME", &home).env("LINUXKIT_CACHE", home.join("images"));
        xtask.env("XDG_CACHE_HOME", home.join("cache")).env("ZARCH", "amd64")
    }

    /// Runs words that must fail; the exit code, and the error without the tree's own path.
    pub fn error(&self, words: &[&str]) -> (i32, String) {
        let (code, text) = self.xtask().args(words).fails();
        (code, self.error_in(&text))
    }

    /// The error in what the program said, without the tree's own path.
    pub fn error_in(&self, said: &str) -> String {
        let error = said.lines().skip_while(|line| !line.starts_with("error:")).collect::<Vec<_>>().join("\n");
        error.replace(self.root().to_str().unwrap(), "ROOT")
    }
    /// Files of dist/ with a final name, without books and logs.
    pub fn artifacts(&self) -> Vec<String> {
        let mut names: Vec<String> = walkdir::WalkDir::new(self.root().join("dist"))
            .into_iter()
            .filter_map(Result::ok)
            .filter(|entry| !entry.file_type().is_dir())
            .map(|entry| entry.path().strip_prefix(self.root().join("dist")).unwrap().display().to_string())
            .filter(|name| !name.contains("/logs/") && !name.contains("/.stamps/") && name != ".lock")
            .collect();
        names.sort();
        names
    }
}
