//! The old helper scripts that make or read images: their arguments. What makes an image is an action of the plan without the
//! plan around it, so both engines do it with the code that targets run. What reads one is in the crate `helpers`.

mod asked;
mod config;
mod devices;
mod disk;
mod installer;
mod machine_disks;
mod rootfs;
mod stick;

use super::{Verb, anywhere, verb};
use anyhow::Result;
use common::error::usage;
use std::path::{Path, PathBuf};

/// The verbs of this family.
pub const VERBS: &[Verb] = &[
    verb::<rootfs::MakeRootfs>("makerootfs", "make rootfs.tar from a yml, or rootfs.img from a yml or a tar"),
    verb::<disk::MakeFlash>("makeflash", "make a disk from the parts in a folder"),
    verb::<disk::MakeVerification>("makeverification", "make a disk that installs and checks, from the parts in a folder"),
    verb::<config::MakeConfig>("makeconfig", "make config.img from files"),
    verb::<installer::MakeIso>("makeiso", "make an ISO from the parts in a folder"),
    verb::<installer::MakeNet>("makenet", "make a tar for a netboot from the parts in a folder"),
    verb::<stick::MakeUsbConf>("makeusbconf", "make a USB stick for a device's port configuration or its dumps"),
    verb::<machine_disks::ParallelsDisk>("parallels-disk", "write the description of a disk in its Parallels bundle"),
    verb::<machine_disks::ExtractPersist>("extract-persist", "take /persist out of a disk, without mounting it"),
    verb::<machine_disks::ExtractVerificationInfo>(
        "extract-verification-info",
        "print and save the summaries on the disk of a verification",
    ),
    verb::<devices::SingleUseInstaller>(
        "eve-gen-single-use-installer",
        "make an installer for one device from a published lfedge/eve image",
    ),
    anywhere::<devices::FakeZboot>("fake-zboot", "answer as zboot on a machine that runs from IMGA"),
    verb::<devices::Adam>("adam", "talk to an adam that runs together with EVE"),
];

/// The argument that was given; else the error is `help`, the verb's usage with an example on one line.
fn required<T>(given: Option<T>, help: &str) -> Result<T> {
    given.ok_or_else(|| usage(format!("usage: {help}")))
}

/// The folder `path`, which must exist, with its links followed: docker mounts it by this name.
fn folder(path: &Path, help: &str) -> Result<PathBuf> {
    let found = std::fs::canonicalize(path).ok().filter(|path| path.is_dir());
    found.ok_or_else(|| usage(format!("`{}` is no folder\nhint: usage: {help}", path.display())))
}
