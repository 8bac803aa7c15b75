//! The help: the common verbs, the overview of all verbs, and the help of one verb.

use super::{
    NAME,
    globals::Options,
    refuse::refuse,
    verbs::{FAMILIES, verbs},
    words::verb_at,
};
use crate::commands::Verb;
use anyhow::Result;
use clap::{Args as _, Command};
use knobs::RawKnobs;
use plan::{Capabilities, EngineKind, Profile};

/// Turns `help`, `help --all` and `help VERB` into `--help`, `--all --help` and `VERB --help`.
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

/// The verbs of the short help, below headings.
const COMMON: &[(&str, &[&str])] =
    &[("Build", &["live", "pkg"]), ("Run", &["run", "ssh", "dev"]), ("Look", &["why", "report", "doctor"]), ("Change", &["new", "test"])];

/// Prints the help for the tree with this profile: the common verbs, or with `all` the overview of every verb.
pub fn print_overview(profile: Option<&Profile>, all: bool) {
    if all {
        print!("{}", overview(profile).render_help());
    } else {
        print!("{}", short());
    }
}

/// The common verbs, and where the others are.
fn short() -> String {
    let mut text =
        "Builds EVE: packages, root file systems, disk images; and runs them\n\nUsage: cargo xtask [OPTIONS] VERB [ARGUMENTS]\n".to_owned();
    for (heading, names) in COMMON {
        text.push_str(&format!("\n{heading}:\n"));
        for verb in names.iter().filter_map(|name| verbs().find(|verb| verb.name == *name)) {
            text.push_str(&format!("  {:<10} {}\n", verb.name, verb.about));
        }
    }
    let rest = verbs().count() - COMMON.iter().map(|(_, names)| names.len()).sum::<usize>();
    text + &format!(
        "\nMore:\n  {NAME} help VERB     what a verb does, its options and knobs\n  \
         {NAME} help --all    the other {rest} verbs, and the options of all\n  \
         {NAME} summary       every knob, its value and where the value comes from\n  \
         {NAME} make WORDS    an old make command line\n"
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_help_has_ten_verbs_and_says_where_the_others_are() {
        let names: Vec<&str> = COMMON.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        assert_eq!(names.len(), 10);
        let text = short();
        for name in names {
            assert!(text.lines().any(|line| line.starts_with(&format!("  {name} "))), "{name}: {text}");
        }
        assert!(text.contains("help --all") && text.lines().count() < 30, "{text}");
        let words = |text: &str| asks_for_help(text.split(' ').map(str::to_owned).collect()).join(" ");
        assert_eq!((words("help --all"), words("help live x")), ("--all --help".to_owned(), "live --help".to_owned()));
    }
}
