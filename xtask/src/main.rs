//! `cargo xtask`: builds bootable images from a tree of packages, templates and configuration, and runs them. `main` calls the command
//! line and prints its error; docs/ARCHITECTURE.md describes the modules and crates.

#[macro_use]
extern crate common;

mod cli;
mod commands;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook},
    process::ExitCode,
};

/// A shell's exit code for a program that was killed by SIGPIPE: 128 and the signal's number.
const SIGPIPE_CODE: u8 = 141;

fn main() -> ExitCode {
    let environment = child::environment::Environment::of_process();
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    // xtask started itself as the inner half of the sandbox, which must have only one thread.
    let outcome = match words.as_slice() {
        [inner, order] if inner == sandbox::INNER => sandbox::inside::run(order).map(ExitCode::from),
        _ => {
            child::interrupt::install();
            child::open_files::raise_limit();
            exit_on_closed_pipe(|| cli::run(&words, &environment).map(|()| ExitCode::SUCCESS))
        }
    };
    match outcome {
        Ok(code) => code,
        Err(error) if error.is::<common::error::Ended>() => {
            error.downcast_ref().map_or(ExitCode::FAILURE, |ended: &common::error::Ended| ExitCode::from(ended.0))
        }
        Err(error) => {
            eprint!("{}", common::error::render(&error));
            child::interrupt::end_if_interrupted();
            ExitCode::from(common::error::kind(&error).exit_code())
        }
    }
}

/// Runs `work`. If the reader of our standard output ends (`cargo xtask summary | head`), returns silently, as other programs end.
fn exit_on_closed_pipe(work: impl FnOnce() -> anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    let usual = take_hook();
    set_hook(Box::new(move |info| {
        if !is_closed_pipe(info.payload()) {
            usual(info);
        }
    }));
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| if is_closed_pipe(&*panic) { Ok(ExitCode::from(SIGPIPE_CODE)) } else { resume_unwind(panic) })
}

/// Whether a panic is that of `println!` on a closed pipe.
fn is_closed_pipe(panic: &(dyn std::any::Any + Send)) -> bool {
    panic.downcast_ref::<String>().is_some_and(|text| text.starts_with("failed printing to stdout") && text.contains("os error 32"))
}
