//! `cargo xtask`: turns a tree of packages, templates and configuration into bootable images and runs them.
//! Here: parse, build the context, dispatch, print the error. Everything else has a room of its own; see docs/ARCHITECTURE.md.

mod cli;
mod commands;
mod context;
mod engine;
mod environment;
mod error;
mod execute;
mod knobs;
mod plan;
mod tools;
mod tree;
mod vm;

use std::process::ExitCode;

fn main() -> ExitCode {
    let environment = environment::Environment::of_process();
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    // The sandbox's inner half is this program again, before anything else starts a thread.
    let outcome = match words.as_slice() {
        [inner, order] if inner == tools::sandbox::INNER => tools::sandbox::inside::run(order).map(ExitCode::from),
        _ => {
            tools::interrupt::install();
            cli::run(&words, &environment).map(|()| ExitCode::SUCCESS)
        }
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprint!("{}", error::render(&error));
            ExitCode::from(error::kind(&error).exit_code())
        }
    }
}
