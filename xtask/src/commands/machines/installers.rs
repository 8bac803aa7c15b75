//! `run-installer-*`, `run-verification-raw`: an installer with an empty disk. `run-target`: that disk afterwards.

use super::{
    super::Run,
    machine::{self, Options, Place, bus, qemu_format, setup, start},
    overlay, require,
};
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{Cmd, Tool, qemu_img::QemuImg};
use common::artifact::Pending;
use filetree::{Content, Kind};
use plan::{DiskKind, Goal};
use std::{fs, io::Read as _, os::unix::ffi::OsStrExt as _, path::Path, sync::Arc};
use vm::{Disk, Netboot, as_make::Disks};

/// The installer's file of the network.
const IPXE: &str = "ipxe.efi";

/// `run-target`: boots the installed system.
#[derive(clap::Args)]
pub struct RunTarget {
    #[command(flatten)]
    machine: Options,
}

impl Run for RunTarget {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let place = Place::find(ctx)?;
        require(ctx, &place.target(), "run-installer-raw")?;
        let format = qemu_format(ctx)?.to_string();
        let disk = Disk::image(place.target(), &format, bus(ctx, &self.machine));
        let setup = setup(ctx, &self.machine, &place, vec![disk], Disks::Last)?;
        if !ctx.globals.dry_run {
            machine::ensure_tools(ctx, &setup, &[])?;
            overlay::ask_for_login(ctx, &place, &place.target(), &format);
        }
        start(ctx, &self.machine, setup, vec![])
    }
}

/// `run-installer-raw`: installs from the disk.
#[derive(clap::Args)]
pub struct RunInstallerRaw {
    #[command(flatten)]
    machine: Options,
}

impl Run for RunInstallerRaw {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let place = Place::find(ctx)?;
        let image = place.build.disk(DiskKind::Installer);
        require(ctx, &image, "installer-raw")?;
        let medium = Disk::image(image, "raw", bus(ctx, &self.machine));
        install(ctx, &self.machine, &place, Some(medium), None)
    }
}

/// `run-verification-raw`: installs and checks.
#[derive(clap::Args)]
pub struct RunVerificationRaw {
    #[command(flatten)]
    machine: Options,
}

impl Run for RunVerificationRaw {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let place = Place::find(ctx)?;
        let image = place.current.disk(DiskKind::Verification);
        require(ctx, &image, "verification-raw")?;
        let medium = Disk::image(image, "raw", bus(ctx, &self.machine));
        install(ctx, &self.machine, &place, Some(medium), None)
    }
}

/// `run-installer-iso`: installs from the CD.
#[derive(clap::Args)]
pub struct RunInstallerIso {
    #[command(flatten)]
    machine: Options,
}

impl Run for RunInstallerIso {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let place = Place::find(ctx)?;
        let image = place.build.installer_iso();
        require(ctx, &image, "installer-iso")?;
        install(ctx, &self.machine, &place, Some(Disk::cd(image)), None)
    }
}

/// `run-installer-net`: installs over the network.
#[derive(clap::Args)]
pub struct RunInstallerNet {
    #[command(flatten)]
    machine: Options,
}

impl Run for RunInstallerNet {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let place = Place::find(ctx)?;
        let image = place.build.installer_net();
        require(ctx, &image, "installer-net")?;
        let folder = place.build.parts(DiskKind::Installer);
        if !ctx.globals.dry_run {
            if ctx.capabilities().machines_are_as_make_had_them() && !folder.join(IPXE).is_file() {
                super::super::build::build(ctx, &Goal::Parts(vec![IPXE]))?;
            }
            unpack(&image, &folder)?;
        }
        require(ctx, &folder.join(IPXE), "installer-net")?;
        install(ctx, &self.machine, &place, None, Some(Netboot { folder, file: IPXE.to_owned() }))
    }
}

fn install(ctx: &Ctx, options: &Options, place: &Place, medium: Option<Disk>, netboot: Option<Netboot>) -> Result<()> {
    let format = qemu_format(ctx)?.to_string();
    let target = Disk::image(place.target(), &format, bus(ctx, options));
    let create: Cmd = QemuImg::create_command(&ctx.tools, &format, &place.target(), ctx.knobs.image.media_size);
    // The empty disk boots nothing, so the firmware goes on to the installer; after it, the disk comes first.
    let disks = std::iter::once(target).chain(medium).collect();
    let mut setup = setup(ctx, options, place, disks, Disks::First)?;
    setup.netboot = netboot;
    if ctx.globals.dry_run {
        return start(ctx, options, setup, vec![create]);
    }
    machine::ensure_tools(ctx, &setup, &[Tool::QemuImg])?;
    // The disk is made before the machine looks whether it is there.
    super::run_all(vec![create])?;
    machine::boot(ctx, options, setup)
}

/// Puts the files of the tar `image` into `folder`. Those that are there already are not touched: they are artifacts.
fn unpack(image: &Path, folder: &Path) -> Result<()> {
    let file = fs::File::open(image).with_context(|| format!("cannot open `{}`", image.display()))?;
    let tree = filetree::entries_to_tree(filetree::read_tar_file(Arc::new(file))?)
        .with_context(|| format!("`{}` is no tar of an installer", image.display()))?;
    for (name, node) in tree.root.children().into_iter().flatten() {
        let Kind::File { content, .. } = &node.kind else {
            bail!("`{}` holds `{}`, which is no file", image.display(), String::from_utf8_lossy(name));
        };
        let path = folder.join(std::ffi::OsStr::from_bytes(name));
        if is_same(&path, content)? {
            continue;
        }
        let pending = Pending::new(&path)?;
        std::io::copy(&mut content.open()?, &mut pending.create()?).with_context(|| format!("cannot write `{}`", path.display()))?;
        pending.commit()?;
    }
    Ok(())
}

/// Whether the file at `path` holds `content`.
fn is_same(path: &Path, content: &Content) -> Result<bool> {
    let Ok(file) = fs::File::open(path) else { return Ok(false) };
    if !file.metadata()?.is_file() || file.metadata()?.len() != content.len() {
        return Ok(false);
    }
    let (mut here, mut there) = (std::io::BufReader::new(file), content.open()?);
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let count = there.read(&mut right)?;
        if count == 0 {
            return Ok(true);
        }
        here.read_exact(&mut left[..count])?;
        if left[..count] != right[..count] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use filetree::{Node, Tree};

    #[test]
    fn what_an_installer_was_packed_from_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = Tree::new();
        tree.insert("kernel", Node::file(0o644, 0, Content::from("kernel"))).unwrap();
        tree.insert("initrd.bits", Node::file(0o644, 0, Content::from("bits"))).unwrap();
        let tar = dir.path().join("installer.net");
        fs::write(&tar, filetree::write_tar(&tree, Vec::new()).unwrap()).unwrap();
        let folder = dir.path().join("installer");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("kernel"), "kernel").unwrap();
        fs::write(folder.join("initrd.bits"), "old!").unwrap();
        let before = fs::metadata(folder.join("kernel")).unwrap().modified().unwrap();
        unpack(&tar, &folder).unwrap();
        assert_eq!(fs::metadata(folder.join("kernel")).unwrap().modified().unwrap(), before);
        assert_eq!(fs::read_to_string(folder.join("initrd.bits")).unwrap(), "bits");
        fs::write(&tar, "no tar").unwrap();
        assert!(unpack(&tar, &folder).is_err());
    }
}
