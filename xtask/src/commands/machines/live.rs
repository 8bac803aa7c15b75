//! `run`: boots the last live image in QEMU. The guest writes to an overlay beside the image, which keeps /persist for the next run and
//! leaves the built image unchanged. In a tree of lf-edge/eve the guest writes to the image itself, as with its Makefile.

use super::{
    background::{self, Name},
    disk_format::format_of,
    machine::{self, Options, Place, Role, USUAL, bus, name_option, qemu_format, setup, start},
    overlay, require, secure_boot,
};
use crate::commands::release::ensure_key;
use anyhow::Result;
use checkout::context::Ctx;
use child::{Output, Tool, cmd::quote, qemu_img::QemuImg};
use common::error::usage;
use knobs::{ImageFormat, Origin, Source};
use plan::Layout;
use std::{
    fs,
    path::{Path, PathBuf},
};
use vm::{Disk, Machines, Record, as_make::Disks};

/// The disk and the machine.
#[derive(clap::Args)]
pub struct RunLive {
    #[command(flatten)]
    machine: Options,
    /// what to boot; live is the only choice
    #[arg(value_name = "WHAT", default_value = "live")]
    what: String,
    /// start only what the keys of SIGN_KEYS have signed: firmware with these keys and Secure Boot on
    #[arg(long)]
    secure_boot: bool,
    /// boot this disk and write to it; its bytes tell the format
    #[arg(long, value_name = "FILE")]
    disk: Option<PathBuf>,
    /// delete what earlier runs wrote to the disk and to the TPM
    #[arg(long, conflicts_with = "disk")]
    fresh: bool,
    /// the machine's name for `ssh`, `stop` and others, with a disk and a TPM of its own [default: live]
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// return when the machine has started, or has printed the text of --until; it runs until `stop`
    #[arg(long)]
    background: bool,
    /// this process keeps a machine that was started in the background
    #[arg(long, hide = true)]
    keep: bool,
}

/// `run`.
pub fn run(ctx: &Ctx, mut args: RunLive) -> Result<()> {
    if args.what != "live" {
        let (what, place) = (&args.what, &ctx.globals.place);
        let name = Name::plain(what);
        return Err(usage(format!(
            "run {what}: `run` boots the live image\nhint: cargo xtask{place} run --name {name} gives the machine this name"
        )));
    }
    args.machine.secure_boot = args.secure_boot;
    if ctx.capabilities().machines_are_as_make_had_them() {
        return run_as_make(ctx, &args);
    }
    let options = &args.machine;
    let mut place = Place::find(ctx)?;
    let (image, format, is_given) = find_disk(ctx, &mut place, args.disk.as_deref())?;
    place.machine = args.name.as_ref().map_or_else(|| usual_name(ctx, args.disk.as_deref()), ToString::to_string);
    let disk = Disk::image(&image, &format, bus(ctx, options));
    let mut setup = setup(ctx, options, &place, vec![disk], Disks::LastNamed)?;
    if ctx.globals.dry_run {
        return start(ctx, options, &place, setup);
    }
    if options.secure_boot {
        secure_boot::check_disk(ctx, &image)?;
    }
    let machines = Machines::at(ctx.dist().machines());
    if args.background && !args.keep {
        return background::start(ctx, &machines, &place.machine, options);
    }
    if (args.name.is_some() || ctx.knobs.source("SSH_PORT") == Source::Default)
        && let Some(wanted) = setup.ssh_port
    {
        let port = background::free_port(wanted);
        if port != wanted {
            eprintln!("note: port {wanted} of this machine is in use; ssh is at port {port}");
        }
        setup.ssh_port = Some(port);
    }
    machine::ensure_tools(ctx, &setup, if is_given { &[] } else { &[Tool::QemuImg] })?;
    let overlay = (!is_given).then(|| overlay::path(&place, &format));
    let mut locks = machine::claim(&setup, &place, overlay.as_deref(), args.fresh)?;
    locks.push(machines.claim(&place.machine)?);
    if !is_given {
        let key = ensure_key(ctx);
        let tool = QemuImg::new(&ctx.tools, Output::default().with_log(place.log("qemu-img")))?;
        let anew = anew(ctx, options, &place);
        let new = overlay::New { fresh: args.fresh, key: key.as_deref(), anew: &anew };
        setup.disks[0].path = overlay::ensure(ctx, &place, &image, &format, &tool, new)?;
        "qcow2".clone_into(&mut setup.disks[0].format);
    }
    if args.keep {
        setup.serial_log.get_or_insert_with(|| background::console_log(&machines, &place.machine));
    }
    let record = Record {
        name: place.machine.clone(),
        pid: std::process::id(),
        ssh_port: setup.forwarded_port(),
        arch: Some(ctx.knobs.image.arch.to_string()),
        disk: image,
        version: place.build.path().file_name().unwrap_or_default().to_string_lossy().into_owned(),
        console: None,
        console_log: setup.serial_log.clone(),
    };
    machine::boot_as(ctx, options, setup, locks, Role { listed: Some((machines, record)), is_kept: args.keep })
}

