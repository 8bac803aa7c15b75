//! Turns clap's errors into ours: what is wrong, and a hint what to type.

use super::{NAME, make, verbs};
use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};
use common::error::{did_you_mean, usage};
use knobs::RawKnobs;

/// The error for a word that is neither a verb nor an old target.
pub fn unknown_verb(word: &str) -> anyhow::Error {
    let names = verbs().map(|verb| verb.name).chain(make::old_names());
    let hint = did_you_mean(word, names)
        .map_or_else(|| "`cargo xtask help --all` lists all commands".to_owned(), |near| format!("did you mean `{near}`?"));
    usage(format!("there is no target or command `{word}`\nhint: {hint}"))
}

/// Our error for clap's `error` in the words of `line` (`cargo xtask live`), parsed by `command` with the knobs of `raw`.
pub fn refuse(error: &clap::Error, line: &str, command: &Command, raw: &RawKnobs) -> anyhow::Error {
    let word = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(word)) => word.clone(),
        Some(ContextValue::Strings(words)) => words.join(" "),
        _ => String::new(),
    };
    match error.kind() {
        ErrorKind::UnknownArgument if !word.is_empty() => unknown_argument(&word, line, command),
        ErrorKind::MissingRequiredArgument if !word.is_empty() => usage(format!("`{line}` needs {word}\nhint: {line} --help")),
        _ => knobs::refuse(error, command, raw),
    }
}

fn unknown_argument(word: &str, line: &str, command: &Command) -> anyhow::Error {
    if !word.starts_with('-') {
        return usage(format!("`{line}` takes no argument `{word}`\nhint: {}", hint_for_word(word, line)));
    }
    let typed = word.split('=').next().unwrap_or(word).trim_start_matches('-');
    if typed == "locked" {
        return usage(format!(
            "`{line}` has no option `--locked`\nhint: leave it away: a pinned package that no mirror has is always an error"
        ));
    }
    let flags = command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(clap::Arg::get_long);
    if let Some(near) = did_you_mean(typed, flags) {
        return usage(format!("`{line}` has no option `{word}`\nhint: did you mean --{near}?"));
    }
    if line == NAME && knobs::find(typed).is_some() {
        return usage(format!("`{line}` has no option `{word}`\nhint: knobs stand after the verb: `{line} VERB {word} …`"));
    }
    let users: Vec<&str> = match knobs::find(typed) {
        None => Vec::new(),
        Some(knob) => {
            let uses = |verb: &&crate::commands::Verb| {
                (verb.arguments)(Command::new("verb")).get_arguments().any(|arg| arg.get_id().as_str() == knob.name)
            };
            verbs().filter(uses).map(|verb| verb.name).take(4).collect()
        }
    };
    let hint = if users.is_empty() { format!("{line} --help") } else { format!("it is an option of {}", users.join(", ")) };
    usage(format!("`{line}` has no option `{word}`\nhint: {hint}"))
}

/// What was meant by a word behind a verb that takes none: a knob in other letters, or another target, as behind make.
fn hint_for_word(word: &str, line: &str) -> String {
    let assigned = word.split_once('=').and_then(|(name, value)| Some((knobs::find(&name.to_uppercase())?, value)));
    let verb = line.strip_prefix(NAME).unwrap_or(line).trim();
    match assigned {
        Some((knob, value)) => format!("did you mean {}={value}?", knob.name),
        None if verbs().any(|verb| verb.name == word) || make::old_names().any(|name| name == word) => {
            format!("`{NAME} make {verb} {word}` makes both; or one command for each")
        }
        None => format!("{line} --help"),
    }
}
