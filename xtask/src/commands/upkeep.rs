//! The verbs that print facts about the tree, and that check or clean up the tree, this machine and xtask itself.

use super::{
    Run, Verb, anywhere, attest, bench, bump, ci, clean, conformance, coverage, debian, delta, diff, doctor, eve_image, explain, fuzz,
    info, inspect, keys, lint, lock, mutants, new, pcrs, report, shell, show_tag, sign, simple, size, test, verb, verify,
};

/// The verbs of this family.
pub const VERBS: &[Verb] = &[
    anywhere("inspect", "show what an image is, list, print or extract what is in it", &Run(inspect::run)),
    verb("size", "show what a root file system is made of, by package and by folder", &Run(size::run)),
    verb("report", "write one HTML file: the plan, where the time went, the image by size, what changed, the packages", &Run(report::run)),
    verb("diff", "show what changed between two images, versions or commits", &Run(diff::run)),
    anywhere("delta", "write the difference of two images to a file, or apply it", &Run(delta::run)),
    verb("eve-image", "make an artifact from the image lfedge/eve without docker", &Run(eve_image::run)),
    simple("version", "print the version that a build would have now", info::print_version),
    simple("currentversion", "print the version that dist/<arch>/current points to", info::print_current_version),
    simple("current", "point dist/<arch>/current at this version", info::link_current),
    simple("kernel-tag", "print the image of the kernel", info::print_kernel_tag),
    verb("show-tag", "print the tags of packages", &Run(show_tag::run)),
    verb("summary", "print every knob, its value and where the value comes from", &Run(info::print_summary)),
    verb("why", "print for each step of a target whether it is due, and why", &Run(explain::explain)),
    verb("graph", "print a target's plan as a graph, for Graphviz or as SVG", &Run(explain::draw)),
    verb("doctor", "check which tools this machine has, and install missing ones", &Run(doctor::run)),
    verb("new", "make a package from a template, in C, Rust, Go or as a script", &Run(new::run)),
    verb("pins", "renew the pins of the Debian archives from the mirror", &Run(debian::run)),
    verb("bump", "write the new tags of packages into every file that names them, to the end of the chain", &Run(bump::run)),
    verb("verify", "build packages or an attested artifact again, and compare", &Run(verify::run)),
    verb("attest", "build a target and write, beside each artifact, from what it was made (in-toto, SLSA)", &Run(attest::run)).building(),
    verb("lock", "build a target and write the signed list of its digests, for --locked", &Run(lock::run)).building(),
    verb("keys", "make the keys of Secure Boot: PK, KEK and db, and what enrols them in a firmware", &Run(keys::run)),
    verb("sign", "sign an EFI program for Secure Boot, or a rootfs.img for machines that update themselves", &Run(sign::run)),
    verb("pcrs", "say which values the PCRs of a TPM will have after a boot, and compare an event log with that", &Run(pcrs::run)),
    verb(
        "shell",
        "open a shell in a package's build, where a RUN failed or after the last; in lf-edge/eve, in the Go builder",
        &Run(shell::run),
    ),
    verb("ci", "check what a change touches, as the project's CI does, and print a table", &Run(ci::run)),
    simple("lint", "check shell scripts, Dockerfiles, ymls and the form of Rust code", lint::run),
    verb("test", "run all tests, boots included", &Run(test::run)),
    verb("fuzz", "feed damaged input to every reader of bytes from outside", &Run(fuzz::run)),
    verb("mutants", "change the code bit by bit and see whether the tests notice (cargo-mutants)", &Run(mutants::run)),
    verb("bench", "measure xtask against the usual tools", &Run(bench::run)),
    verb("conformance", "run the recorded scenarios of lf-edge/eve's Makefile and compare", &Run(conformance::run)),
    verb("merge-coverage", "merge coverage profiles of Go into one, for `coverage-merge` of lf-edge/eve", &Run(coverage::run)),
    verb("clean", "remove what was built for ZARCH below dist/, or the old versions of it", &Run(clean::run)),
];
