//! The help: the overview of all verbs, and the help of one verb.

use super::{NAME, globals::Options, refuse::refuse, verbs::FAMILIES, words::verb_at};
use crate::commands::Verb;
use anyhow::Result;
use clap::{Args as _, Command};
use knobs::RawKnobs;
use plan::{Capabilities, EngineKind, Profile};

/// Turns `help` and `help VERB` into `--help` and `VERB --help`.
pub fn asks_for_help(mut words: Vec<String>) -> Vec<String> {
    let at = verb_at(&words);
    if words.get(at).is_some_and(|word| word == "help") {
        words.remove(at);
        words.truncate(verb_at(&words) + 1);
        words.push("--help".to_owned());
    }
    words
}

/// The overview as a clap command, for printing. Leaves out verbs that have nothing to do in the tree with this profile.
#[must_use]
pub fn overview(profile: Option<&Profile>) -> Command {
    // `about` last: clap takes the doc comment of `Options` as the help.
    Options::augment_args(Command::new(NAME))
        .about("Builds EVE: packages, root file systems, disk images; and runs them")
        .help_template("{about-with-newline}\n{usage-heading} {usage}\n\nOptions, before or after the verb:\n{options}{after-help}\n")
        .override_usage("cargo xtask [OPTIONS] VERB [ARGUMENTS]")
        .term_width(0)
        .after_help(families(profile))
}

/// Prints the overview for the tree with this profile.
pub fn print_overview(profile: Option<&Profile>) {
    print!("{}", overview(profile).render_help());
}

/// Prints clap's help if `error` is a request for it; else returns our error for it.
pub fn show_or_refuse(error: &clap::Error, verb: &Verb, command: &Command, raw: &RawKnobs) -> Result<()> {
    if error.use_stderr() {
        return Err(refuse(error, &format!("{NAME} {}", verb.name), command, raw));
    }
    print!("{}", error.render());
    Ok(())
}

/// The verbs below the headings of their families.
fn families(profile: Option<&Profile>) -> String {
    // What a tree has does not depend on the engine.
    let is_pointless =
        |verb: &&Verb| profile.is_some_and(|profile| verb.pointless(profile, Capabilities::of(profile, EngineKind::Native)).is_some());
    let mut text = String::new();
    for (heading, verbs) in FAMILIES {
        text.push_str(&format!("{heading}:\n"));
        for verb in verbs.iter().flat_map(|verbs| verbs.iter()).filter(|verb| !is_pointless(verb)) {
            text.push_str(&format!("  {:<28} {}\n", verb.name, verb.about));
        }
        text.push('\n');
    }
    text + "`cargo xtask VERB --help` shows the help of a verb. Knobs stand after the verb, as flags or as VAR=value; `cargo xtask summary` lists them."
}
