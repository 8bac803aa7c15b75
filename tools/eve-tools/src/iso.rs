//! `mkimage-iso-efi`: a UEFI-bootable ISO, made from the parts of an installer.

use crate::{Environment, USAGE, input, output::Output};
use anyhow::{Context as _, Result, bail};
use diskimage::recipes::{self, IsoKind};
use std::path::Path;

/// Default folder of the parts, and default output.
const PARTS: &str = "/bits";
const OUT: &str = "/output.iso";

struct Arguments {
    kind: IsoKind,
    parts: String,
    out: String,
}

impl Arguments {
    /// `[--parts DIR] [--out FILE] [installer]`.
    fn parse(args: &[String]) -> Result<Self> {
        let mut parsed = Self { kind: IsoKind::Plain, parts: PARTS.to_owned(), out: OUT.to_owned() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--parts" => parsed.parts = args.next().context("--parts needs a folder")?.clone(),
                "--out" => parsed.out = args.next().context("--out needs a file")?.clone(),
                "installer" => parsed.kind = IsoKind::Installer,
                other => bail!("unknown argument `{other}` of mkimage-iso-efi (only `installer` is known)\n{USAGE}"),
            }
        }
        Ok(parsed)
    }
}

pub fn make_iso(args: &[String], environment: &Environment) -> Result<()> {
    let args = Arguments::parse(args)?;
    let (parts, epoch) = input::read_parts(&args.parts, true, environment)?;
    let layout = recipes::iso(args.kind, &parts, epoch)?;
    let output = Output::open(Path::new(&args.out))?;
    layout.write(output.file())?;
    output.commit()
}
