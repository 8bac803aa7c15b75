//! A tree with one package from nothing: enough for `live-raw`, in less than a second and without a download.

use super::init;
use std::{fs, path::Path};

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
