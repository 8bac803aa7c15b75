//! `inspect FILE`: what is in a disk or file system image.

use super::Run;
use anyhow::Result;
use checkout::context::Ctx;
use std::path::{Path, PathBuf};

/// The image to look at.
#[derive(clap::Args)]
pub struct Inspect {
    /// a raw, qcow2, FAT or squashfs image, or a tar
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Run for Inspect {
    fn run(self, ctx: &Ctx) -> Result<()> {
        inspect(ctx, &self.file)
    }
}

fn inspect(ctx: &Ctx, file: &Path) -> Result<()> {
    let report = diskimage::inspect::inspect(file)?;
    if ctx.globals.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}
