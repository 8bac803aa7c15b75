//! `run`: boots the last live image in QEMU. The guest writes to an overlay beside the image, which keeps /persist for the next run and
//! leaves the built image unchanged. In a tree of lf-edge/eve the guest writes to the image itself, as with its Makefile.

use super::{
    machine::{self, Options, Place, bus, qemu_format, setup, start},
    overlay, require,
};
use anyhow::Result;
use checkout::context::Ctx;
use child::{Output, Tool, qemu_img::QemuImg};
use common::error::usage;
use std::path::{Path, PathBuf};
use vm::{Disk, as_make::Disks};

/// The disk and the machine.
#[derive(clap::Args)]
pub struct RunLive {
    #[command(flatten)]
    machine: Options,
    /// what to boot; live is the only choice
    #[arg(value_name = "WHAT", value_parser = ["live"], default_value = "live")]
    what: String,
    /// boot this disk and write to it; its name must end in .qcow2 or .vdi unless it is raw
    #[arg(long, value_name = "FILE")]
    disk: Option<PathBuf>,
    /// delete what earlier runs wrote to the disk and to the TPM
    #[arg(long, conflicts_with = "disk")]
    fresh: bool,
}

/// `run`.
pub fn run(ctx: &Ctx, RunLive { machine: options, what, disk, fresh }: RunLive) -> Result<()> {
    debug_assert_eq!(what, "live");
    let is_as_make = ctx.capabilities().machines_are_as_make_had_them();
    if fresh && is_as_make {
        return Err(usage(
            "--fresh: the machine of this tree writes to the image itself\nhint: delete the image, and cargo xtask live makes it again",
        ));
    }
    let (place, options) = (Place::find(ctx)?, &options);
    let (image, format, is_given) = match disk {
        Some(disk) => {
            let disk = std::path::absolute(disk)?;
            let format = format_by_name(&disk).to_owned();
            (disk, format, true)
        }
        None => {
            let format = qemu_format(ctx)?;
            let image = place.current.live(format);
            require(ctx, &image, format.row().verb)?;
            (image, format.to_string(), false)
        }
    };
    let disk = Disk::image(&image, &format, bus(ctx, options));
    let mut setup = setup(ctx, options, &place, vec![disk], Disks::LastNamed)?;
    if ctx.globals.dry_run || is_given {
        return start(ctx, options, &place, setup);
    }
    if is_as_make {
        machine::ensure_tools(ctx, &setup, &[])?;
        let locks = machine::claim(&setup, &place, Some(&image), false)?;
        overlay::ask_for_login(ctx, &place, &image, &format);
        return machine::boot(ctx, options, setup, locks);
    }
    machine::ensure_tools(ctx, &setup, &[Tool::QemuImg])?;
    let locks = machine::claim(&setup, &place, Some(&overlay::path(&place, &format)), fresh)?;
    let tool = QemuImg::new(&ctx.tools, Output::default().with_log(place.log("qemu-img")))?;
    setup.disks[0].path = overlay::ensure(ctx, &place, &image, &format, &tool, fresh)?;
    "qcow2".clone_into(&mut setup.disks[0].format);
    machine::boot(ctx, options, setup, locks)
}

/// The format of a disk by its name. Its content does not tell: a raw disk may begin like any format.
fn format_by_name(disk: &Path) -> &'static str {
    match disk.extension().and_then(|extension| extension.to_str()) {
        Some("qcow2") => "qcow2",
        Some("vdi") => "vdi",
        _ => "raw",
    }
}
