//! Parses the command line (options, a verb, its arguments, and knobs as flags or `VAR=value` words) and runs the verb.

mod completions;
mod context;
mod globals;
mod help;
pub mod make;
mod reference;
mod refuse;
mod verbs;

pub use verbs::verbs;

use crate::commands::{Action, Verb};
use anyhow::Result;
use child::environment::Environment;
use clap::Command;
use globals::{Options, add, close_jobs, value_of, verb_at};
use knobs::{Knobs, RawKnobs, Source};
use std::path::Path;

/// The command that starts xtask.
const NAME: &str = "cargo xtask";

/// Runs the command line `words`, without the program's name.
pub fn run(words: &[String], environment: &Environment) -> Result<()> {
    let (assignments, rest) = split_assignments(words);
    let at = verb_at(&rest);
    if rest.get(at).is_some_and(|word| word == "make") {
        let assigned = assignments.iter().map(|(name, value)| format!("{name}={value}"));
        let words: Vec<String> = rest[at + 1..].iter().cloned().chain(assigned).collect();
        return make::run(&rest[..at], &words, environment);
    }
    run_line(words, environment, true)
}

/// Runs one verb. With `notes`, prints a note for each `VAR=value` that the verb does not use; make prints none.
fn run_line(words: &[String], environment: &Environment, notes: bool) -> Result<()> {
    let (assignments, words) = split_assignments(words);
    let mut words = make::expand_old_name(help::asks_for_help(words));
    close_jobs(&mut words);
    let mut rest = words.split_off(verb_at(&words));
    let before = words;
    if before.iter().any(|word| word == "--help" || word == "-h") || before.is_empty() && rest.is_empty() && assignments.is_empty() {
        help::print_overview();
        return Ok(());
    }
    let options = parse_options(&before)?;
    if rest.is_empty() {
        return Err(common::error::usage("a target or command is missing\nhint: `cargo xtask help` lists all"));
    }
    let name = rest.remove(0);
    let verb = verbs().find(|verb| verb.name == name).ok_or_else(|| refuse::unknown_verb(&name))?;
    if let Action::Anywhere(run) = verb.action {
        let command = verb_command(verb);
        let matches = match command.clone().try_get_matches_from(named(verb, rest)) {
            Ok(matches) => matches,
            Err(error) => return help::show_or_refuse(&error, verb, &command, &RawKnobs::default()),
        };
        return run.run(environment, &matches);
    }
    run_on_tree(verb, options, rest, &assignments, environment, notes)
}

fn run_on_tree(
    verb: &Verb,
    options: Options,
    mut rest: Vec<String>,
    assignments: &[(String, String)],
    environment: &Environment,
    notes: bool,
) -> Result<()> {
    let late_root = value_of(&rest, "root").map(Path::new);
    let command = verb_command(verb);
    if rest.iter().take_while(|word| *word != "--").any(|word| word == "--help" || word == "-h") {
        let error = command.clone().try_get_matches_from([verb.name, "--help"]).err();
        return error.map_or(Ok(()), |error| help::show_or_refuse(&error, verb, &command, &RawKnobs::default()));
    }
    let root = context::find_root(late_root.or(options.root.as_deref()), environment)?;
    let profile = checkout::read_profile(&root)?;
    remove_set_flags(verb, &command, &mut rest);
    let assignments = &[assignments, &take_empty_flags(&command, &mut rest)].concat();
    let raw = gather(verb, &rest, assignments, environment, &profile)?;
    let command = raw.inject(command);
    let matches = match command.clone().try_get_matches_from(named(verb, rest)) {
        Ok(matches) => matches,
        Err(error) => return help::show_or_refuse(&error, verb, &command, &raw),
    };
    let options = options.and(Options::of(&matches)?);
    let knobs = Knobs::of_matches(&command, &matches, &raw, &root)?;
    if notes {
        note_unused(verb, &command, assignments);
    }
    let ctx = context::build(options, knobs, profile, root, environment)?;
    verb.run(&ctx, &matches)
}

