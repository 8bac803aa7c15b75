//! `run-installer-*` and `run-verification-raw` boot an installer together with an empty disk. `run-target` boots that disk afterwards.

use super::{
    machine::{self, Place, TargetOptions, bus, qemu_format, setup},
    overlay, require,
};
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{Cmd, Tool, qemu_img::QemuImg};
use common::{Arch, artifact::Pending, error::usage};
use filetree::{Content, Kind, Node};
use plan::{DiskKind, Goal};
use std::{
    fs,
    io::Read as _,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};
use vm::{Disk, DiskBus, NetLoader, Netboot, as_make::Disks};

/// The file that a netboot of lf-edge/eve's installer loads first.
const IPXE: &str = "ipxe.efi";
/// iPXE's script for this tree's installer.
const SCRIPT: &str = "ipxe.efi.cfg";
/// The file that a netboot of this tree's installer loads first.
fn grub(arch: Arch) -> String {
    let name = match arch {
        Arch::Amd64 => "BOOTX64.EFI",
        Arch::Arm64 => "BOOTAA64.EFI",
        Arch::Riscv64 => "BOOTRISCV64.EFI",
    };
    format!("EFI/BOOT/{name}")
}

/// The options of `run-installer-*`.
#[derive(clap::Args, Clone)]
pub struct InstallOptions {
    #[command(flatten)]
    target: TargetOptions,
    /// install from FILE instead of the medium that was built
    #[arg(long, value_name = "FILE")]
    medium: Option<PathBuf>,
    /// keep the target.img of the last run, such as a half-made installation; the firmware boots it if it is whole
    #[arg(long)]
    again: bool,
}

/// The options of `run-installer-net`.
#[derive(clap::Args, Clone)]
pub struct NetOptions {
    #[command(flatten)]
    install: InstallOptions,
    /// boot by iPXE in the network card's ROM, which runs ipxe.efi.cfg, instead of by the firmware and GRUB
    #[arg(long)]
    ipxe: bool,
}

/// `run-target`.
pub fn run_target(ctx: &Ctx, target: TargetOptions) -> Result<()> {
    let place = target.place(ctx)?;
    require(ctx, &place.target(), "run-installer-raw")?;
    let format = qemu_format(ctx)?.to_string();
    let disk = target.target(ctx, &place, &format);
    let disks = std::iter::once(disk).chain(target.more_disks(ctx)?).collect();
    let options = target.options;
    let setup = setup(ctx, &options, &place, disks, Disks::Last)?;
    if ctx.globals.dry_run {
        return machine::dry_run(ctx, &setup, &[]);
    }
    machine::ensure_tools(ctx, &setup, &[])?;
    let locks = machine::claim(&setup, &place, Some(&place.target()), false)?;
    overlay::ask_for_login(ctx, &place, &place.target(), &format);
    machine::boot(ctx, &options, setup, locks)
}

/// `run-installer-raw`.
pub fn install_from_raw(ctx: &Ctx, options: InstallOptions) -> Result<()> {
    let place = options.target.place(ctx)?;
    let disk = Disk::image(options.medium(place.media.disk(DiskKind::Installer))?, "raw", options.bus(ctx));
    install_from(ctx, &options, &place, disk, "installer-raw")
}

/// `run-verification-raw`.
pub fn verify(ctx: &Ctx, options: InstallOptions) -> Result<()> {
    let place = options.target.place(ctx)?;
    let disk = Disk::image(options.medium(place.current.disk(DiskKind::Verification))?, "raw", options.bus(ctx));
    install_from(ctx, &options, &place, disk, "verification-raw")
}

/// `run-installer-iso`.
pub fn install_from_iso(ctx: &Ctx, options: InstallOptions) -> Result<()> {
    let place = options.target.place(ctx)?;
    let cd = Disk::cd(options.medium(place.media.installer_iso())?);
    install_from(ctx, &options, &place, cd, "installer-iso")
}

