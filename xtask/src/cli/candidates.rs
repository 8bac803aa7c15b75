//! What may stand at the end of an unfinished command line: verbs, options, knobs, and the values that the tree has for them.

use super::{context, globals::Options, idle, make, verb_command, verbs, words::verb_at};
use crate::commands::{Action, Verb, bench};
use child::environment::Environment;
use clap::{Arg, ArgAction, Args as _, Command};
use pkgbuild::dockerfile::Dockerfile;
use plan::{Dist, Profile};
use std::path::{Path, PathBuf};
use vm::Machines;

/// A word, and what it means.
#[derive(Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The whole word.
    pub text: String,
    /// Its help; empty if the word says all.
    pub help: String,
}

/// The words that arguments take, besides files and free text.
#[derive(Clone, Copy)]
enum Kind {
    Packages,
    Machines,
    /// Packages, and the stages of their Dockerfiles.
    Stages,
    /// Verbs that build something.
    Targets,
    /// Readers that are fuzzed.
    FuzzTargets,
    Benchmarks,
    /// None of these.
    Files,
}

/// The arguments of verbs that take such words: the verb (empty: any), the argument's value name, what it takes.
const KINDS: &[(&str, &str, Kind)] = &[
    ("pkg", "NAME", Kind::Packages),
    ("show-tag", "NAME", Kind::Packages),
    ("bump", "NAME[=TAG]", Kind::Packages),
    ("verify", "NAME", Kind::Packages),
    ("pins", "NAME", Kind::Files),
    ("pins", "PACKAGE", Kind::Files),
    ("oldimages", "NAME", Kind::Packages),
    ("build-tools", "NAME", Kind::Files),
    ("bench", "NAME", Kind::Benchmarks),
    ("fuzz", "TARGET", Kind::FuzzTargets),
    ("", "TARGET", Kind::Targets),
    ("", "NAME", Kind::Machines),
    ("", "PKG", Kind::Packages),
    ("", "PACKAGE", Kind::Packages),
    ("shell", "PACKAGE[:STAGE[:LINE]]", Kind::Stages),
];

/// The tree in which the words are typed.
struct Tree {
    root: PathBuf,
    profile: Profile,
}

/// What may stand in the place of the last of `words`, which begin after `cargo xtask`. Empty where only files or free text may.
#[must_use]
pub fn candidates(words: &[String], environment: &Environment) -> Vec<Candidate> {
    let Some((last, before)) = words.split_last() else { return Vec::new() };
    let root = super::words::value_of(before, "root").map(Path::new);
    let tree = context::find_root(root, environment).ok().and_then(|root| {
        let profile = checkout::read_profile(&root).ok()?;
        Some(Tree { root, profile })
    });
    let at = verb_at(before);
    let found = match before.get(at).map(String::as_str) {
        None => first_words(before, last, tree.as_ref()),
        Some("make") => goals(last, tree.as_ref()),
        Some("help") => all_verbs(tree.as_ref()),
        Some(name) => {
            let old = make::modern(name, false);
            let verb = verbs().find(|verb| Some(verb.name) == old.first().map(String::as_str));
            verb.map(|verb| of_verb(verb, &before[at + 1..], last, tree.as_ref())).unwrap_or_default()
        }
    };
    found.into_iter().filter(|candidate| candidate.text.starts_with(last.as_str())).collect()
}

fn plain(text: impl Into<String>) -> Candidate {
    Candidate { text: text.into(), help: String::new() }
}

/// Before the verb: options and verbs.
fn first_words(before: &[String], last: &str, tree: Option<&Tree>) -> Vec<Candidate> {
    let options = Options::augment_args(Command::new("options"));
    if let Some(arg) = pending(&options, before) {
        return values(arg, "", last, tree).unwrap_or_default();
    }
    if last.starts_with('-') { flags(&options) } else { all_verbs(tree) }
}

fn all_verbs(tree: Option<&Tree>) -> Vec<Candidate> {
    let has_work = |verb: &&Verb| {
        tree.is_none_or(|tree| {
            let can = plan::Capabilities::of(&tree.profile, context::engine(&Options::default(), &tree.profile));
            verb.pointless(&tree.profile, can).is_none()
        })
    };
    verbs().filter(has_work).map(|verb| Candidate { text: verb.name.to_owned(), help: verb.about.to_owned() }).collect()
}

