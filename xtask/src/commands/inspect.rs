//! `inspect FILE`: what is in a disk or file system image.

use anyhow::Result;
use checkout::context::Ctx;
use clap::{Arg, ArgMatches, Command};
use std::path::Path;

/// Its arguments.
pub fn arguments(command: Command) -> Command {
    command.arg(Arg::new("file").value_name("FILE").required(true).help("a raw, qcow2, FAT or squashfs image, or a tar"))
}

/// `inspect`.
pub fn run(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let file = arguments.get_one::<String>("file").map(Path::new).unwrap_or(Path::new(""));
    let report = diskimage::inspect::inspect(file)?;
    if ctx.globals.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}
