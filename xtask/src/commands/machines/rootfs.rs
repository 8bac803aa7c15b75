//! `run-rootfs` and `run-grub`: boot a part of an image alone; `alone` does it where GRUB is inside rootfs.img. On a tree of lf-edge/eve GRUB
//! is on a volume of its own with a copy of the build's GRUB: the build's files must not change, because they go into images.

use super::{
    alone,
    machine::{self, Options, Place, bus, setup},
    require,
};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use diskimage::eve::Kind;
use plan::Goal;
use std::{fs, path::Path};
use vm::{Disk, Setup, as_make::Disks};

/// Settings that make GRUB read the settings of the root file system, the second disk; the first one has the device tree.
const SETTINGS: &str = "set devicetree=\"(hd0,msdos1)/eve.dtb\"\n\
                        set rootfs_root=/dev/vdb\n\
                        set root=hd1\n\
                        export rootfs_root\n\
                        export devicetree\n\
                        configfile /EFI/BOOT/grub.cfg\n";

/// `run-rootfs`.
pub fn run_rootfs(ctx: &Ctx, options: Options) -> Result<()> {
    if !ctx.capabilities().machines_are_as_make_had_them() {
        return alone::run(ctx, &options, "rootfs", &[Kind::Efi, Kind::Conf, Kind::Imga]);
    }
    let place = Place::find(ctx)?;
    let image = place.build.part("rootfs.img");
    require(ctx, &image, "rootfs")?;
    let (volume, bus) = (place.build.run().join("rootfs"), bus(ctx, &options));
    let disks = vec![Disk::image(image, "raw", bus), Disk::folder(&volume, "CONFIG", bus)];
    let setup = setup(ctx, &options, &place, disks, Disks::LastNamed)?;
    start_with(ctx, &options, &place, setup, &volume, Some(SETTINGS))
}

/// `run-grub`.
pub fn run_grub(ctx: &Ctx, options: Options) -> Result<()> {
    if !ctx.capabilities().machines_are_as_make_had_them() {
        return alone::run(ctx, &options, "grub", &[Kind::Efi]);
    }
    let place = Place::find(ctx)?;
    let volume = place.build.run().join("grub");
    let disks = vec![Disk::folder(&volume, "EVE", bus(ctx, &options))];
    let setup = setup(ctx, &options, &place, disks, Disks::LastNamedFormatFirst)?;
    start_with(ctx, &options, &place, setup, &volume, None)
}

/// Runs a machine whose disk is the folder `volume`: a new copy of GRUB, with `settings` as its grub.cfg.
fn start_with(ctx: &Ctx, options: &Options, place: &Place, setup: Setup, volume: &Path, settings: Option<&str>) -> Result<()> {
    if ctx.globals.dry_run {
        return machine::dry_run(ctx, &setup, &[]);
    }
    let efi = place.build.part("EFI");
    if !efi.is_dir() {
        super::super::build::build(ctx, &Goal::Parts(vec!["EFI"]))?;
    }
    machine::ensure_tools(ctx, &setup, &[])?;
    let locks = machine::claim(&setup, place, Some(volume), false)?;
    fill(volume, &efi, settings)?;
    machine::boot(ctx, options, setup, locks)
}

fn fill(volume: &Path, efi: &Path, settings: Option<&str>) -> Result<()> {
    if volume.exists() {
        fs::remove_dir_all(volume).with_context(|| format!("cannot remove `{}`", volume.display()))?;
    }
    for entry in walkdir::WalkDir::new(efi).follow_links(true).sort_by_file_name() {
        let entry = entry.with_context(|| format!("cannot read `{}`", efi.display()))?;
        let path = volume.join("EFI").join(entry.path().strip_prefix(efi)?);
        let done = if entry.file_type().is_dir() {
            fs::create_dir_all(&path)
        } else if path.ends_with("EFI/BOOT/grub.cfg") {
            Ok(())
        } else {
            fs::copy(entry.path(), &path).map(drop)
        };
        done.with_context(|| format!("cannot make `{}`", path.display()))?;
    }
    let Some(settings) = settings else { return Ok(()) };
    let path = volume.join("EFI/BOOT/grub.cfg");
    fs::write(&path, settings).with_context(|| format!("cannot write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_builds_grub_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (efi, volume) = (dir.path().join("EFI"), dir.path().join("run/rootfs"));
        fs::create_dir_all(efi.join("BOOT")).unwrap();
        fs::write(efi.join("BOOT/grub.cfg"), "the build's").unwrap();
        fs::write(efi.join("BOOT/BOOTX64.EFI"), "grub").unwrap();
        fill(&volume, &efi, Some("mine")).unwrap();
        assert_eq!(fs::read_to_string(volume.join("EFI/BOOT/grub.cfg")).unwrap(), "mine");
        fill(&volume, &efi, None).unwrap();
        assert!(!volume.join("EFI/BOOT/grub.cfg").exists() && volume.join("EFI/BOOT/BOOTX64.EFI").is_file());
        assert_eq!(fs::read_to_string(efi.join("BOOT/grub.cfg")).unwrap(), "the build's");
    }
}