/// The goals and variables of a make command line.
fn goals(last: &str, tree: Option<&Tree>) -> Vec<Candidate> {
    if let Some((name, value)) = last.split_once('=') {
        return assigned(name, value, tree);
    }
    let packages = || tree.map(packages).unwrap_or_default();
    if let Some(("pkg", _)) = last.split_once('/') {
        return packages().into_iter().map(|name| plain(format!("pkg/{name}"))).collect();
    }
    let mut found = all_verbs(tree);
    found.extend(make::old_names().filter(|name| !name.starts_with('-')).map(plain));
    found.extend(packages().into_iter().map(|name| plain(format!("{name}-show-tag"))));
    found.extend(knobs::all().iter().map(|knob| Candidate { text: format!("{}=", knob.name), help: knob.help.clone() }));
    found
}

/// Behind a verb: its options, the values of options, knobs, and its own words.
fn of_verb(verb: &Verb, before: &[String], last: &str, tree: Option<&Tree>) -> Vec<Candidate> {
    let mut command = verb_command(verb);
    if let Some(tree) = tree {
        command = idle::hide(command, verb, &tree.profile, context::engine(&Options::default(), &tree.profile));
    }
    if let Some(arg) = pending(&command, before) {
        return values(arg, verb.name, last, tree).unwrap_or_default();
    }
    if let Some((flag, value)) = last.split_once('=').filter(|_| last.starts_with("--")) {
        let arg = command.get_arguments().find(|arg| arg.get_long() == flag.strip_prefix("--"));
        let values = arg.map(|arg| values(arg, verb.name, value, tree).unwrap_or_else(|| files(arg, value))).unwrap_or_default();
        return values.into_iter().map(|value| plain(format!("{flag}={}", value.text))).collect();
    }
    if last.starts_with('-') {
        return flags(&command);
    }
    if let Some((name, value)) = last.split_once('=') {
        return assigned(name, value, tree);
    }
    let own = command.get_positionals().find_map(|arg| values(arg, verb.name, last, tree));
    let has_own = own.is_some();
    let mut found = own.unwrap_or_default();
    // Where files may stand, knobs are offered once they have begun.
    if has_own || command.get_positionals().next().is_none() || last.starts_with(|c: char| c.is_ascii_uppercase()) {
        let shown = command.get_arguments().filter(|arg| knobs::is_knob(arg) && !arg.is_hide_set());
        found.extend(shown.map(|arg| Candidate { text: format!("{}=", arg.get_id()), help: help(arg) }));
    }
    found
}

/// The option that the next word is the value of.
fn pending<'c>(command: &'c Command, before: &[String]) -> Option<&'c Arg> {
    let last = before.last()?;
    let is_it = |arg: &&Arg| {
        arg.get_long().is_some_and(|long| last.strip_prefix("--") == Some(long))
            || arg.get_short().is_some_and(|short| *last == format!("-{short}"))
    };
    let takes_next = |arg: &&Arg| {
        matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) && !arg.is_require_equals_set() && arg.get_id() != "jobs"
    };
    command.get_arguments().find(|arg| is_it(arg) && takes_next(arg))
}

fn help(arg: &Arg) -> String {
    arg.get_help().map(ToString::to_string).unwrap_or_default()
}

fn flags(command: &Command) -> Vec<Candidate> {
    let of_all = Options::augment_args(Command::new("options"));
    let is_of_all = |arg: &Arg| of_all.get_arguments().any(|option| option.get_id() == arg.get_id());
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set() || is_of_all(arg));
    let mut flags: Vec<Candidate> =
        shown.filter_map(|arg| Some(Candidate { text: format!("--{}", arg.get_long()?), help: help(arg) })).collect();
    flags.push(Candidate { text: "--help".to_owned(), help: "show the help".to_owned() });
    flags
}

/// The values of a knob, as `NAME=value`; `typed` is the beginning of the value.
fn assigned(name: &str, typed: &str, tree: Option<&Tree>) -> Vec<Candidate> {
    let all = knobs::AllKnobs::augment_args(Command::new("knobs"));
    let aliases = |arg: &Arg| arg.get_all_aliases().unwrap_or_default().contains(&name);
    let arg = all.get_arguments().find(|arg| arg.get_id() == name || aliases(arg));
    let values = arg.map(|arg| values(arg, "", typed, tree).unwrap_or_else(|| files(arg, typed))).unwrap_or_default();
    values.into_iter().map(|value| plain(format!("{name}={}", value.text))).collect()
}

