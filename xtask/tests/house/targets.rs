//! Every target of the old Makefile works in this repository with the native engine, but those that have nothing to work on here. Reads the
//! generated page, which `cargo xtask reference` derives from the code that refuses a target; `xtask/tests/failures.rs` checks that it is fresh.

use super::tree::repository;

/// Targets on EVE's Go sources, the machines that build them, and a machine with a screen, which this tree does not have.
const NOTHING_TO_DO: &[&str] = &[
    "proto",
    "proto-vendor",
    "proto-diagram",
    "proto-LANGUAGE",
    "pillar-TARGET",
    "run-compose",
    "build-vm",
    "run-build-vm",
    "run-live-gui",
];

/// Targets that do not work yet. This list only becomes shorter.
const NOT_YET: &[&str] = &[];

/// The targets whose cell for this tree and the native engine is neither `yes` nor `runs`. A target that only the profile of another tree has
/// is none of this tree.
fn refused(page: &str) -> Vec<String> {
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let is_other_trees = |cells: &[&str]| cells[3] == "–" && cells[2].starts_with("`cargo xtask target ");
    cells
        .filter(|cells| !["yes", "runs"].contains(&cells[3]) && !is_other_trees(cells))
        .map(|cells| cells[1].trim_matches('`').to_owned())
        .collect()
}

/// What is wrong with the targets that are `refused`.
fn complaints(refused: &[String], nothing: &[&str], not_yet: &[&str]) -> Vec<String> {
    let known: Vec<&str> = nothing.iter().chain(not_yet).copied().collect();
    let new = refused.iter().filter(|name| !known.contains(&name.as_str())).map(|name| format!("{name}: it does not work any more"));
    let done = not_yet.iter().filter(|name| refused.iter().all(|other| other != *name));
    let done = done.map(|name| format!("{name}: it works now: remove it from NOT_YET in xtask/tests/house/targets.rs"));
    new.chain(done).collect()
}

#[test]
fn every_target_works_here_but_those_that_have_nothing_to_work_on() {
    let page = std::fs::read_to_string(repository().join("docs/reference/targets.md")).unwrap();
    assert!(page.lines().filter(|line| line.starts_with("| `")).count() > 70);
    super::none(complaints(&refused(&page), NOTHING_TO_DO, NOT_YET));
}

#[test]
fn a_target_that_is_refused_or_works_again_is_caught() {
    let page = "| target | command | here | more |\n|---|---|---|---|\n| `live` | `x` | yes | yes |\n| `eve` | `x` | (3) | yes |\n| `run` | `x` | runs | yes |\n\
                | `eden` | `cargo xtask target eden` | – | runs |\n";
    assert_eq!(refused(page), ["eve"]);
    assert_eq!(refused("| `live` | `cargo xtask live` | – | yes |"), ["live"]);
    assert_eq!(complaints(&refused(page), &[], &["live"]).len(), 2);
    assert_eq!(complaints(&refused(page), &["proto"], &["eve"]), Vec::<String>::new());
}
