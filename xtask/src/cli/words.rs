//! The words of a command line before clap parses them: where the verb is, `VAR=value`, empty flags, and flags that the verb's name
//! overrides.

use super::{globals::Options, verbs};
use crate::commands::Verb;
use clap::{Arg, Args as _, Command};

/// The index of the verb in `words`: after the options and their values.
#[must_use]
pub fn verb_at(words: &[String]) -> usize {
    let options = Options::augment_args(Command::new("options"));
    let mut at = 0;
    while let Some(word) = words.get(at).filter(|word| word.starts_with('-')) {
        let has_value = match word.as_str() {
            "-j" => words.get(at + 1).is_some_and(|next| next.parse::<usize>().is_ok()),
            word => word.strip_prefix("--").is_some_and(|flag| is_with_value(&options, flag)),
        };
        at += 1 + usize::from(has_value);
    }
    at.min(words.len())
}

/// Whether `command` has an option `--FLAG` that takes the next word as its value.
fn is_with_value(command: &Command, flag: &str) -> bool {
    command
        .get_arguments()
        .any(|arg| long_names(arg).any(|long| long == flag) && arg.get_action().takes_values() && !arg.is_require_equals_set())
}

/// The last value of the option `--NAME` in `words` before `--`, for options that we need before clap parses.
#[must_use]
pub fn value_of<'w>(words: &'w [String], name: &str) -> Option<&'w str> {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let option = format!("--{name}");
    let mut found = None;
    for (at, word) in words[..end].iter().enumerate() {
        match word.strip_prefix(&option) {
            Some("") => found = words[..end].get(at + 1).map(String::as_str).or(found),
            Some(value) if value.starts_with('=') => found = Some(&value[1..]),
            _ => {}
        }
    }
    found
}

/// Replaces a `-j` without a number by `-j0` (one step per processor), so that clap does not take the next word as its number.
pub fn close_jobs(words: &mut [String]) {
    for at in 0..words.len() {
        let is_alone = words.get(at + 1).is_none_or(|next| next.parse::<usize>().is_err());
        if words[at] == "-j" && is_alone {
            "-j0".clone_into(&mut words[at]);
        }
    }
}

/// Whether the word after the option `word` may be its value: an option of all verbs, a knob, or an option of some verb.
fn takes_value(word: &str) -> bool {
    let Some(flag) = word.strip_prefix("--") else { return false };
    // First the options of all verbs: there are few, and the others take milliseconds.
    let options = Options::augment_args(Command::new("options"));
    if options.get_arguments().flat_map(long_names).any(|long| long == flag) {
        return is_with_value(&options, flag);
    }
    match knobs::find(flag) {
        Some(knob) => !knob.is_switch(),
        None => verbs().any(|verb| is_with_value(&(verb.arguments)(Command::new(verb.name)), flag)),
    }
}

/// Puts `--` before the first word of a verb that passes its words on, as `ssh COMMAND`, so that none of them is taken for an option or a
/// variable of ours.
#[must_use]
pub fn close_options(words: &[String]) -> Vec<String> {
    let mut words = words.to_vec();
    let verb = verb_at(&words);
    let command =
        words.get(verb).and_then(|name| verbs().find(|verb| verb.name == name)).map(|verb| (verb.arguments)(Command::new(verb.name)));
    let Some(command) = command.filter(|command| command.get_positionals().any(Arg::is_last_set)) else { return words };
    let is_ours = |word: &str| word.split_once('=').is_some_and(|(name, _)| command.get_arguments().any(|arg| arg.get_id() == name));
    let mut at = verb + 1;
    while let Some(word) = words.get(at).filter(|word| word.starts_with('-') || is_ours(word)) {
        if word == "--" {
            return words;
        }
        at += 1 + usize::from(takes_value(word));
    }
    if at < words.len() {
        words.insert(at, "--".to_owned());
    }
    words
}

/// Splits `VAR=value` words, which may stand anywhere before `--`, from the other words.
pub fn split_assignments(words: &[String]) -> (Vec<(String, String)>, Vec<String>) {
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

fn long_names(arg: &Arg) -> impl Iterator<Item = &str> {
    arg.get_long().into_iter().chain(arg.get_all_aliases().unwrap_or_default())
}

/// Removes flags of knobs that the verb's name sets: the name takes precedence.
pub fn remove_set_flags(verb: &Verb, command: &Command, words: &mut Vec<String>) {
    for (name, _) in verb.sets {
        let Some(arg) = command.get_arguments().find(|arg| arg.get_id() == *name) else { continue };
        for long in long_names(arg) {
            let flag = format!("--{long}");
            while let Some(at) = words.iter().position(|word| *word == flag || word.starts_with(&format!("{flag}="))) {
                let has_value = words[at] == flag && words.get(at + 1).is_some_and(|next| !next.starts_with('-'));
                words.drain(at..=at + usize::from(has_value));
            }
        }
    }
}

/// Removes knob flags with an empty value from `words`; returns them as `VAR=`, which means unset.
pub fn take_empty_flags(command: &Command, words: &mut Vec<String>) -> Vec<(String, String)> {
    let (mut empty, mut at) = (Vec::new(), 0);
    while let Some(word) = words.get(at).filter(|word| *word != "--") {
        let is_joined = word.ends_with('=');
        let flag = word.strip_prefix("--").map(|flag| flag.strip_suffix('=').unwrap_or(flag));
        let is_it = |arg: &&Arg| knobs::is_knob(arg) && flag.is_some_and(|flag| long_names(arg).any(|long| long == flag));
        match command.get_arguments().find(is_it) {
            Some(knob) if is_joined || words.get(at + 1).is_some_and(String::is_empty) => {
                empty.push((knob.get_id().to_string(), String::new()));
                words.drain(at..=at + usize::from(!is_joined));
            }
            // The next word is the value, even if it looks like a flag.
            Some(knob) if knob.is_allow_hyphen_values_set() => at += 2,
            _ => at += 1,
        }
    }
    empty
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{verb_command, verbs};

    #[test]
    fn assignments_are_split_from_words() {
        let words = "pkg HV=xen --until=x a=b A_1=2 --until B=1 --tpm HVV=x -- HV=kvm".split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (assignments, rest) = split_assignments(&words);
        assert_eq!(assignments, [("HV", "xen"), ("A_1", "2"), ("HVV", "x")].map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(rest.join(" "), "pkg --until=x a=b --until B=1 --tpm -- HV=kvm");
    }

    #[test]
    fn the_words_that_a_verb_passes_on_are_not_ours() {
        for (words, wanted) in [
            ("ssh tail -n 2 A=b", "ssh -- tail -n 2 A=b"),
            ("-v ssh -n --name two SSH_KEY=k HV=xen env", "-v ssh -n --name two SSH_KEY=k -- HV=xen env"),
            ("ssh --name=two -- ls -l", "ssh --name=two -- ls -l"),
            ("ssh --name two", "ssh --name two"),
            ("log debug -n", "log debug -n"),
        ] {
            assert_eq!(close_options(&words.split(' ').map(str::to_owned).collect::<Vec<_>>()).join(" "), wanted);
        }
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
