//! `completions SHELL`: prints a completion script. The script asks this program for the candidates of each word (`candidates`), so
//! packages, machines, verbs and values of knobs are those of the tree in which a person types.

use super::candidates::{Candidate, candidates};
use anyhow::{Context as _, Result};
use child::environment::Environment;
use clap::ValueEnum;
use std::path::Path;

/// What to print.
#[derive(clap::Args)]
pub struct Completions {
    /// the shell
    #[arg(value_name = "SHELL", default_value = "bash")]
    shell: Shell,
    /// the words behind `cargo xtask` on an unfinished command line, after `--`: prints what may stand in the place of the last one,
    /// each with a tab and its meaning, instead of a script; no output means file names
    #[arg(value_name = "WORD", num_args = 0.., allow_hyphen_values = true, trailing_var_arg = true)]
    words: Vec<String>,
}

/// A shell with a completion script.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// `completions`.
pub fn run(environment: &Environment, Completions { shell, words }: Completions) -> Result<()> {
    if words.is_empty() {
        let program = std::env::current_exe().context("cannot find this program")?;
        print!("{}", script(shell, &program));
        return Ok(());
    }
    // bash takes `HV` and `=` for words of their own, and wants what stands behind.
    let typed = words.last().map_or(0, |last| last.trim_start_matches(BREAKS).len());
    let words = if shell == Shell::Bash { join_at_breaks(&words) } else { words };
    let cut = if shell == Shell::Bash { words.last().map_or(0, String::len) - typed } else { 0 };
    for Candidate { text, help } in candidates(&words, environment) {
        let text = text.get(cut..).unwrap_or_default();
        println!("{text}\t{}", help.lines().next().unwrap_or_default());
    }
    Ok(())
}

/// Where bash splits words, besides at spaces.
const BREAKS: [char; 2] = ['=', ':'];

/// Undoes bash's splitting: `HV`, `=`, `xen` is one word.
fn join_at_breaks(words: &[String]) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let belongs_to_last = at > 0 && (word.starts_with(BREAKS) || words[at - 1].ends_with(BREAKS));
        match joined.last_mut() {
            Some(last) if belongs_to_last => last.push_str(word),
            _ => joined.push(word.clone()),
        }
    }
    joined
}

/// The script, which starts the program `xtask` itself: cargo would take longer, and might compile first.
fn script(shell: Shell, xtask: &Path) -> String {
    let xtask = format!("'{}'", xtask.display().to_string().replace('\'', "'\\''"));
    match shell {
        Shell::Bash => include_str!("completions/bash.sh"),
        Shell::Zsh => include_str!("completions/zsh.sh"),
        Shell::Fish => include_str!("completions/fish.fish"),
    }
    .replace("@XTASK@", &xtask)
}
