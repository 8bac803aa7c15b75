//! A test that skips itself says what it lacks: packages that CI installs, or what no package gives.

use super::{
    known,
    source::{Kind, Source},
    tree,
};
use std::collections::BTreeSet;

/// Packages that every Debian with a Rust toolchain has.
const BASE: &[&str] = &["bsdutils", "dash", "dpkg", "gcc", "tar"];

/// The words that the calls of `missing` and `wants` in a file give as packages, with the calls' lines. What a call gets by a variable is
/// checked when it runs.
fn named(source: &Source) -> Vec<(usize, Vec<String>)> {
    let mut calls = Vec::new();
    for (index, token) in source.tokens.iter().enumerate() {
        let is_call = token.is_ident("wants") || token.is_ident("missing") && index > 2 && source.tokens[index - 3].is_ident("skips");
        let Some(Kind::Open('(', close)) = source.at(index + 1).map(|next| next.kind.clone()).filter(|_| is_call) else { continue };
        let Some(comma) = comma_within(source, index + 2, close) else { continue };
        // In `if p == "a" { "b" } else { "c" }`, only "b" and "c" are packages.
        let packages = (comma + 1..close).filter(|at| !source.tokens[at - 1].is('=')).filter_map(|at| string(source, at));
        calls.push((token.line, packages.flat_map(|text| text.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect()));
    }
    calls
}

/// The first comma between two indexes that is in no inner bracket.
fn comma_within(source: &Source, mut at: usize, end: usize) -> Option<usize> {
    while at < end {
        match source.tokens[at].kind {
            Kind::Open(_, close) => at = close,
            Kind::Punct(',') => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

fn string(source: &Source, at: usize) -> Option<&str> {
    match &source.tokens[at].kind {
        Kind::Literal(text) if source.tokens[at].is_string() => Some(text.trim_matches('"')),
        _ => None,
    }
}

/// Rule: a package that a skip names is one of `packages`.
fn unknown_packages(source: &Source, packages: &[&str]) -> Vec<String> {
    let mut hits = Vec::new();
    for (line, words) in named(source) {
        let unknown = words.iter().filter(|word| !packages.contains(&word.as_str()));
        hits.extend(unknown.map(|word| source.hit(line, &format!("skips::PACKAGES has no `{word}`"))));
    }
    hits
}

/// Rule: nothing is called unpackaged but what is known to be.
fn unpackaged(source: &Source) -> Vec<String> {
    let is_lack = |index: usize| index > 2 && source.tokens[index - 3].is_ident("Lack");
    let words = source.tokens.iter().enumerate().filter(|(index, token)| token.is_ident("Unpackaged") && is_lack(*index));
    words.map(|(_, token)| source.hit(token.line, "a skip for lack of what no Debian package has")).collect()
}

/// The files whose skips are checked: all but those that define and show them.
fn skippers() -> impl Iterator<Item = &'static Source> {
    let own = ["tools/skips/src/lib.rs", "xtask/src/commands/test.rs", "xtask/tests/house/skipped.rs"];
    tree::sources().iter().filter(move |source| !own.contains(&source.name.as_str()))
}

#[test]
fn skips_name_packages_that_ci_installs() {
    let calls: Vec<_> = skippers().flat_map(named).collect();
    assert!(calls.len() > 60, "{} calls", calls.len());
    super::none(skippers().flat_map(|source| unknown_packages(source, skips::PACKAGES)));
    let tested = child::Tool::ALL.iter().map(|tool| tool.info()).filter(|info| info.needs.contains(&child::For::Test));
    let installed: BTreeSet<&str> = tested.flat_map(|info| info.packages.debian).copied().collect();
    super::none(skips::PACKAGES.iter().filter(|package| !installed.contains(*package) && !BASE.contains(package)).map(|package| {
        format!("`cargo xtask doctor --install --for test` does not install {package}: tools/child/src/known_tools.rs has no tool of it")
    }));
    let words: BTreeSet<String> = skippers()
        .flat_map(|source| (0..source.tokens.len()).filter(|at| source.tokens[*at].test).filter_map(|at| string(source, at)))
        .flat_map(|text| text.split(' ').map(str::to_owned))
        .collect();
    super::none(skips::PACKAGES.iter().filter(|package| !words.contains(**package)).map(|package| format!("no skip names {package}")));
}

#[test]
fn a_package_that_ci_does_not_install_is_caught() {
    let hits = |text: &str| unknown_packages(&Source::new("tools/x/tests/y.rs", text), &["mtools", "gdisk"]).len();
    for text in [
        "fn f() { skips::missing(\"mdir\", \"mtolls\"); }",
        "fn f() { if !common::wants(\"mdir\", \"gdisk dosfstools\") { return; } }",
        "#[cfg(test)] mod tests { fn f() { skips::missing(&name, if name == \"x\" { \"gdisk\" } else { \"tar\" }) } }",
        "fn f() { wants(\"actionlint\", \"\") }",
        "fn f() { skips::missing(g(\"a\", \"b\"), \"c\") }",
    ] {
        assert_eq!(hits(text), 1, "{text}");
    }
    for text in [
        "fn f() { skips::missing(\"mdir\", \"mtools gdisk\"); wants(program, package); }",
        "fn f() { skips::missing(g(\"a\", \"b\"), if name == \"isoinfo\" { \"gdisk\" } else { \"mtools\" }) }",
        "// skips::missing(\"a\", \"b\")\nfn missing() { missing(\"a\", \"b\"); }",
    ] {
        assert_eq!(hits(text), 0, "{text}");
    }
}

#[test]
fn nothing_that_a_package_has_is_called_unpackaged() {
    let hits: Vec<String> = skippers().flat_map(unpackaged).collect();
    super::none(hits.iter().filter(|hit| !known::is(known::UNPACKAGED, hit)).cloned());
    known::all_used(known::UNPACKAGED, &hits);
    let text =
        "#[test] fn f() { if x { skips::skipped(skips::Lack::Unpackaged, \"no mdir\"); } else { skips::skipped(Lack::Kernel, \"x\") } }";
    assert_eq!(unpackaged(&Source::new("tools/x/tests/y.rs", text)).len(), 1, "the planted violation");
}