/// The words for clap, which expects the program's name first.
fn named(verb: &Verb, words: Vec<String>) -> impl Iterator<Item = String> {
    std::iter::once(format!("{NAME} {}", verb.name)).chain(words)
}

fn parse_options(words: &[String]) -> Result<Options> {
    let command = <Options as clap::Args>::augment_args(Command::new(NAME).disable_help_flag(true).args_override_self(true));
    let matches = command.clone().try_get_matches_from(std::iter::once(NAME.to_owned()).chain(words.iter().cloned()));
    matches.and_then(|matches| Options::of(&matches)).map_err(|error| refuse::refuse(&error, NAME, &command, &RawKnobs::default()))
}

/// The clap command of a verb: its arguments, the knobs, and the options of all verbs.
#[must_use]
pub fn verb_command(verb: &Verb) -> Command {
    // `about` last: clap takes the doc comment of the arguments' struct as the help of the verb.
    let command = (verb.arguments)(Command::new(verb.name)).about(verb.about).long_about(None);
    // clap shows options that follow a group of knobs below the group's heading.
    let command = command.mut_args(|arg| if knobs::is_knob(&arg) { arg } else { arg.help_heading(None::<&str>) });
    let command = command.bin_name(format!("{NAME} {}", verb.name)).term_width(0);
    match verb.action {
        Action::Anywhere(_) => command,
        // A later value takes precedence: make's own options and those of its environment may be the same.
        _ => add::<Options>(add::<Knobs>(command.args_override_self(true), !verb.builds), true),
    }
}

/// Collects all set knobs; `set` keeps an earlier value, so those with precedence come first.
fn gather(
    verb: &Verb,
    rest: &[String],
    assignments: &[(String, String)],
    environment: &Environment,
    profile: &plan::Profile,
) -> Result<RawKnobs> {
    let mut raw = RawKnobs::default();
    for (name, value) in verb.sets {
        raw.set(name, value, Source::Target)?;
    }
    for (name, value) in assignments {
        raw.set(name, value, Source::Command)?;
    }
    raw.set_from_environment(&|name| environment.get_raw(name))?;
    let set = raw.get("HV").map(|hv| hv.value.clone()).filter(|hv| !hv.is_empty());
    let hv = value_of(rest, "hv").map(str::to_owned).or(set).unwrap_or_else(|| "kvm".to_owned());
    for (name, value) in &profile.knobs {
        if let Some(value) = value.to_text(&hv) {
            let said = raw.set(name, &value, Source::File);
            said.map_err(|error| common::error::usage(format!("[knobs] in {}: {error:#}", plan::PROFILE)))?;
        }
    }
    Ok(raw)
}

/// Removes flags of knobs that the verb's name sets: the name takes precedence.
fn remove_set_flags(verb: &Verb, command: &Command, words: &mut Vec<String>) {
    for (name, _) in verb.sets {
        let Some(arg) = command.get_arguments().find(|arg| arg.get_id() == *name) else { continue };
        for long in arg.get_long().into_iter().chain(arg.get_all_aliases().unwrap_or_default()) {
            let flag = format!("--{long}");
            while let Some(at) = words.iter().position(|word| *word == flag || word.starts_with(&format!("{flag}="))) {
                let has_value = words[at] == flag && words.get(at + 1).is_some_and(|next| !next.starts_with('-'));
                words.drain(at..=at + usize::from(has_value));
            }
        }
    }
}

/// Removes knob flags with an empty value from `words`; returns them as `VAR=`, which means unset.
fn take_empty_flags(command: &Command, words: &mut Vec<String>) -> Vec<(String, String)> {
    let (mut empty, mut at) = (Vec::new(), 0);
    while let Some(word) = words.get(at).filter(|word| *word != "--") {
        let is_last = word.ends_with('=');
        let flag = word.strip_prefix("--").map(|flag| flag.trim_end_matches('='));
        let knob = flag.and_then(knobs::find).filter(|knob| command.get_arguments().any(|arg| arg.get_id() == knob.name.as_str()));
        match knob {
            Some(knob) if is_last || !word.contains('=') && words.get(at + 1).is_some_and(String::is_empty) => {
                empty.push((knob.name.clone(), String::new()));
                words.drain(at..=at + usize::from(!is_last));
            }
            _ => at += 1,
        }
    }
    empty
}

