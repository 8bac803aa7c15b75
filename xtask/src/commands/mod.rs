//! What a person can type: one file a verb (or a family that differs in one word), and the table of them all.

pub mod bench;
mod build;
mod bump;
mod clean;
mod completions;
mod conformance;
mod containers;
mod debian;
mod doctor;
mod explain;
mod images;
mod info;
mod inspect;
mod machines;
pub mod make;
mod reference;
mod release;
mod show_tag;
mod sources;
mod test;

use anyhow::Result;
use checkout::context::Ctx;
use child::environment::Environment;
use clap::{ArgMatches, Command};
use knobs::FORMATS;

/// Runs a verb.
type Run = fn(&Ctx, &ArgMatches) -> Result<()>;

/// A verb of the command line.
#[derive(Clone, Copy)]
pub struct Verb {
    /// What is typed.
    pub name: &'static str,
    /// One line of help.
    pub about: &'static str,
    /// Adds the verb's own arguments; knobs are added for all.
    pub arguments: fn(Command) -> Command,
    /// Does it.
    pub run: Run,
    /// Knobs that the verb's name sets: `live-gcp` is `live` with `IMAGE_FORMAT=gcp`.
    pub sets: &'static [(&'static str, &'static str)],
    /// Whether its help lists the knobs of a build.
    pub builds: bool,
    /// For a verb that works without any tree.
    pub without_tree: Option<fn(&ArgMatches, &Environment) -> Result<()>>,
}

fn no_arguments(command: Command) -> Command {
    command
}

const fn verb(name: &'static str, about: &'static str, arguments: fn(Command) -> Command, run: Run) -> Verb {
    Verb { name, about, arguments, run, sets: &[], builds: false, without_tree: None }
}

const fn target(name: &'static str, about: &'static str, run: Run) -> Verb {
    Verb { builds: true, ..verb(name, about, no_arguments, run) }
}

const fn shortcut(name: &'static str, about: &'static str, run: Run, sets: &'static [(&'static str, &'static str)]) -> Verb {
    Verb { sets, ..target(name, about, run) }
}

/// Families of verbs, in the order of the help, each with its heading.
pub const FAMILIES: &[(&str, &[Verb])] = &[
    ("Build", BUILDS),
    ("Run", machines::VERBS),
    ("Know and look after", UPKEEP),
    ("In containers, on a checkout of lf-edge/eve", containers::VERBS),
    ("Releases and keys", release::VERBS),
    ("The old scripts that make and read images", images::VERBS),
    ("The old scripts about sources and tags", sources::VERBS),
];

/// All verbs, in the order of the help.
pub fn verbs() -> impl Iterator<Item = &'static Verb> + Clone {
    FAMILIES.iter().flat_map(|(_, verbs)| verbs.iter())
}

/// What makes artifacts, and what tells of them.
const BUILDS: &[Verb] = &with_formats();

/// The verbs after `live` and its formats.
const OTHER_BUILDS: &[Verb] = &[
    target("installer-raw", "build a disk that installs EVE", build::installer_raw),
    target("installer-iso", "build an ISO that installs EVE", build::installer_iso),
    target("installer-net", "build a tar of what installs EVE over the network", build::installer_net),
    target("verification-raw", "build a disk that installs EVE and checks it", build::verification_raw),
    target("rootfs", "build the root file system", build::rootfs),
    shortcut("rootfs-kvm", "the same for KVM", build::rootfs, &[("HV", "kvm")]),
    shortcut("rootfs-xen", "the same for Xen", build::rootfs, &[("HV", "xen")]),
    shortcut("rootfs-acrn", "the same for ACRN", build::rootfs, &[("HV", "acrn")]),
    target("rootfstar", "build the root file system's tar", build::rootfs_tar),
    target("config", "build config.img from the configuration folder", build::config),
    Verb { builds: true, ..verb("pkg", "build packages, and those that they start from", build::package_arguments, build::packages) },
    target("pkgs", "build all packages", build::all_packages),
    target("eve", "build the image that holds everything", build::eve),
    target("sbom", "list what is in the root file system", build::sbom),
    target("initrd", "take the installer's initrd out of its package", build::initrd),
    target("installer-img", "make the installer's root file system, or take it out of its package", build::installer_img),
    target("installer", "the same, or installer-raw where the tree's Makefile meant that", build::installer),
    target("installertar", "compose the installer's root file system as a tar, where it is one of its own", build::installer_tar),
    target("verification", "take the verification's root file system out of its package", build::verification_img),
    target("kernel", "take the kernel out of its package", build::kernel),
    target("kernel-yml", "make the build.yml of packages that have a template for it", build::kernel_yml),
    target("fullname-rootfs", "build the root file system under its versioned name", build::rootfs),
];

