//! `fuzz`: damaged input for the readers of tars, images, packages and texts, for as long as one likes. The test command runs each target
//! for a fixed number of inputs.

use anyhow::{Result, bail};
use checkout::context::Ctx;
use child::{fuzzer::Fuzzer, interrupt};
use common::error::{did_you_mean, usage};

/// The targets to run, and for how long.
#[derive(clap::Args)]
pub struct Fuzz {
    /// readers to run [default: all]
    #[arg(value_name = "TARGET", num_args = 0..)]
    target: Vec<String>,
    /// seconds for each target
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// start of the random numbers; the same seed, corpus and machine give the same inputs
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// print the targets
    #[arg(long, conflicts_with = "target")]
    list: bool,
}

/// `fuzz`.
pub fn run(ctx: &Ctx, Fuzz { target, seconds, seed, list }: Fuzz) -> Result<()> {
    if ctx.globals.dry_run {
        let names = if target.is_empty() { "all targets".to_owned() } else { target.join(", ") };
        println!("compile tools/fuzz with coverage, and run {names} for {seconds} seconds each");
        return Ok(());
    }
    let fuzzer = Fuzzer::build(&ctx.tools, &ctx.root)?;
    let known = fuzzer.targets()?;
    if list {
        known.iter().for_each(|name| println!("{name}"));
        return Ok(());
    }
    for name in &target {
        if !known.contains(name) {
            let near = did_you_mean(name, known.iter().map(String::as_str)).map_or("--list", |near| near);
            return Err(usage(format!("there is no target `{name}`\nhint: cargo xtask fuzz {near}")));
        }
    }
    let mut broken = Vec::new();
    for name in if target.is_empty() { &known } else { &target } {
        let current = fuzzer.current(name);
        let _ = std::fs::remove_file(&current);
        // A run removes its last input at its end; who was killed could not.
        match fuzzer.run(name, seconds, seed) {
            Err(error) if interrupt::is_interrupted() => return Err(error),
            Ok(true) => continue,
            Err(error) if !current.exists() => return Err(error),
            _ => {}
        }
        if current.exists() {
            println!("{name}: the process was killed by the input {}", current.display());
        }
        broken.push(name.as_str());
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!("inputs that break a reader were found: {}\nhint: mend it, then keep the input in tools/fuzz/corpus", broken.join(", "))
}
