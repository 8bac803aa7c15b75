//! Feeds damaged input to every reader of bytes from outside. `cargo xtask fuzz` builds this program with coverage and starts it once
//! per target, because a target that kills the process (stack, memory, time) must not take the others with it.
//!
//! ```text
//! fuzz list
//! fuzz run TARGET [--tries N | --seconds N] [--seed N] [--cpu SECONDS] --findings FOLDER
//! fuzz replay TARGET FILE…
//! ```

mod coverage;
mod limits;
mod mutate;
mod repair;
mod seeds;
mod targets;
mod work;

use anyhow::{Context as _, Result, bail};
use std::{path::PathBuf, process::ExitCode};
use targets::FuzzTarget;
use work::{Length, Work};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether nothing was found.
fn run(args: &[String]) -> Result<bool> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["list"] => {
            targets::ALL.iter().for_each(|reader| println!("{}\t{}", reader.name, reader.tries));
            Ok(true)
        }
        ["run", name, rest @ ..] => work_of(find(name)?, rest)?.run(),
        ["replay", name, files @ ..] => {
            let reader = find(name)?;
            for file in files {
                let input = seeds::read(file.as_ref())?;
                limits::set()?;
                let outcome = limits::on_small_stack(|| (reader.read)(&input))?;
                println!("{file}: {}", outcome.map_or_else(|error| format!("refused: {error:#}"), |()| "read".to_owned()));
            }
            Ok(true)
        }
        _ => bail!("the first word is `list`, `run TARGET` or `replay TARGET FILE`\nhint: cargo xtask fuzz --help"),
    }
}

fn find(name: &str) -> Result<&'static FuzzTarget> {
    targets::ALL
        .iter()
        .chain([&targets::BROKEN])
        .find(|target| target.name == name)
        .with_context(|| format!("there is no target `{name}`\nhint: cargo xtask fuzz --list"))
}

fn work_of(reader: &'static FuzzTarget, options: &[&str]) -> Result<Work> {
    let mut work = Work { reader, length: Length::Tries(reader.tries), seed: 1, cpu: limits::CPU, findings: PathBuf::new() };
    for pair in options.chunks(2) {
        let [name, value] = pair else { bail!("`{}` wants a value", pair[0]) };
        let number = || value.parse::<u64>().with_context(|| format!("`{name} {value}`: no number"));
        match *name {
            "--tries" => work.length = Length::Tries(number()?),
            "--seconds" => work.length = Length::Seconds(number()?),
            "--cpu" => work.cpu = number()?,
            "--seed" => work.seed = number()?,
            "--findings" => work.findings = PathBuf::from(value),
            other => bail!("`{other}` is no option of `run`"),
        }
    }
    if work.findings.as_os_str().is_empty() {
        bail!("`--findings FOLDER` is missing");
    }
    Ok(work)
}
