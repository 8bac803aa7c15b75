//! `cargo xtask`: turns a tree of packages, templates and configuration into bootable images and runs them.
//! Here: parse, build the context, dispatch, print the error. Everything else has a room of its own; see docs/ARCHITECTURE.md.

#[macro_use]
extern crate common;

mod cli;
mod commands;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook},
    process::ExitCode,
};

/// What a shell says of a program that wrote to a pipe which nobody reads: 128 and the number of SIGPIPE.
const NOBODY_READS: u8 = 141;

fn main() -> ExitCode {
    let environment = child::environment::Environment::of_process();
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    // The sandbox's inner half is this program again, before anything else starts a thread.
    let outcome = match words.as_slice() {
        [inner, order] if inner == sandbox::INNER => sandbox::inside::run(order).map(ExitCode::from),
        _ => {
            child::interrupt::install();
            while_somebody_reads(|| cli::run(&words, &environment).map(|()| ExitCode::SUCCESS))
        }
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprint!("{}", common::error::render(&error));
            ExitCode::from(common::error::kind(&error).exit_code())
        }
    }
}

/// Runs `work`; when whoever reads our standard output leaves (`cargo xtask summary | head`), ends without a word, as other programs do.
fn while_somebody_reads(work: impl FnOnce() -> anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    let usual = take_hook();
    set_hook(Box::new(move |info| {
        if !is_closed_pipe(info.payload()) {
            usual(info);
        }
    }));
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| if is_closed_pipe(&*panic) { Ok(ExitCode::from(NOBODY_READS)) } else { resume_unwind(panic) })
}

/// Whether a panic is `println!`'s about a pipe that was closed.
fn is_closed_pipe(panic: &(dyn std::any::Any + Send)) -> bool {
    panic.downcast_ref::<String>().is_some_and(|text| text.starts_with("failed printing to stdout") && text.contains("os error 32"))
}
