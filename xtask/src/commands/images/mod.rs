//! The arguments of the old helper scripts that make or read images. Images are made by the same engine steps as in a build; the crate
//! `helpers` reads them.

mod asked;
mod config;
mod devices;
mod disk;
mod installer;
mod machine_disks;
mod rootfs;
mod stick;

use super::{Run, Verb, anywhere, verb};
use anyhow::Result;
use common::error::usage;
use std::path::{Path, PathBuf};

/// The verbs of this family.
pub const VERBS: &[Verb] = &[
    verb("makerootfs", "make rootfs.tar from a yml, or rootfs.img from a yml or a tar", &Run(rootfs::run)),
    verb("makeflash", "make a disk from the parts in a folder", &Run(disk::make_flash)),
    verb(
        "makeverification",
        "make a disk that installs EVE and checks the machine, from the parts in a folder",
        &Run(disk::make_verification),
    ),
    verb("makeconfig", "make config.img from files", &Run(config::run)),
    verb("makeiso", "make an ISO from the parts in a folder", &Run(installer::make_iso)),
    verb("makenet", "make a tar for a netboot from the parts in a folder", &Run(installer::make_net)),
    verb("makeusbconf", "make a USB stick for a device's port configuration or its dumps", &Run(stick::run)),
    verb("parallels-disk", "write DiskDescriptor.xml into a Parallels bundle", &Run(machine_disks::describe_for_parallels)),
    verb("extract-persist", "save /persist of a disk as an archive, without mounting it", &Run(machine_disks::extract_persist)),
    verb(
        "extract-verification-info",
        "print and save the summaries on the disk of a verification",
        &Run(machine_disks::extract_verification_info),
    ),
    verb(
        "eve-gen-single-use-installer",
        "make an installer for one device from a published lfedge/eve image",
        &Run(devices::make_single_use_installer),
    ),
    anywhere("fake-zboot", "print IMGA, the answer of zboot on a machine that runs from it", &Run(devices::fake_zboot)),
    verb("adam", "read or set a device's configuration in adam, a controller for tests", &Run(devices::ask_adam)),
];

/// The argument that was given; else an error with `help`, the verb's usage with an example on one line.
fn required<T>(given: Option<T>, help: &str) -> Result<T> {
    given.ok_or_else(|| usage(format!("usage: {help}")))
}

/// The folder `path` with its links resolved, because docker mounts it by this name; fails if it does not exist.
fn folder(path: &Path, help: &str) -> Result<PathBuf> {
    let found = std::fs::canonicalize(path).ok().filter(|path| path.is_dir());
    found.ok_or_else(|| usage(format!("`{}` is no folder\nhint: usage: {help}", path.display())))
}