/// The command that starts this machine with a new overlay, for a hint. The overlay is that of an image, and these knobs choose the image.
fn anew(ctx: &Ctx, options: &Options, place: &Place) -> String {
    let secure_boot = if options.secure_boot { " --secure-boot" } else { "" };
    let name = name_option(&place.machine);
    let typed = |knob: &&Origin| knob.source == Source::Command && ["ZARCH", "ROOTFS_VERSION", "IMAGE_FORMAT"].contains(&&*knob.name);
    let knobs = ctx.knobs.origins.iter().filter(typed).map(|knob| format!(" {}", quote(format!("{}={}", knob.name, knob.value).as_ref())));
    format!("cargo xtask{} run --fresh{secure_boot}{name}{}", ctx.globals.place, knobs.collect::<String>())
}

/// `run` in a tree of lf-edge/eve.
fn run_as_make(ctx: &Ctx, args: &RunLive) -> Result<()> {
    if args.fresh {
        return Err(usage(
            "--fresh: the machine of this tree writes to the image itself\nhint: delete the image, and cargo xtask live makes it again",
        ));
    }
    if args.background || args.name.is_some() {
        return Err(usage("--background and --name: the machine of this tree is the one of its Makefile, on this terminal"));
    }
    let (options, mut place) = (&args.machine, Place::find(ctx)?);
    let (image, format, is_given) = find_disk(ctx, &mut place, args.disk.as_deref())?;
    let disk = Disk::image(&image, &format, bus(ctx, options));
    let setup = setup(ctx, options, &place, vec![disk], Disks::LastNamed)?;
    if ctx.globals.dry_run || is_given {
        return start(ctx, options, &place, setup);
    }
    machine::ensure_tools(ctx, &setup, &[])?;
    let locks = machine::claim(&setup, &place, Some(&image), false)?;
    overlay::ask_for_login(ctx, &place, &image, &format);
    machine::boot(ctx, options, setup, locks)
}

/// The disk with QEMU's name of its format, and whether the user named it. Without a name it is the last one that was built: that of the
/// last build, or if that made none, the newest of any version, and `place` becomes its folder.
fn find_disk(ctx: &Ctx, place: &mut Place, named: Option<&Path>) -> Result<(PathBuf, String, bool)> {
    if let Some(disk) = named {
        let disk = std::path::absolute(disk)?;
        let format = format_of(&disk, "--disk")?.to_owned();
        return Ok((disk, format, true));
    }
    let format = qemu_format(ctx)?;
    let mut image = place.current.live(format);
    let may_look = ctx.knobs.image.rootfs_version.is_none() && !ctx.capabilities().machines_are_as_make_had_them();
    if !image.exists()
        && may_look
        && let Some(newest) = newest(&ctx.dist().arch(ctx.knobs.image.arch), format)
    {
        image = newest.live(format);
        let name = image.file_name().unwrap_or_default().display();
        eprintln!("note: the last build made no {name}; this one is of {}", newest.path().display());
        (place.current, place.build) = (newest.clone(), newest);
    }
    require(ctx, &image, format.row().verb)?;
    Ok((image, format.to_string(), false))
}

/// The disk that `run` would boot, and the folder of its firmware.
pub fn newest_live(ctx: &Ctx) -> Result<(PathBuf, PathBuf)> {
    let mut place = Place::find(ctx)?;
    let (image, ..) = find_disk(ctx, &mut place, None)?;
    Ok((image, place.current.firmware()))
}

/// The build below `folder` whose live disk is the newest.
fn newest(folder: &Path, format: ImageFormat) -> Option<Layout> {
    let builds = fs::read_dir(folder).ok()?.flatten().filter_map(|entry| {
        let is_link = entry.file_type().ok()?.is_symlink();
        let build = Layout::at(entry.path());
        let made = build.live(format).metadata().and_then(|metadata| metadata.modified()).ok()?;
        (!is_link).then_some((made, build))
    });
    builds.max_by_key(|(made, _)| *made).map(|(_, build)| build)
}

/// The name of a machine that got none: that of its disk if the user named one, with the architecture if it is not this machine's.
fn usual_name(ctx: &Ctx, disk: Option<&Path>) -> String {
    let stem = disk.and_then(Path::file_stem).map(|stem| Name::plain(&stem.to_string_lossy()));
    let arch = ctx.knobs.image.arch;
    match stem {
        Some(name) => name,
        None if arch == ctx.knobs.host_arch => USUAL.to_owned(),
        None => format!("{USUAL}-{arch}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_newest_disk_is_found_in_any_build() {
        let dir = tempfile::tempdir().unwrap();
        assert!(newest(&dir.path().join("none"), ImageFormat::Qcow2).is_none());
        for (age, name) in [(3, "old"), (1, "new"), (2, "other")] {
            let build = dir.path().join(name);
            fs::create_dir(&build).unwrap();
            let file = fs::File::create(build.join("live.qcow2")).unwrap();
            file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(age * 100)).unwrap();
        }
        fs::create_dir(dir.path().join("without")).unwrap();
        std::os::unix::fs::symlink("old", dir.path().join("current")).unwrap();
        assert_eq!(newest(dir.path(), ImageFormat::Qcow2).unwrap().path(), dir.path().join("new"));
        assert!(newest(dir.path(), ImageFormat::Raw).is_none());
    }
}
