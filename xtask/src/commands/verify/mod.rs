//! `verify [NAME|FILE…]`: builds again what somebody else built, and compares.

mod artifact;
mod packages;

use super::{attest, published};
use anyhow::Result;
use checkout::context::Ctx;
use common::error::usage;
use std::path::{Path, PathBuf};

/// What to build again.
#[derive(clap::Args)]
pub struct Verify {
    /// packages, as folders below pkg/ [default: all]; or artifacts, with their statements beside them
    #[arg(value_name = "NAME", num_args = 0..)]
    name: Vec<String>,
    /// the public key (PEM) that must have signed the statements of artifacts
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// take the statements of artifacts from the registry CACHE, and write them beside the artifacts
    #[arg(long)]
    pull: bool,
}

/// `verify`.
pub fn run(ctx: &Ctx, Verify { name, key, pull }: Verify) -> Result<()> {
    if pull {
        let registry = published::registry(ctx, "verify --pull")?;
        if ctx.globals.dry_run {
            name.iter().for_each(|file| {
                println!(
                    "take the statement about {file} from {}, write it beside the file, build what it describes, and compare",
                    registry.place()
                );
            });
            return Ok(());
        }
        name.iter().try_for_each(|file| published::fetch(ctx, &registry, file.as_ref(), key.as_deref()))?;
    }
    let (files, names): (Vec<&String>, Vec<&String>) = name.iter().partition(|name| attest::is_artifact(name.as_ref()));
    if let Some(file) = names.iter().find(|name| Path::new(name).is_file()) {
        return Err(usage(format!(
            "no statement is beside `{file}` ({file}.intoto.json)\nhint: cargo xtask attest TARGET, by who builds it"
        )));
    }
    if files.is_empty() {
        return match key {
            Some(_) => {
                Err(usage("--key is for artifacts, which have statements beside them\nhint: cargo xtask verify FILE --key PUBLIC.pem"))
            }
            None => packages::run(ctx, &name),
        };
    }
    if let Some(name) = names.first() {
        return Err(usage(format!(
            "`{name}` is no file with a statement beside it\nhint: verify packages by themselves: cargo xtask verify {name}"
        )));
    }
    files.iter().try_for_each(|file| artifact::verify(ctx, file.as_ref(), key.as_deref()))
}
