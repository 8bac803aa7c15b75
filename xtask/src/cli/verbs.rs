//! The table of all verbs.

use super::{completions, make, man, reference};
use crate::commands::{Run, Verb, anywhere, build, containers, images, machines, release, sources, upkeep, verb};

/// The families of verbs in the order of the help, each with its heading.
pub const FAMILIES: &[(&str, &[&[Verb]])] = &[
    ("Build", build::VERBS),
    ("Run", &[machines::VERBS]),
    ("Inspect and maintain", &[upkeep::VERBS, OWN]),
    ("With containers, in a checkout of lf-edge/eve", &[containers::VERBS]),
    ("Make releases and keys", &[release::VERBS]),
    ("Old helper scripts: make and read images", &[images::VERBS]),
    ("Old helper scripts: sources and tags", &[sources::VERBS]),
];

/// The verbs about the command line itself.
const OWN: &[Verb] = &[
    verb("reference", "write the generated pages of docs/reference", &Run(reference::run)),
    anywhere("make", "run the targets of a make command line: goals, VAR=value, -n, -j", &Run(make::run_words)),
    anywhere("completions", "print a completion script for bash, zsh or fish", &Run(completions::run)),
    anywhere("man", "print the manual page of a verb, or write all pages into a folder", &Run(man::run)),
];

/// All verbs, in the order of the help.
pub fn verbs() -> impl Iterator<Item = &'static Verb> + Clone {
    FAMILIES.iter().flat_map(|(_, lists)| lists.iter()).flat_map(|list| list.iter())
}
