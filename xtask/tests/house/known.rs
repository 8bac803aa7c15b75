//! Where the tree breaks a rule of the house today. These lists may only become shorter: a rule's test fails when an entry grows, and when
//! one is no longer needed.

/// Files with too many lines.
pub const LONG_FILES: &[(&str, usize)] = &[("tools/child/src/process.rs", 543), ("tools/plan/src/lib.rs", 517)];

/// Functions with too many lines.
pub const LONG_FUNCTIONS: &[(&str, usize)] = &[];

/// Files that ask for knobs or arguments by strings, and how often.
pub const BY_STRING: &[(&str, usize)] = &[
    ("tools/checkout/src/lib.rs", 3),
    ("tools/linuxkit/src/lib.rs", 3),
    ("tools/plan/src/targets/disks.rs", 4),
    ("tools/plan/src/targets/eve.rs", 2),
    ("tools/plan/src/targets/packages.rs", 4),
    ("tools/plan/src/targets/rootfs.rs", 5),
    ("xtask/src/cli.rs", 11),
    ("xtask/src/commands/bench.rs", 4),
    ("xtask/src/commands/build.rs", 4),
    ("xtask/src/commands/bump.rs", 3),
    ("xtask/src/commands/clean.rs", 2),
    ("xtask/src/commands/conformance.rs", 3),
    ("xtask/src/commands/containers/cache.rs", 5),
    ("xtask/src/commands/containers/go.rs", 5),
    ("xtask/src/commands/debian.rs", 3),
    ("xtask/src/commands/doctor.rs", 2),
    ("xtask/src/commands/explain.rs", 1),
    ("xtask/src/commands/images/adam.rs", 1),
    ("xtask/src/commands/images/config.rs", 1),
    ("xtask/src/commands/images/disk.rs", 2),
    ("xtask/src/commands/images/extract.rs", 1),
    ("xtask/src/commands/images/installer.rs", 1),
    ("xtask/src/commands/images/mod.rs", 1),
    ("xtask/src/commands/images/rootfs.rs", 3),
    ("xtask/src/commands/images/single_use.rs", 1),
    ("xtask/src/commands/images/stick.rs", 5),
    ("xtask/src/commands/inspect.rs", 1),
    ("xtask/src/commands/machines/build_vm.rs", 1),
    ("xtask/src/commands/machines/gcp.rs", 6),
    ("xtask/src/commands/machines/live.rs", 2),
    ("xtask/src/commands/machines/machine.rs", 9),
    ("xtask/src/commands/machines/parallels.rs", 4),
    ("xtask/src/commands/machines/proxy.rs", 4),
    ("xtask/src/commands/machines/virtualbox.rs", 4),
    ("xtask/src/commands/reference.rs", 1),
    ("xtask/src/commands/release/release.rs", 1),
    ("xtask/src/commands/release/ssh_key.rs", 1),
    ("xtask/src/commands/show_tag.rs", 1),
    ("xtask/src/commands/sources/alpine.rs", 4),
    ("xtask/src/commands/sources/collect.rs", 1),
    ("xtask/src/commands/sources/compose_image_yml.rs", 1),
    ("xtask/src/commands/sources/go_modules.rs", 1),
    ("xtask/src/commands/sources/go_pseudo_version.rs", 1),
    ("xtask/src/commands/sources/go_sum.rs", 3),
    ("xtask/src/commands/sources/image_version.rs", 2),
    ("xtask/src/commands/sources/info.rs", 1),
    ("xtask/src/commands/sources/kernel.rs", 4),
    ("xtask/src/commands/sources/manifests.rs", 1),
    ("xtask/src/commands/sources/oldimages.rs", 1),
    ("xtask/src/commands/sources/parse_pkgs.rs", 1),
    ("xtask/src/commands/sources/update_component_sha.rs", 1),
    ("xtask/src/commands/test.rs", 2),
];

/// Files of the name table.rs.
pub const TABLES: &[(&str, usize)] = &[("table.rs", 3)];

/// Names of public types that several crates have, each with the reason.
pub const SHARED_NAMES: &[(&str, &str)] = &[
    ("Clean", "pkgbuild's wraps gitindex's and adds tags"),
    ("Compression", "child: what qemu-img is asked for; diskimage: what a qcow2 that is read has"),
    ("Console", "to rename: child's two ends of a pipe are no console"),
    ("Disk", "to rename: a disk that is read (diskimage), a section of xtask.toml (plan), a machine's disk (vm)"),
    ("Entry", "one a format: always used with its module"),
    ("EntryKind", "one a format: always used with its module"),
    ("Environment", "to rename: pkgbuild's is the builder's view of the world"),
    ("Firmware", "to rename: plan's is a section of xtask.toml"),
    ("Image", "to rename: child's is a row of docker's list"),
    ("Kind", "one an enumerated thing: always used with its module"),
    ("Need", "to rename: child's is a wanted tool, plan's an edge"),
    ("Node", "to rename: filetree's is a file"),
    ("Options", "one a writer: always used with its module"),
    ("Outcome", "to rename: executor's is a run of steps, vm's a run of a machine"),
    ("Output", "to rename: child's is where lines go, eve-tools' an image in the making"),
    ("Package", "to rename: pkgbuild's is of a mirror, xtask's is an installed one"),
    ("Packages", "to rename: child's are names in distributions, plan's a section of xtask.toml"),
    ("Part", "to rename: compose's is a report, diskimage's a partition"),
    ("Pin", "to rename: pkgbuild's is a .deb, plan's a tool that is built"),
    ("Progress", "to rename: executor's is a display, pkgbuild's a number"),
    ("Run", "to rename: child's is a container's, pkgbuild's an instruction"),
    ("Source", "to rename: diskimage's is a partition's content, knobs' where a value is from"),
    ("State", "to rename: child's are a tool and a machine, executor's a step's freshness"),
    ("Step", "to rename: child's is a container, pkgbuild's a RUN that is ready"),
    ("Summary", "one a writer: always used with its module"),
];

/// Verbs that import the command line.
pub const IMPORTS: &[(&str, &str)] = &[
    ("xtask/src/commands/make/mod.rs", "it runs the command line again with make's words: it belongs to cli"),
    ("xtask/src/commands/reference.rs", "it prints the whole command line: it belongs to cli"),
];

/// Files where a lint is switched off, each with the reason.
pub const LINTS: &[(&str, &str)] = &[("tools/child/src/lib.rs", "`fake` serves the tests of several crates, so it is no `#[cfg(test)]`")];

/// Files that may name a place of a machine, each with the reason.
pub const MACHINE_PATHS: &[(&str, &str)] = &[
    ("pkg/debug/rootfs/usr/bin/ssh.sh", "the guest's own root logs in there"),
    ("tools/child/src/go_builder.rs", "the home of a user inside the container"),
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
