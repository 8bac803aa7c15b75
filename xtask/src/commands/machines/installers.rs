//! `run-installer-*` and `run-verification-raw` boot an installer together with an empty disk. `run-target` boots that disk afterwards.

use super::{
    machine::{self, Options, Place, bus, qemu_format, setup},
    overlay, require,
};
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{Cmd, Tool, qemu_img::QemuImg};
use common::artifact::Pending;
use filetree::{Content, Kind};
use plan::{DiskKind, Goal};
use std::{fs, io::Read as _, os::unix::ffi::OsStrExt as _, path::Path};
use vm::{Disk, Netboot, as_make::Disks};

/// The file that a netboot of the installer loads first.
const IPXE: &str = "ipxe.efi";

/// `run-target`.
pub fn run_target(ctx: &Ctx, options: Options) -> Result<()> {
    let place = Place::find(ctx)?;
    require(ctx, &place.target(), "run-installer-raw")?;
    let format = qemu_format(ctx)?.to_string();
    let disk = Disk::image(place.target(), &format, bus(ctx, &options));
    let setup = setup(ctx, &options, &place, vec![disk], Disks::Last)?;
    if ctx.globals.dry_run {
        return machine::dry_run(ctx, &setup, &[]);
    }
    machine::ensure_tools(ctx, &setup, &[])?;
    let locks = machine::claim(&setup, &place, Some(&place.target()), false)?;
    overlay::ask_for_login(ctx, &place, &place.target(), &format);
    machine::boot(ctx, &options, setup, locks)
}

/// `run-installer-raw`.
pub fn install_from_raw(ctx: &Ctx, options: Options) -> Result<()> {
    let place = Place::find(ctx)?;
    let disk = Disk::image(place.build.disk(DiskKind::Installer), "raw", bus(ctx, &options));
    install_from(ctx, &options, &place, disk, "installer-raw")
}

/// `run-verification-raw`.
pub fn verify(ctx: &Ctx, options: Options) -> Result<()> {
    let place = Place::find(ctx)?;
    let disk = Disk::image(place.current.disk(DiskKind::Verification), "raw", bus(ctx, &options));
    install_from(ctx, &options, &place, disk, "verification-raw")
}

/// `run-installer-iso`.
pub fn install_from_iso(ctx: &Ctx, options: Options) -> Result<()> {
    let place = Place::find(ctx)?;
    let cd = Disk::cd(place.build.installer_iso());
    install_from(ctx, &options, &place, cd, "installer-iso")
}

/// `run-installer-net`.
pub fn install_from_net(ctx: &Ctx, options: Options) -> Result<()> {
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
    install(ctx, &options, &place, None, Some(Netboot { folder, file: IPXE.to_owned() }))
}

/// Installs from the disk or CD `medium`, which the verb `target` builds.
fn install_from(ctx: &Ctx, options: &Options, place: &Place, medium: Disk, target: &str) -> Result<()> {
    require(ctx, &medium.path, target)?;
    install(ctx, options, place, Some(medium), None)
}

fn install(ctx: &Ctx, options: &Options, place: &Place, medium: Option<Disk>, netboot: Option<Netboot>) -> Result<()> {
    let format = qemu_format(ctx)?.to_string();
    let target = Disk::image(place.target(), &format, bus(ctx, options));
    let create: Cmd = QemuImg::create_command(&ctx.tools, &format, &place.target(), ctx.knobs.image.media_size);
    // The target is first: while it is empty, the firmware boots the installer; after the installation it boots the target.
    let disks = std::iter::once(target).chain(medium).collect();
    let mut setup = setup(ctx, options, place, disks, Disks::First)?;
    setup.netboot = netboot;
    if ctx.globals.dry_run {
        return machine::dry_run(ctx, &setup, &[create]);
    }
    machine::ensure_tools(ctx, &setup, &[Tool::QemuImg])?;
    let locks = machine::claim(&setup, place, Some(&place.target()), false)?;
    super::run_all(vec![create])?;
    machine::boot(ctx, options, setup, locks)
}

/// Unpacks the tar `image` into `folder`. Does not touch files that are already the same: they are artifacts.
fn unpack(image: &Path, folder: &Path) -> Result<()> {
    let tree = native::files::read_tree(image).with_context(|| format!("`{}` is no tar of an installer", image.display()))?;
    for (name, node) in tree.root.children().into_iter().flatten() {
        let Kind::File { content, .. } = &node.kind else {
            bail!("`{}` contains `{}`, which is not a regular file", image.display(), String::from_utf8_lossy(name));
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

/// Whether the file at `path` has this content.
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
    fn unpacking_leaves_equal_files_alone() {
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