/// The files and folders that begin with `typed`, for an argument that takes one: behind an equals sign most shells look for none.
fn files(arg: &Arg, typed: &str) -> Vec<Candidate> {
    let takes_file = arg.get_value_names().unwrap_or_default().iter().any(|name| ["PATH", "FILE", "DIR"].contains(&name.as_str()));
    let folder = typed.rfind('/').map_or("", |at| &typed[..=at]);
    let entries = std::fs::read_dir(if folder.is_empty() { "." } else { folder }).into_iter().flatten().flatten();
    let entries = entries.filter(|_| takes_file).filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let end = if entry.path().is_dir() { "/" } else { "" };
        // Hidden ones only if they are asked for.
        let is_shown = !name.starts_with('.') || typed[folder.len()..].starts_with('.');
        is_shown.then(|| format!("{folder}{name}{end}"))
    });
    let mut found: Vec<String> = entries.collect();
    found.sort();
    found.into_iter().map(plain).collect()
}

/// The words that an argument of `verb` takes; none if it takes files or free text. `typed` is the beginning of the word.
fn values(arg: &Arg, verb: &str, typed: &str, tree: Option<&Tree>) -> Option<Vec<Candidate>> {
    let words = arg.get_possible_values();
    if !words.is_empty() {
        let of = |word: &clap::builder::PossibleValue| plain(word.get_name());
        return Some(words.iter().filter(|word| !word.is_hide_set()).map(of).collect());
    }
    if knobs::find(arg.get_id().as_str()).is_some_and(knobs::Knob::is_switch) {
        return Some(["y", "n"].map(plain).into());
    }
    let tree = tree?;
    if arg.get_id() == "HV" {
        return Some(tree.profile.tree.hypervisors.iter().map(plain).collect());
    }
    let name = arg.get_value_names().and_then(<[_]>::first).map(ToString::to_string).unwrap_or_default();
    let (.., kind) = KINDS.iter().find(|(of, value, _)| (of.is_empty() || *of == verb) && *value == name)?;
    Some(match kind {
        Kind::Files => return None,
        Kind::Packages => packages(tree).into_iter().map(plain).collect(),
        Kind::Stages => stages(tree, typed),
        Kind::FuzzTargets => folders(&tree.root.join("tools/fuzz/corpus")).into_iter().map(plain).collect(),
        Kind::Machines => {
            Machines::at(Dist::of(&tree.root).machines()).running().ok()?.into_iter().map(|record| plain(record.name)).collect()
        }
        Kind::Targets => {
            let targets = verbs().filter(|verb| matches!(verb.action, Action::Builds(_)));
            let targets = targets.map(|verb| Candidate { text: verb.name.to_owned(), help: verb.about.to_owned() });
            targets.chain(packages(tree).into_iter().map(|name| plain(format!("pkg/{name}")))).collect()
        }
        Kind::Benchmarks => bench::names().map(plain).collect(),
    })
}

/// The packages; behind `NAME:` the stages of its Dockerfile.
fn stages(tree: &Tree, typed: &str) -> Vec<Candidate> {
    let Some((name, _)) = typed.split_once(':') else { return packages(tree).into_iter().map(plain).collect() };
    let path = tree.profile.packages.folder.join(name).join("Dockerfile");
    let file = std::fs::read_to_string(&path).ok().and_then(|text| Dockerfile::parse(&text, name).ok());
    let names = file.into_iter().flat_map(|file| file.stages).filter_map(|stage| stage.name);
    names.map(|stage| plain(format!("{name}:{stage}"))).collect()
}

/// The names of the folders in `folder`.
fn folders(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The folders with a build.yml or its template, as in `Checkout::package_names`.
fn packages(tree: &Tree) -> Vec<String> {
    let entries = std::fs::read_dir(&tree.profile.packages.folder).into_iter().flatten().flatten();
    let is_package = |path: &Path| ["build.yml", "build.yml.in"].iter().any(|yml| path.join(yml).is_file());
    let mut names: Vec<String> =
        entries.filter(|entry| is_package(&entry.path())).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}
