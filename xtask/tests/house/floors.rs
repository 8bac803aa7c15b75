//! Which crate may depend on which, and which module of xtask on which. Nothing imports upwards.

use super::{source::Source, tree};
use std::collections::BTreeSet;

/// The crates, lowest floor first. A crate may depend on those of lower floors, not on its neighbours.
const FLOORS: &[&[&str]] = &[
    &["common", "filetree", "gitindex", "ymlpatch", "skips"],
    &["knobs", "diskimage", "oci", "provenance", "secureboot"],
    // Nothing up to here starts a process: `child` is above.
    &["plan", "pkgbuild", "compose", "eve-image", "installer", "measured-boot"],
    &["child", "sbom", "imagefs", "eve-tools"],
    &["sandbox", "vm", "checkout", "registry", "executor", "fuzz"],
    &["native", "report"],
    &["linuxkit", "helpers"],
    &["xtask"],
];

/// Crates that know formats, not this program: they depend on each other alone and can be used without it.
const ALONE: &[&str] = &[
    "filetree",
    "gitindex",
    "ymlpatch",
    "diskimage",
    "oci",
    "pkgbuild",
    "compose",
    "eve-image",
    "eve-tools",
    "installer",
    "sbom",
    "secureboot",
    "measured-boot",
];

/// Crates that only tests use: nobody's `[dependencies]` have them.
const FOR_TESTS: &[&str] = &["skips"];

/// Dependencies between neighbours that are right all the same, with the reason.
const NEIGHBOURS: &[(&str, &str, &str)] = &[];

/// Files of xtask below the first name may not import the module of the second: what a person types (cli) calls the verbs, and never
/// the other way round.
const MODULES: &[(&str, &str)] = &[("xtask/src/commands/", "cli"), ("xtask/src/report/", "cli"), ("xtask/src/report/", "commands")];

/// What is wrong with the dependency of `from` on `to`.
pub fn edge(from: &str, to: &str) -> Option<String> {
    let floor = |name: &str| FLOORS.iter().position(|floor| floor.contains(&name));
    let (Some(high), Some(low)) = (floor(from), floor(to)) else {
        return Some(format!("{from} → {to}: give both a floor in xtask/tests/house/floors.rs"));
    };
    if FOR_TESTS.contains(&to) {
        return Some(format!("{from} → {to}: {to} is for tests, it belongs into [dev-dependencies]"));
    }
    if ALONE.contains(&from) && !ALONE.contains(&to) {
        return Some(format!("{from} → {to}: {from} can be used without this program, {to} is a part of it"));
    }
    let may = low < high || NEIGHBOURS.iter().any(|(left, right, _)| (*left, *right) == (from, to));
    (!may).then(|| format!("{from} → {to}: it is not on a lower floor"))
}

/// The crates of the workspace that a manifest's program (not its tests) depends on, under their own names.
pub fn dependencies(manifest: &toml::Table, root: &toml::Table, members: &BTreeSet<String>) -> Vec<String> {
    let for_targets = manifest.get("target").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::values);
    let tables = std::iter::once(manifest).chain(for_targets.filter_map(toml::Value::as_table));
    let mut found = Vec::new();
    for (table, section) in tables.flat_map(|table| ["dependencies", "build-dependencies"].map(|section| (table, section))) {
        for (key, value) in table.get(section).and_then(toml::Value::as_table).into_iter().flatten() {
            let inherited = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
            let value = if inherited { &root["workspace"]["dependencies"][key] } else { value };
            let name = value.get("package").and_then(toml::Value::as_str).unwrap_or(key);
            if members.contains(name) {
                found.push(name.to_owned());
            }
        }
    }
    found
}

/// Imports by a file of xtask that [`MODULES`] forbids.
pub fn modules(source: &Source) -> Vec<String> {
    let mut hits = Vec::new();
    let forbidden: Vec<&str> = MODULES.iter().filter(|(below, _)| source.name.starts_with(below)).map(|(_, module)| *module).collect();
    if forbidden.is_empty() {
        return hits;
    }
    let inside = source.name.trim_start_matches("xtask/src/").trim_end_matches(".rs").trim_end_matches("/mod");
    let here: Vec<String> = inside.split('/').map(str::to_owned).collect();
    for path in source.paths() {
        let supers = path.words.iter().take_while(|word| *word == "super").count();
        let full: Vec<String> = match path.first() {
            "crate" => path.words[1..].to_vec(),
            "super" => [&here[..here.len().saturating_sub(supers)], &path.words[supers..]].concat(),
            _ => continue,
        };
        if let Some(module) = full.first().filter(|module| forbidden.contains(&module.as_str())) {
            hits.push(source.hit(path.line, &format!("{} imports {module}", here[0])));
        }
    }
    hits
}

