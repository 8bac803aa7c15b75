//! `makeusbconf`: makes a USB stick that gives a device its port configuration, or on which the device saves its state and identity.

use super::{asked::Asked, disk::present_size, required};
use crate::commands::paths::absolute_path;
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use common::error::usage;
use diskimage::{inspect, recipes::USB_SIZE};
use plan::steps::MakeStick;
use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

const USAGE: &str = "makeusbconf [-d] [-i] [-f FILE] [-s KIB] [--yes] OUT, for example: cargo xtask makeusbconf -i -f usb.json usb.img";

/// The stick to make.
#[derive(clap::Args)]
pub struct MakeUsbConf {
    /// make the folder `dump`, where the device writes its state
    #[arg(short = 'd')]
    dump: bool,
    /// make the folder `identity`, where the device writes its certificate and serial number
    #[arg(short = 'i')]
    identity: bool,
    /// the port configuration, usb.json
    #[arg(short = 'f', value_name = "FILE", value_parser = absolute_path)]
    config: Option<PathBuf>,
    /// the size of a new image [default: 204800]
    #[arg(short = 's', value_name = "KIB", value_parser = clap::value_parser!(u64).range(1..=1 << 42))]
    kibibytes: Option<u64>,
    /// erase a device without asking
    #[arg(long)]
    yes: bool,
    /// the image to write, or the device of a stick, which is erased
    #[arg(value_parser = absolute_path)]
    out: Option<PathBuf>,
}

/// `makeusbconf`.
pub fn run(ctx: &Ctx, MakeUsbConf { dump, identity, config, kibibytes, yes, out }: MakeUsbConf) -> Result<()> {
    let out = required(out, USAGE)?;
    if !dump && !identity && config.is_none() {
        return Err(usage(format!("the stick would be empty: give -d, -i or -f FILE\nhint: usage: {USAGE}")));
    }
    if let Some(missing) = config.as_ref().filter(|config| !config.is_file()) {
        return Err(usage(format!("there is no file `{}`\nhint: usage: {USAGE}", missing.display())));
    }
    let device = out.metadata().is_ok_and(|metadata| metadata.file_type().is_block_device());
    let bytes = size(kibibytes, &out, device)?;
    if device && !ctx.globals.dry_run && !yes && !confirm(&out)? {
        return Ok(());
    }
    let mut asked = Asked::new(ctx)?;
    let (epoch, tool) = (asked.epoch(), asked.tool("mkimage-raw-efi")?);
    let step = MakeStick { dump, identity, config, bytes, out: out.clone(), device, epoch, tool };
    asked.add("usb stick", step, &out);
    asked.make(&out)
}

/// The stick's size in bytes: the device's, `kibibytes`, an existing image's, or the default.
fn size(kibibytes: Option<u64>, out: &Path, device: bool) -> Result<u64> {
    if device {
        let mut file = File::open(out).with_context(|| format!("cannot open `{}`", out.display()))?;
        return file.seek(SeekFrom::End(0)).with_context(|| format!("cannot find the size of `{}`", out.display()));
    }
    match kibibytes {
        Some(kibibytes) => Ok(kibibytes << 10),
        None if out.exists() => present_size(out, USAGE),
        None => Ok(USB_SIZE),
    }
}

/// Shows the content of the device, and asks whether to erase it.
fn confirm(device: &Path) -> Result<bool> {
    match inspect::inspect(device) {
        Ok(report) => eprint!("This will erase {}, which contains:\n{report}\n", device.display()),
        Err(error) => eprintln!("This will erase {}: {error:#}", device.display()),
    }
    loop {
        eprint!("Are you sure (Yes/No)? ");
        std::io::stderr().flush()?;
        let mut answer = String::new();
        if std::io::stdin().read_line(&mut answer)? == 0 {
            bail!("no answer whether to erase `{}`\nhint: --yes erases it without asking", device.display());
        }
        match answer.trim() {
            "Yes" => return Ok(true),
            "No" => return Ok(false),
            _ => {}
        }
    }
}
