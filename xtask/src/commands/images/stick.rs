//! `makeusbconf`: a USB stick that brings a device its port configuration, or collects what it has to say.

use super::{asked::Asked, disk::disk_size, needed_path, option, switch, word};
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use clap::{Arg, ArgAction, ArgMatches, Command};
use common::error::usage;
use diskimage::{inspect, recipes::USB_SIZE};
use plan::steps::MakeStick;
use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileTypeExt as _,
    path::Path,
};

const USAGE: &str = "makeusbconf [-d] [-i] [-f FILE] [-s KIB] [--yes] OUT, for example: cargo xtask makeusbconf -i -f usb.json usb.img";

/// Its arguments.
pub fn arguments(command: Command) -> Command {
    command
        .arg(switch("d", "with a folder `dump`: the device leaves its state there"))
        .arg(switch("i", "with a folder `identity`: the device leaves there who it is"))
        .arg(option("f", "FILE", "the port configuration, usb.json"))
        .arg(option("s", "KIB", "the size of a new image [default: 204800]"))
        .arg(Arg::new("yes").long("yes").action(ArgAction::SetTrue).help("write over a device without asking"))
        .arg(word("out", "OUT", "an image, or the device of a stick, which is written over"))
}

/// `makeusbconf`.
pub fn run(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let out = needed_path(arguments, "out", USAGE)?;
    let config = arguments.get_one::<String>("f").map(|path| super::absolute(path)).transpose()?;
    let (dump, identity) = (arguments.get_flag("d"), arguments.get_flag("i"));
    if !dump && !identity && config.is_none() {
        return Err(usage(format!("a stick with nothing on it: give -d, -i or -f FILE\nhint: usage: {USAGE}")));
    }
    if let Some(missing) = config.as_ref().filter(|config| !config.is_file()) {
        return Err(usage(format!("there is no file `{}`\nhint: usage: {USAGE}", missing.display())));
    }
    let device = out.metadata().is_ok_and(|metadata| metadata.file_type().is_block_device());
    let bytes = size(arguments.get_one::<String>("s").map(String::as_str), &out, device)?;
    if device && !ctx.globals.dry_run && !arguments.get_flag("yes") && !confirm(&out)? {
        return Ok(());
    }
    let mut asked = Asked::new(ctx)?;
    let (epoch, tool) = (asked.epoch(), asked.tool("mkimage-raw-efi")?);
    let step = MakeStick { dump, identity, config, bytes, out: out.clone(), device, epoch, tool };
    asked.add("usb stick", step, &out);
    asked.make(&out)
}

/// The stick's bytes: all of a device, what was asked for, what the image has already, or the usual size.
fn size(kibibytes: Option<&str>, out: &Path, device: bool) -> Result<u64> {
    if device {
        let mut file = File::open(out).with_context(|| format!("cannot open `{}`", out.display()))?;
        return file.seek(SeekFrom::End(0)).with_context(|| format!("cannot find the size of `{}`", out.display()));
    }
    match kibibytes {
        Some(text) => {
            let number = text.parse::<u64>().ok().filter(|number| (1..=1 << 42).contains(number));
            Ok(number.ok_or_else(|| usage(format!("-s {text} is no number of KiB\nhint: usage: {USAGE}")))? << 10)
        }
        None if out.exists() => disk_size(None, out, USAGE),
        None => Ok(USB_SIZE),
    }
}

/// Asks a person, who sees what is on the device.
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
