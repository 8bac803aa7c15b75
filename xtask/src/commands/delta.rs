//! `delta A B --out FILE` and `delta --apply FILE A --out B`: what has to be sent so that somebody with the image A gets the image B.

use anyhow::Result;
use child::environment::Environment;
use common::{display::size, error::usage};
use imagefs::delta;
use std::path::PathBuf;

/// The images and the delta.
#[derive(clap::Args)]
pub struct Delta {
    /// the old image
    #[arg(value_name = "A")]
    old: PathBuf,
    /// the new image
    #[arg(value_name = "B", conflicts_with = "apply", required_unless_present = "apply")]
    new: Option<PathBuf>,
    /// apply this delta to A instead of making one
    #[arg(long, value_name = "FILE")]
    apply: Option<PathBuf>,
    /// the file to write: the delta, or with --apply the new image
    #[arg(long, value_name = "FILE", required = true)]
    out: PathBuf,
    /// print the result as JSON
    #[arg(long)]
    json: bool,
}

/// `delta`.
pub fn run(_: &Environment, Delta { old, new, apply, out, json }: Delta) -> Result<()> {
    let inputs = [Some(&old), new.as_ref(), apply.as_ref()];
    if inputs.into_iter().flatten().any(|input| input.canonicalize().is_ok_and(|input| Some(input) == out.canonicalize().ok())) {
        return Err(usage(format!("`{}` is read, so it cannot be written\nhint: --out names another file", out.display())));
    }
    let made = match (&apply, &new) {
        (Some(apply), _) => delta::apply(apply, &old, &out)?,
        (None, Some(new)) => delta::make(&old, new, &out)?,
        (None, None) => return Err(usage("the new image is missing\nhint: cargo xtask delta A B --out FILE")),
    };
    if json {
        let image = |named: &delta::Named| serde_json::json!({"sha256": named.sha256, "size": named.size});
        let value = serde_json::json!({"old": image(&made.old), "new": image(&made.new), "delta": made.size, "out": out});
        println!("{}", serde_json::to_string_pretty(&value)?);
    } else if apply.is_some() {
        println!("{}: {}, SHA-256 {}", out.display(), size(made.new.size), made.new.sha256);
    } else {
        println!("{}: {} for an image of {}", out.display(), size(made.size), size(made.new.size));
    }
    Ok(())
}
