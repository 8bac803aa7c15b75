//! `makeiso` and `makenet`: the parts in a folder to an ISO, or to a tar for a netboot.

use super::{asked::Asked, folder, needed, needed_path, word};
use anyhow::Result;
use checkout::context::Ctx;
use clap::{ArgMatches, Command};
use common::error::usage;
use diskimage::recipes::IsoKind;
use plan::steps::{MakeIso, MakeNet};

const ISO: &str = "makeiso PARTS OUT [installer], for example: cargo xtask makeiso dist/amd64/current/installer installer.iso installer";
const NET: &str = "makenet PARTS OUT, for example: cargo xtask makenet dist/amd64/current/installer installer.net";

fn both(command: Command, parts: &'static str, out: &'static str) -> Command {
    command.arg(word("parts", "PARTS", parts)).arg(word("out", "OUT", out))
}

/// The arguments of `makeiso`.
pub fn iso_arguments(command: Command) -> Command {
    both(command, "a folder with EFI/ and all that goes onto the ISO", "the ISO to write").arg(word(
        "kind",
        "installer",
        "what boots from it installs EVE",
    ))
}

/// The arguments of `makenet`.
pub fn net_arguments(command: Command) -> Command {
    both(command, "a folder with kernel, initrd.img, installer.img, rootfs.img, config.img, persist.img, ipxe.efi.cfg", "the tar to write")
}

/// `makeiso`.
pub fn make_iso(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let parts = folder(needed(arguments, "parts", ISO)?, ISO)?;
    let out = needed_path(arguments, "out", ISO)?;
    let kind = match arguments.get_one::<String>("kind").map(String::as_str) {
        None => IsoKind::Plain,
        Some("installer") => IsoKind::Installer,
        Some(other) => return Err(usage(format!("`{other}`: an ISO is plain or an `installer`\nhint: usage: {ISO}"))),
    };
    let mut asked = Asked::new(ctx)?;
    let (epoch, tool) = (asked.epoch(), asked.tool("mkimage-iso-efi")?);
    asked.add("iso", MakeIso { kind, tar: None, parts, epoch, out: out.clone(), tool }, &out);
    asked.make(&out)
}

/// `makenet`.
pub fn make_net(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let parts = folder(needed(arguments, "parts", NET)?, NET)?;
    let out = needed_path(arguments, "out", NET)?;
    let mut asked = Asked::new(ctx)?;
    let epoch = asked.epoch();
    asked.add("net", MakeNet { iso: None, parts, epoch, out: out.clone() }, &out);
    asked.make(&out)
}
