//! `makeiso` and `makenet`: the parts in a folder to an ISO, or to a tar for a netboot.

use super::{asked::Asked, folder, required};
use crate::commands::{Run, paths::absolute_path};
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

/// make an ISO from the parts in a folder
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

impl Run for MakeIso {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let parts = folder(&required(self.parts, ISO)?, ISO)?;
        let out = required(self.out, ISO)?;
        let kind = match self.kind {
            None => IsoKind::Plain,
            Some(Kind::Installer) => IsoKind::Installer,
        };
        let mut asked = Asked::new(ctx)?;
        let (epoch, tool) = (asked.epoch(), asked.tool("mkimage-iso-efi")?);
        asked.add("iso", steps::MakeIso { kind, tar: None, parts, epoch, out: out.clone(), tool }, &out);
        asked.make(&out)
    }
}

/// make a tar for a netboot from the parts in a folder
#[derive(clap::Args)]
pub struct MakeNet {
    /// a folder with kernel, initrd.img, installer.img, rootfs.img, config.img, persist.img, ipxe.efi.cfg
    parts: Option<PathBuf>,
    /// the tar to write
    #[arg(value_parser = absolute_path)]
    out: Option<PathBuf>,
}

impl Run for MakeNet {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let parts = folder(&required(self.parts, NET)?, NET)?;
        let out = required(self.out, NET)?;
        let mut asked = Asked::new(ctx)?;
        let epoch = asked.epoch();
        asked.add("net", steps::MakeNet { iso: None, parts, epoch, out: out.clone() }, &out);
        asked.make(&out)
    }
}
