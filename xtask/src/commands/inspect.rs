//! `inspect FILE`: shows the content of a disk or file system image.

use anyhow::{Result, bail};
use checkout::context::Ctx;
use std::path::PathBuf;

/// The image to look at.
#[derive(clap::Args)]
pub struct Inspect {
    /// a disk (raw, qcow2, VDI, VHD, Parallels, VMDK in one file), a file system (FAT, squashfs, ext4, ISO 9660), or a tar
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// `inspect`.
pub fn run(ctx: &Ctx, Inspect { file }: Inspect) -> Result<()> {
    let report = diskimage::inspect::inspect(&file)?;
    if ctx.globals.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    if let Some(problem) = report.problem() {
        bail!("`{}` is damaged: {}", file.display(), problem.escape_debug());
    }
    if let Some(format) = report.unread() {
        bail!("`{0}` was not looked into: {format} is not read\nhint: qemu-img convert -O raw {0} disk.raw", file.display());
    }
    Ok(())
}