/// Members that the text of docs/ARCHITECTURE.md does not name.
pub fn unnamed(folders: &[String], text: &str) -> Vec<String> {
    let is_end = |rest: &str| !rest.starts_with(|letter: char| letter.is_alphanumeric() || letter == '-' || letter == '_');
    let named = |folder: &str| text.match_indices(folder).any(|(at, _)| is_end(&text[at + folder.len()..]));
    folders.iter().filter(|folder| !named(folder)).cloned().collect()
}

#[test]
fn crates_depend_downwards() {
    let (root, members) = tree::workspace();
    let names: BTreeSet<String> = members.iter().map(|member| member.name.clone()).collect();
    let homeless: Vec<&String> = names.iter().filter(|name| !FLOORS.concat().contains(&name.as_str())).collect();
    assert!(homeless.is_empty(), "give them a floor in xtask/tests/house/floors.rs: {homeless:?}");
    let of = |member: &tree::Member| dependencies(&member.manifest, &root, &names);
    let edges: Vec<(&str, String)> =
        members.iter().flat_map(|member| of(member).into_iter().map(|to| (member.name.as_str(), to))).collect();
    assert!(edges.len() > 40, "{edges:?}");
    let wrong: Vec<String> = edges.iter().filter_map(|(from, to)| edge(from, to)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (from, to, _) in NEIGHBOURS {
        assert!(edges.contains(&(from, (*to).to_owned())), "{from} → {to}: remove it from NEIGHBOURS, there is no such dependency");
    }
}

#[test]
fn a_dependency_upwards_sideways_or_on_the_program_is_caught() {
    for (from, to) in [("plan", "child"), ("oci", "native"), ("vm", "sandbox"), ("pkgbuild", "common"), ("child", "skips"), ("x", "oci")] {
        assert!(edge(from, to).is_some(), "{from} → {to}");
    }
    for (from, to) in [("xtask", "common"), ("native", "sandbox"), ("pkgbuild", "oci")] {
        assert_eq!(edge(from, to), None);
    }
}

#[test]
fn dependencies_are_found_wherever_a_manifest_has_them() {
    let root = toml::toml! { workspace.dependencies = { o = { path = "tools/oci", package = "oci" }, vm = { path = "x" }, anyhow = "1" } };
    let manifest = toml::toml! {
        [dependencies]
        anyhow.workspace = true
        o.workspace = true
        [target."cfg(unix)".dependencies]
        vm.workspace = true
        [build-dependencies]
        again = { path = "y", package = "plan" }
        [dev-dependencies]
        native = { path = "z" }
    };
    let members = ["oci", "vm", "plan", "native"].map(str::to_owned).into();
    let mut found = dependencies(&manifest, &root, &members);
    found.sort_unstable();
    assert_eq!(found, ["oci", "plan", "vm"]);
}

#[test]
fn modules_of_xtask_import_downwards() {
    super::none(tree::sources().iter().flat_map(modules).filter(|hit| !super::known::is(super::known::IMPORTS, hit)));
    super::known::all_used(super::known::IMPORTS, &tree::sources().iter().flat_map(modules).collect::<Vec<_>>());
}

#[test]
fn a_verb_that_imports_the_command_line_is_caught() {
    let caught = |name: &str, text: &str| !modules(&Source::new(name, text)).is_empty();
    for text in [
        "use crate::cli;",
        "use crate::{a, cli::x};",
        "fn f() { super::super::super::cli::run() }",
        "#[cfg(test)] mod t {} use crate::cli;",
    ] {
        assert!(caught("xtask/src/commands/a/b.rs", text), "{text}");
    }
    for text in [
        "fn f() { super::super::cli::run() }",
        "use super::cli;",
        "use crate::commands::cli;",
        "// use crate::cli;",
        "use clap::cli;",
        "#[cfg(test)] mod t { use crate::cli; }",
    ] {
        assert!(!caught("xtask/src/commands/a/b.rs", text), "{text}");
    }
    assert!(!caught("xtask/src/main.rs", "use crate::cli;"));
}

#[test]
fn the_architecture_names_every_crate() {
    let folders: Vec<String> = tree::workspace().1.into_iter().map(|member| member.folder).filter(|folder| folder != "xtask").collect();
    let text = std::fs::read_to_string(tree::repository().join("docs/ARCHITECTURE.md")).unwrap();
    let unnamed = unnamed(&folders, &text);
    assert!(unnamed.is_empty(), "docs/ARCHITECTURE.md does not say what they are: {unnamed:?}");
}

#[test]
fn a_crate_that_the_architecture_forgets_is_caught() {
    let folders = ["tools/oci", "tools/eve"].map(str::to_owned);
    assert_eq!(unnamed(&folders, "| `tools/oci` | and `tools/eve-tools`"), ["tools/eve"]);
    assert!(unnamed(&folders, "tools/oci, tools/eve.").is_empty());
}