/// `run-installer-net`.
pub fn install_from_net(ctx: &Ctx, NetOptions { install: options, ipxe }: NetOptions) -> Result<()> {
    let place = options.target.place(ctx)?;
    let image = options.medium(place.media.installer_net())?;
    require(ctx, &image, "installer-net")?;
    if ctx.capabilities().installer_is_own {
        // A folder of its own: boot loaders among the parts would become parts.
        let folder = place.build.run().join("net");
        if !ctx.globals.dry_run {
            unpack(&image, &folder)?;
        }
        let arch = ctx.knobs.image.arch;
        if ipxe && arch != Arch::Amd64 {
            return Err(usage(format!("--ipxe: QEMU's network cards have a ROM for UEFI on amd64 only, not on {arch}")));
        }
        let (file, loader) = if ipxe { (SCRIPT.to_owned(), NetLoader::Ipxe) } else { (grub(arch), NetLoader::Firmware) };
        return install(ctx, &options, &place, None, Some(Netboot { folder, file, loader }));
    }
    if ipxe {
        return Err(usage("--ipxe: the installer of this tree is always started by iPXE, which is one of its files"));
    }
    let own = ctx.profile.machine.netboot.as_ref().map(|name| place.media.path().join(name));
    let is_among_parts = own.is_none();
    let folder = own.unwrap_or_else(|| place.build.parts(DiskKind::Installer));
    if !ctx.globals.dry_run {
        if is_among_parts && ctx.capabilities().machines_are_as_make_had_them() && !folder.join(IPXE).is_file() {
            super::super::build::build(ctx, &Goal::Parts(vec![IPXE]))?;
        }
        unpack(&image, &folder)?;
    }
    require(ctx, &folder.join(IPXE), "installer-net")?;
    install(ctx, &options, &place, None, Some(Netboot { folder, file: IPXE.to_owned(), loader: NetLoader::Firmware }))
}

/// Installs from the disk or CD `medium`, which the verb `target` builds.
fn install_from(ctx: &Ctx, options: &InstallOptions, place: &Place, medium: Disk, target: &str) -> Result<()> {
    require(ctx, &medium.path, target)?;
    install(ctx, options, place, Some(medium), None)
}

fn install(ctx: &Ctx, options: &InstallOptions, place: &Place, medium: Option<Disk>, netboot: Option<Netboot>) -> Result<()> {
    let format = qemu_format(ctx)?.to_string();
    let target = options.target.target(ctx, place, &format);
    if options.again {
        require(ctx, &target.path, "run-installer-raw")?;
    }
    let run = &options.target.options;
    let create: Cmd = QemuImg::create_command(&ctx.tools, &format, &place.target(), ctx.knobs.image.media_size);
    // The target is first: while it is empty, the firmware boots the installer; after the installation it boots the target.
    let disks = std::iter::once(target).chain(medium).chain(options.target.more_disks(ctx)?).collect();
    let mut setup = setup(ctx, run, place, disks, Disks::First)?;
    setup.netboot = netboot;
    let before = if options.again { vec![] } else { vec![create] };
    if ctx.globals.dry_run {
        return machine::dry_run(ctx, &setup, &before);
    }
    machine::ensure_tools(ctx, &setup, &[Tool::QemuImg])?;
    let locks = machine::claim(&setup, place, Some(&place.target()), false)?;
    super::run_all(before)?;
    machine::boot(ctx, run, setup, locks)
}

impl InstallOptions {
    /// The medium: the given one, else `built`.
    fn medium(&self, built: PathBuf) -> Result<PathBuf> {
        self.medium.as_ref().map_or(Ok(built), |given| std::path::absolute(given).context("cannot find the medium"))
    }

    /// How the medium is connected.
    fn bus(&self, ctx: &Ctx) -> DiskBus {
        bus(ctx, &self.target.options)
    }
}

/// Unpacks the tar `image` into `folder`. Does not touch files that are already the same: they are artifacts.
fn unpack(image: &Path, folder: &Path) -> Result<()> {
    let tree = native::files::read_tree(image).with_context(|| format!("`{}` is no tar of an installer", image.display()))?;
    unpack_folder(&tree.root, image, folder)
}

fn unpack_folder(from: &Node, image: &Path, folder: &Path) -> Result<()> {
    for (name, node) in from.children().into_iter().flatten() {
        let path = folder.join(std::ffi::OsStr::from_bytes(name));
        let content = match &node.kind {
            Kind::File { content, .. } => content,
            Kind::Dir(_) => {
                unpack_folder(node, image, &path)?;
                continue;
            }
            _ => bail!("`{}` contains `{}`, which is neither a file nor a folder", image.display(), String::from_utf8_lossy(name)),
        };
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
    use filetree::Tree;

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
        let error = unpack(&tar, &folder).unwrap_err().to_string();
        assert_eq!(error, format!("`{}` is no tar of an installer", tar.display()));
    }
}
