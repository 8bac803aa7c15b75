//! `run`: boots the last live image in QEMU. Here, what the guest writes goes into an image beside it, so that what was built
//! stays as it was built, and the next run finds the guest's /persist again. A tree of lf-edge/eve has the image itself run.

use super::{
    super::Run,
    machine::{self, Options, Place, bus, qemu_format, setup, start},
    overlay, require,
};
use anyhow::Result;
use checkout::context::Ctx;
use child::{Output, Tool, qemu_img::QemuImg};
use std::path::{Path, PathBuf};
use vm::{Disk, as_make::Disks};

/// `run`: the disk, and the machine around it.
#[derive(clap::Args)]
pub struct RunLive {
    #[command(flatten)]
    machine: Options,
    /// what to boot
    #[arg(value_name = "WHAT", value_parser = ["live"], default_value = "live")]
    what: String,
    /// boot this disk, qcow2, vdi or raw by its name, and write to it
    #[arg(long, value_name = "FILE")]
    disk: Option<PathBuf>,
    /// forget what earlier runs wrote to the disk and to the TPM
    #[arg(long)]
    fresh: bool,
}

impl Run for RunLive {
    fn run(self, ctx: &Ctx) -> Result<()> {
        debug_assert_eq!(self.what, "live");
        run_live(ctx, &self)
    }
}

fn run_live(ctx: &Ctx, RunLive { machine: options, disk, fresh, .. }: &RunLive) -> Result<()> {
    let place = Place::find(ctx)?;
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
        return start(ctx, options, setup, vec![]);
    }
    if ctx.capabilities().machines_are_as_make_had_them() {
        machine::ensure_tools(ctx, &setup, &[])?;
        overlay::ask_for_login(ctx, &place, &image, &format);
    } else {
        machine::ensure_tools(ctx, &setup, &[Tool::QemuImg])?;
        let tool = QemuImg::new(&ctx.tools, Output::default().with_log(place.log("qemu-img")))?;
        setup.disks[0].path = overlay::ensure(ctx, &place, &image, &format, &tool, *fresh)?;
        "qcow2".clone_into(&mut setup.disks[0].format);
    }
    machine::boot(ctx, options, setup)
}

/// A raw disk's own bytes may look like any format's, so that its name tells, not what is in it.
fn format_by_name(disk: &Path) -> &'static str {
    match disk.extension().and_then(|extension| extension.to_str()) {
        Some("qcow2") => "qcow2",
        Some("vdi") => "vdi",
        _ => "raw",
    }
}
