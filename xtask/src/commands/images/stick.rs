//! `makeusbconf`: makes a USB stick that brings a device its port configuration, or takes its dumps and its identity.

use super::{asked::Asked, disk::present_size, required};
use crate::commands::{Run, paths::absolute_path};
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

/// make a USB stick for a device's port configuration or its dumps
#[derive(clap::Args)]
pub struct MakeUsbConf {
    /// make a folder `dump`: the device writes its state there
    #[arg(short = 'd')]
    dump: bool,
    /// make a folder `identity`: the device writes its certificate and serial number there
    #[arg(short = 'i')]
    identity: bool,
    /// the port configuration, usb.json
    #[arg(short = 'f', value_name = "FILE", value_parser = absolute_path)]
    config: Option<PathBuf>,
    /// the size of a new image [default: 204800]
    #[arg(short = 's', value_name = "KIB", value_parser = clap::value_parser!(u64).range(1..=1 << 42))]
    kibibytes: Option<u64>,
    /// write over a device without asking
    #[arg(long)]
    yes: bool,
    /// an image, or the device of a stick, whose contents are erased
    #[arg(value_parser = absolute_path)]
    out: Option<PathBuf>,
}

impl Run for MakeUsbConf {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let Self { dump, identity, config, kibibytes, yes, out } = self;
        let out = required(out, USAGE)?;
        if !dump && !identity && config.is_none() {
            return Err(usage(format!("a stick with nothing on it: give -d, -i or -f FILE\nhint: usage: {USAGE}")));
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
}

/// The stick's size in bytes: all of a device, `kibibytes`, the size of an image that is there, or the usual size.
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

/// Shows what is on the device, and asks whether to erase it.
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
            bail!("nobody answered whether `{}` may be erased\nhint: --yes says so", device.display());
        }
        match answer.trim() {
            "Yes" => return Ok(true),
            "No" => return Ok(false),
            _ => {}
        }
    }
}
