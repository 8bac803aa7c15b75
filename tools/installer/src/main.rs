//! `installer settings` prints the settings of an installation, `installer install` installs. Both end with status 1 after
//! `EVE-FAILED install: <what>: <why>`.

use installer::{NotInstalled, run};
use std::{path::Path, process::ExitCode};

const USAGE: &str = "usage: installer settings|install";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["settings"] => run::show_settings(Path::new("/")),
        ["install"] => run::install(Path::new("/")).map(|line| format!("\n{line}\n")),
        _ => Err(NotInstalled { what: "usage", why: USAGE.to_owned() }),
    };
    match result {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("\nEVE-FAILED install: {failure}");
            ExitCode::FAILURE
        }
    }
}
