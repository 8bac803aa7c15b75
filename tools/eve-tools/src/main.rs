//! `eve-tools`: the program in the tool images of the build. The first argument, or the name it is started by, selects the
//! tool; each tool behaves like the image of that name in lf-edge/eve. This crate handles arguments, environment, streams and
//! exit codes; the crate diskimage makes the images (`diskimage::recipes`). It depends on the crates diskimage, eve-image
//! and filetree.

mod disk;
mod eve;
mod input;
mod iso;
mod output;
mod tools;

use anyhow::{Context as _, Result, bail};
use std::{ffi::OsString, path::Path, process::ExitCode};

const USAGE: &str = "usage:
  eve-tools mkconf OUT                      tar of a configuration on standard input, ROOTFS_VERSION in the environment
  eve-tools mkrootfs-squash [OUT]           tar of a root file system on standard input; OUT is /rootfs.img where that exists,
                                            else standard output
  eve-tools mkrootfs-ext4 [OUT]             the same as an ext4
  eve-tools mkimage-raw-efi [-r] OUT [PARTITION...]
                                            parts in the folder /parts, or as a tar on standard input
  eve-tools mkverification-raw-efi OUT [PARTITION...]
                                            the same
  eve-tools mkimage-iso-efi [installer]     parts in the folder /bits, or as a tar on standard input; writes /output.iso
  eve-tools eve [--image ARCHIVE] [--in DIR] [--out DIR] [-f FORMAT] WORD [MEBIBYTES]
                                            an artifact of the parts in the folder /bits, or in the archive of lfedge/eve;
                                            eve-tools eve help explains the words
Times come from SOURCE_DATE_EPOCH, else from the newest member of the tar.";

/// All settings from the environment.
struct Environment {
    /// `SOURCE_DATE_EPOCH`: mtime of the results.
    epoch: Option<i64>,
    /// `ROOTFS_VERSION`.
    version: String,
    /// `TMPDIR`: folder for contents of a piped tar.
    tmp: Option<OsString>,
}

impl Environment {
    fn read() -> Result<Self> {
        let text = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let epoch = text("SOURCE_DATE_EPOCH").map(|value| {
            let number = value.to_str().and_then(|text| text.parse().ok());
            number.with_context(|| format!("SOURCE_DATE_EPOCH={} is not a number of seconds", value.to_string_lossy()))
        });
        let version = text("ROOTFS_VERSION").unwrap_or_default().into_string();
        let version = version.map_err(|value| anyhow::anyhow!("ROOTFS_VERSION={} is not UTF-8", value.to_string_lossy()))?;
        Ok(Self { epoch: epoch.transpose()?, version, tmp: text("TMPDIR") })
    }
}

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    match run(&mut args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &mut Vec<OsString>) -> Result<()> {
    let own = if args.is_empty() { OsString::new() } else { args.remove(0) };
    // EVE's images have one script each; a link with the script's name selects the tool.
    let by_name = Path::new(&own).file_name().and_then(|name| tools::by_name(&name.to_string_lossy()));
    let tool = match by_name {
        Some(tool) => tool,
        None if args.is_empty() => bail!("a tool's name is missing\n{USAGE}"),
        None => {
            let name = args.remove(0);
            if name == "--help" || name == "-h" {
                println!("{USAGE}");
                return Ok(());
            }
            tools::by_name(&name.to_string_lossy()).with_context(|| format!("unknown tool `{}`\n{USAGE}", name.to_string_lossy()))?
        }
    };
    let args = args.iter().map(|arg| arg.to_str().map(str::to_owned).with_context(|| format!("`{}` is not UTF-8", arg.to_string_lossy())));
    let args = args.collect::<Result<Vec<_>>>()?;
    tool(&args, &Environment::read()?)
}