/// What the verb of each format sets.
const FORMAT_KNOBS: [(&str, &str); FORMATS.len()] = {
    let mut knobs = [("IMAGE_FORMAT", ""); FORMATS.len()];
    let mut at = 0;
    while at < FORMATS.len() {
        knobs[at].1 = FORMATS[at].format.as_str();
        at += 1;
    }
    knobs
};

/// `live`, a verb for each of its formats, and the others.
const fn with_formats() -> [Verb; 1 + FORMATS.len() + OTHER_BUILDS.len()] {
    const SETS: &[(&str, &str)] = &FORMAT_KNOBS;
    let live = target("live", "build a disk image that boots: packages, root file system, configuration, disk", build::live);
    let mut verbs = [live; 1 + FORMATS.len() + OTHER_BUILDS.len()];
    let mut at = 0;
    while at < FORMATS.len() {
        let (sets, _) = SETS.split_at(at).1.split_at(1);
        verbs[1 + at] = shortcut(FORMATS[at].verb, FORMATS[at].help, build::live_disk, sets);
        at += 1;
    }
    at = 0;
    while at < OTHER_BUILDS.len() {
        verbs[1 + FORMATS.len() + at] = OTHER_BUILDS[at];
        at += 1;
    }
    verbs
}

/// What looks after the tree, the machine and this program.
const UPKEEP: &[Verb] = &[
    verb("inspect", "show what is in a disk or file system image", inspect::arguments, inspect::run),
    verb("version", "print the version that a build has now", no_arguments, info::version),
    verb("currentversion", "print the version that dist/<arch>/current has", no_arguments, info::current_version),
    verb("current", "point dist/<arch>/current at this version", no_arguments, info::current),
    verb("kernel-tag", "print the image of the kernel", no_arguments, info::kernel_tag),
    verb("show-tag", "print the tags of packages", show_tag::arguments, show_tag::run),
    verb("summary", "print every knob, its value and where that came from", no_arguments, info::summary),
    verb("why", "say for each step of a target why it is due, or that it is not", explain::arguments, explain::why),
    verb("graph", "draw a target's plan in Graphviz's language", explain::arguments, explain::graph),
    verb("doctor", "check this machine's tools, and install what is missing", doctor::arguments, doctor::run),
    verb("pins", "renew the pins of the Debian archive from the mirror", debian::arguments, debian::run),
    verb("bump", "write a package's present tag into the Dockerfiles that start from it", bump::arguments, bump::run),
    verb("test", "run all tests, boots included", test::arguments, test::run),
    verb("bench", "measure against the tools one would use instead", bench::arguments, bench::run),
    verb("conformance", "run the recorded scenarios of lf-edge/eve's Makefile and compare", conformance::arguments, conformance::run),
    verb("clean", "remove dist/, or the old versions in it", clean::arguments, clean::run),
    verb("reference", "write the generated pages of docs/", reference::arguments, reference::run),
    verb("make", "take make's words: goals, VAR=value, -n, -j", make::arguments, make::never),
    Verb { without_tree: Some(completions::run), ..verb("completions", "print a completion script", completions::arguments, make::never) },
];
