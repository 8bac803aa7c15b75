//! Parses the command line (options, a verb, its arguments, and knobs as flags or `VAR=value` words) and runs the verb.

mod candidates;
mod completions;
mod context;
mod globals;
mod help;
mod idle;
mod local;
pub mod make;
mod man;
mod reference;
mod refuse;
mod targets;
mod verbs;
mod words;

pub use verbs::verbs;

use crate::commands::{Action, Verb};
use anyhow::Result;
use checkout::Ahead;
use child::environment::Environment;
use clap::Command;
use globals::{OnFailure, Options, add};
use knobs::{Knobs, RawKnobs, Source};
use std::{io::IsTerminal as _, path::Path, time::Instant};
use words::{close_jobs, close_options, remove_set_flags, split_assignments, take_empty_flags, value_of, verb_at};

/// The command that starts xtask.
const NAME: &str = "cargo xtask";

/// Runs the command line `words`, without the program's name.
pub fn run(words: &[String], environment: &Environment) -> Result<()> {
    if let Some(at) = words.iter().position(|word| word == "make") {
        let (assignments, before) = split_assignments(&words[..at]);
        // Not the folder of `--root make`.
        if verb_at(&[&before[..], &words[at..=at]].concat()) == before.len() {
            let assigned = assignments.iter().map(|(name, value)| format!("{name}={value}"));
            let after: Vec<String> = words[at + 1..].iter().cloned().chain(assigned).collect();
            return make::run(&before, &after, environment);
        }
    }
    run_line(words, environment, true)
}

/// Runs one verb. With `notes`, prints a note for each `VAR=value` that the verb does not use; make prints none.
fn run_line(words: &[String], environment: &Environment, notes: bool) -> Result<()> {
    let (mut assignments, words) = split_assignments(&close_options(words));
    let mut words = make::expand_old_name(help::asks_for_help(words));
    close_jobs(&mut words);
    let mut rest = words.split_off(verb_at(&words));
    let before = words;
    take_tree_target(&before, &mut rest, &mut assignments, environment);
    let is_help = |word: &String| word == "--help" || word == "-h";
    if before.iter().any(is_help) || before.is_empty() && rest.is_empty() && assignments.is_empty() {
        let others: Vec<String> = before.iter().filter(|word| !is_help(word) && *word != "--all").cloned().collect();
        parse_options(&others)?;
        help::print_overview(profile_of(&before, environment).ok().as_ref(), before.iter().any(|word| word == "--all"));
        return Ok(());
    }
    let options = parse_options(&before)?;
    if rest.is_empty() {
        return Err(common::error::usage(
            "a target or command is missing\nhint: `cargo xtask help` lists those of most days, `cargo xtask help --all` all",
        ));
    }
    let name = rest.remove(0);
    let verb = verbs().find(|verb| verb.name == name).ok_or_else(|| refuse::unknown_verb(&name))?;
    if let Action::Anywhere(run) = verb.action {
        if let Some((name, _)) = assignments.first() {
            return Err(common::error::usage(format!("`{name}=…`: `{}` takes no knobs\nhint: {NAME} {0} --help", verb.name)));
        }
        let command = verb_command(verb);
        if options.json && command.get_arguments().any(|arg| arg.get_id() == "json") && !rest.iter().any(|word| word == "--json") {
            rest.insert(0, "--json".to_owned());
        }
        let matches = match command.clone().try_get_matches_from(named(verb, rest)) {
            Ok(matches) => matches,
            Err(error) => return help::show_or_refuse(&error, verb, &command, &RawKnobs::default()),
        };
        return run.run(environment, &matches);
    }
    run_on_tree(verb, options, rest, &assignments, environment, notes)
}

/// Makes `semgrep A=1` of a tree whose profile has this target `target semgrep --set A=1`. Knobs that the target does not read stay knobs.
fn take_tree_target(before: &[String], rest: &mut Vec<String>, assignments: &mut Vec<(String, String)>, environment: &Environment) {
    let Some(first) = rest.first().filter(|first| verbs().all(|verb| verb.name != **first) || *first == TREE_TARGET) else { return };
    let Ok(profile) = profile_of(before, environment) else { return };
    if first != TREE_TARGET {
        if profile.target(first).is_none() {
            return;
        }
        rest.insert(0, TREE_TARGET.to_owned());
    }
    let Some((row, _)) = rest.get(1).and_then(|name| profile.target(name)) else { return };
    let (own, knobs) = std::mem::take(assignments)
        .into_iter()
        .partition(|(name, _)| row.variables.contains_key(name) || row.any_variable && knobs::find(name).is_none());
    *assignments = knobs;
    let own: Vec<(String, String)> = own;
    rest.extend(own.into_iter().map(|(name, value)| format!("--set={name}={value}")));
}