fn note_unused(verb: &Verb, command: &Command, assignments: &[(String, String)]) {
    for (name, _) in assignments {
        let known = knobs::find(name).map_or(name.as_str(), |knob| knob.name.as_str());
        if command.get_arguments().all(|arg| arg.get_id() != known) {
            eprintln!("note: `{}` does not use {name}", verb.name);
        }
    }
}

/// Whether the tree of `options` (the words before the verb) publishes its packages, as lf-edge/eve does and this repository does not.
#[must_use]
pub fn is_foreign(options: &[String], environment: &Environment) -> bool {
    let root = context::find_root(value_of(options, "root").map(Path::new), environment);
    root.and_then(|root| checkout::read_profile(&root)).is_ok_and(|profile| profile.packages.published)
}

/// Whether the word after the option `word` may be its value.
fn takes_value(word: &str) -> bool {
    let Some(flag) = word.strip_prefix("--").filter(|flag| !flag.is_empty() && !flag.contains('=')) else { return false };
    !["dry-run", "offline", "verbose", "json", "help"].contains(&flag) && knobs::find(flag).is_none_or(|knob| !knob.is_switch())
}

/// Splits `VAR=value` words, which may stand anywhere before `--`, from the other words.
fn split_assignments(words: &[String]) -> (Vec<(String, String)>, Vec<String>) {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    let (mut assignments, mut rest) = (Vec::<(String, String)>::new(), Vec::<String>::new());
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    for word in &words[..end] {
        // After an option only a knob's name starts an assignment: the A=b of `--until A=b` is a text.
        let is_value = rest.last().is_some_and(|before| takes_value(before));
        match word.split_once('=') {
            Some((name, value)) if is_name(name) && (!is_value || knobs::find(name).is_some()) => {
                assignments.push((name.to_owned(), value.to_owned()))
            }
            _ => rest.push(word.clone()),
        }
    }
    rest.extend_from_slice(&words[end..]);
    (assignments, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        for verb in verbs() {
            verb_command(verb).debug_assert();
        }
    }

    #[test]
    fn assignments_are_split_from_words() {
        let words = "pkg HV=xen --until=x a=b A_1=2 --until B=1 --tpm HVV=x -- HV=kvm".split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (assignments, rest) = split_assignments(&words);
        assert_eq!(assignments, [("HV", "xen"), ("A_1", "2"), ("HVV", "x")].map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(rest.join(" "), "pkg --until=x a=b --until B=1 --tpm -- HV=kvm");
    }

    #[test]
    fn an_empty_flag_is_an_empty_variable() {
        let verb = verbs().find(|verb| verb.name == "live").expect("a verb");
        let mut words = ["--hv", "", "-n", "--image-format=", "--json", "--zarch", "arm64"].map(str::to_owned).to_vec();
        let empty = take_empty_flags(&verb_command(verb), &mut words);
        assert_eq!(empty, ["HV", "IMAGE_FORMAT"].map(|name| (name.to_owned(), String::new())));
        assert_eq!(words, ["-n", "--json", "--zarch", "arm64"]);
    }

    #[test]
    fn a_verbs_name_takes_precedence_over_a_flag() {
        let verb = verbs().find(|verb| verb.name == "live-gcp").expect("a verb");
        let mut words = ["--image-format", "raw", "-n", "--image-format=vdi", "--image-format", "-v"].map(str::to_owned).to_vec();
        remove_set_flags(verb, &verb_command(verb), &mut words);
        assert_eq!(words, ["-n", "-v"]);
    }
}
