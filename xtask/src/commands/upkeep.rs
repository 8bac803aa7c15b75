//! The verbs that look after the tree, the machine and this program.

use super::{
    Verb,
    bench::Bench,
    bump::Bump,
    clean::Clean,
    conformance::Conformance,
    debian::Pins,
    doctor::Doctor,
    explain::{Graph, Why},
    info::{Current, CurrentVersion, KernelTag, Summary, Version},
    inspect::Inspect,
    show_tag::ShowTag,
    test::Test,
    verb,
};

/// The verbs of this family.
pub const VERBS: &[Verb] = &[
    verb::<Inspect>("inspect", "show what is in a disk or file system image"),
    verb::<Version>("version", "print the version that a build has now"),
    verb::<CurrentVersion>("currentversion", "print the version that dist/<arch>/current has"),
    verb::<Current>("current", "point dist/<arch>/current at this version"),
    verb::<KernelTag>("kernel-tag", "print the image of the kernel"),
    verb::<ShowTag>("show-tag", "print the tags of packages"),
    verb::<Summary>("summary", "print every knob, its value and where that came from"),
    verb::<Why>("why", "say for each step of a target why it is due, or that it is not"),
    verb::<Graph>("graph", "draw a target's plan in Graphviz's language"),
    verb::<Doctor>("doctor", "check this machine's tools, and install what is missing"),
    verb::<Pins>("pins", "renew the pins of the Debian archive from the mirror"),
    verb::<Bump>("bump", "write a package's present tag into every Dockerfile that starts from it"),
    verb::<Test>("test", "run all tests, boots included"),
    verb::<Bench>("bench", "measure against the tools that a user would pick instead"),
    verb::<Conformance>("conformance", "run the recorded scenarios of lf-edge/eve's Makefile and compare"),
    verb::<Clean>("clean", "remove dist/, or the old versions in it"),
];