/// The verb that runs targets of a tree's profile.
pub(super) const TREE_TARGET: &str = "target";

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
        let root = context::find_root(late_root.or(options.root.as_deref()), environment);
        let command = match root.and_then(|root| checkout::read_profile(&root)) {
            Ok(profile) => idle::hide(command, verb, &profile, context::engine(&options, &profile)),
            Err(_) => command,
        };
        let error = command.clone().try_get_matches_from([verb.name, "--help"]).err();
        return error.map_or(Ok(()), |error| help::show_or_refuse(&error, verb, &command, &RawKnobs::default()));
    }
    let root = context::find_root(late_root.or(options.root.as_deref()), environment)?;
    // Nothing is written before such a verb reads the tree.
    let ahead = if matches!(verb.action, Action::Builds(_)) { Ahead::begin(&root, environment) } else { Ahead::default() };
    let profile = checkout::read_profile(&root)?;
    remove_set_flags(verb, &command, &mut rest);
    let assignments = &[assignments, &take_empty_flags(&command, &mut rest)].concat();
    let raw = gather(verb, &rest, assignments, environment, &profile, &root)?;
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
    let on_failure = OnFailure::of(verb, &matches)?;
    let ctx = context::build(options, on_failure, knobs, profile, root, environment, ahead)?;
    idle::note(&ctx, verb);
    let since = Instant::now();
    let outcome = verb.run(&ctx, &matches);
    let is_long = ctx.knobs.host.bell.is_some_and(|seconds| since.elapsed().as_secs() >= seconds);
    if is_long && verb.builds && !ctx.globals.dry_run && std::io::stderr().is_terminal() {
        eprint!("\x07");
    }
    outcome
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
        _ => {
            let command = command.args_override_self(true);
            let command = if verb.packages { add::<OnFailure>(command, false) } else { command };
            add::<Options>(add::<Knobs>(command, !verb.builds), true)
        }
    }
}

/// Collects all set knobs; `set` keeps an earlier value, so those with precedence come first.
fn gather(
    verb: &Verb,
    rest: &[String],
    assignments: &[(String, String)],
    environment: &Environment,
    profile: &plan::Profile,
    root: &Path,
) -> Result<RawKnobs> {
    let mut raw = RawKnobs::default();
    for (name, value) in verb.sets {
        raw.set(name, value, Source::Target)?;
    }
    for (name, value) in assignments {
        raw.set(name, value, Source::Command)?;
    }
    for name in raw.set_from_environment(&|name| environment.get_raw(name))? {
        eprintln!("note: {name} in the environment is neither y nor n, and seems meant for another program: it is left out");
    }
    let local = local::read(root, environment, &profile.tree.hypervisors)?;
    local.set_plain(&mut raw)?;
    let hv = value_of(rest, "hv").or(raw.hypervisor()).unwrap_or("kvm").to_owned();
    local.set_by_hypervisor(&mut raw, &hv)?;
    for (name, value) in &profile.knobs {
        let keys = value.by_hypervisor().map(|values| values.keys().map(String::as_str).collect::<Vec<_>>());
        let said = local::check(name, keys.as_deref(), &profile.tree.hypervisors);
        let said = said.and_then(|()| value.to_text(&hv).map_or(Ok(()), |value| raw.set(name, &value, Source::File)));
        said.map_err(|error| common::error::usage(format!("[knobs] in {}: {error:#}", plan::PROFILE)))?;
    }
    Ok(raw)
}

fn note_unused(verb: &Verb, command: &Command, assignments: &[(String, String)]) {
    for (name, _) in assignments {
        let known = knobs::find(name).map_or(name.as_str(), |knob| knob.name.as_str());
        if command.get_arguments().all(|arg| arg.get_id() != known) {
            eprintln!("note: `{}` does not use {name}", verb.name);
        }
    }
}

/// The profile of the tree that `options` (the words before the verb) name.
fn profile_of(options: &[String], environment: &Environment) -> Result<plan::Profile> {
    checkout::read_profile(&context::find_root(value_of(options, "root").map(Path::new), environment)?)
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
}
