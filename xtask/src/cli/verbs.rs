//! The table of all verbs.

use super::{completions::Completions, make::Make, reference::Reference};
use crate::commands::{Verb, anywhere, build, containers, images, machines, release, sources, upkeep, verb};

/// Families of verbs, in the order of the help, each with its heading.
pub const FAMILIES: &[(&str, &[&[Verb]])] = &[
    ("Build", &[build::VERBS]),
    ("Run", &[machines::VERBS]),
    ("Know and look after", &[upkeep::VERBS, OWN]),
    ("In containers, on a checkout of lf-edge/eve", &[containers::VERBS]),
    ("Releases and keys", &[release::VERBS]),
    ("The old scripts that make and read images", &[images::VERBS]),
    ("The old scripts about sources and tags", &[sources::VERBS]),
];

/// What belongs to the command line itself.
const OWN: &[Verb] = &[
    verb::<Reference>("reference", "write the generated pages of docs/"),
    anywhere::<Make>("make", "take make's words: goals, VAR=value, -n, -j"),
    anywhere::<Completions>("completions", "print a completion script"),
];

/// All verbs, in the order of the help.
pub fn verbs() -> impl Iterator<Item = &'static Verb> + Clone {
    FAMILIES.iter().flat_map(|(_, lists)| lists.iter()).flat_map(|list| list.iter())
}
