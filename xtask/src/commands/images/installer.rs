//! `makeiso` and `makenet`: make an ISO, or a tar for a netboot, from the parts in a folder.

use super::{asked::Asked, folder, required};
use crate::commands::paths::absolute_path;
use anyhow::Result;
use checkout::context::Ctx;
use clap::ValueEnum;
use diskimage::recipes::IsoKind;
use plan::steps;
use std::path::PathBuf;

const ISO: &str = "makeiso PARTS OUT [installer], for example: cargo xtask makeiso dist/amd64/current/installer installer.iso installer";
const NET: &str = "makenet PARTS OUT, for example: cargo xtask makenet dist/amd64/current/installer installer.net";

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Installer,
}

/// The arguments of `makeiso`.
#[derive(clap::Args)]
pub struct MakeIso {
    /// a folder with EFI/ and all other files of the ISO
    parts: Option<PathBuf>,
    /// the ISO to write
    #[arg(value_parser = absolute_path)]
    out: Option<PathBuf>,
    /// the word `installer`: the ISO boots an installer of EVE
    #[arg(value_name = "installer", hide_possible_values = true)]
    kind: Option<Kind>,
}

/// `makeiso`.
pub fn make_iso(ctx: &Ctx, MakeIso { parts, out, kind }: MakeIso) -> Result<()> {
    let (parts, out) = (folder(&required(parts, ISO)?, ISO)?, required(out, ISO)?);
    let kind = match kind {
        None => IsoKind::Plain,
        Some(Kind::Installer) => IsoKind::Installer,
    };
    let mut asked = Asked::new(ctx)?;
    let (epoch, tool) = (asked.epoch(), asked.tool("mkimage-iso-efi")?);
    asked.add("iso", steps::MakeIso { kind, tar: None, parts, epoch, out: out.clone(), tool }, &out);
    asked.make(&out)
}

/// The arguments of `makenet`.
#[derive(clap::Args)]
pub struct MakeNet {
    /// a folder with kernel, initrd.img, installer.img, rootfs.img, config.img, persist.img, ipxe.efi.cfg
    parts: Option<PathBuf>,
    /// the tar to write
    #[arg(value_parser = absolute_path)]
    out: Option<PathBuf>,
}

/// `makenet`.
pub fn make_net(ctx: &Ctx, MakeNet { parts, out }: MakeNet) -> Result<()> {
    let (parts, out) = (folder(&required(parts, NET)?, NET)?, required(out, NET)?);
    let mut asked = Asked::new(ctx)?;
    let epoch = asked.epoch();
    asked.add("net", steps::MakeNet { own: false, iso: None, parts, epoch, out: out.clone() }, &out);
    asked.make(&out)
}
