//! docs/RELIABILITY.md against the sources: the table of damaged input has every target with its number, and each number of the other
//! tables stands in its test's file. (documents.rs checks that the files and tests exist.)

use super::tree;

const PAGE: &str = "docs/RELIABILITY.md";
const TARGETS: &str = "tools/fuzz/src/targets.rs";

fn text(name: &str) -> &'static str {
    tree::texts().iter().find(|(path, _)| path == name).map(|(_, text)| text.as_str()).unwrap_or_default()
}

/// The rows of the table of targets, from calls such as `reader("tar", archives::tar, 20_000, …`.
fn rows(source: &str) -> Vec<String> {
    let flat = source.split_whitespace().collect::<Vec<_>>().join(" ");
    let calls = flat.split("reader(").skip(1).filter_map(|call| {
        let mut words = call.split(',').map(str::trim);
        let name = words.next()?.strip_prefix('"')?.strip_suffix('"')?.to_owned();
        let tries: u64 = words.nth(1)?.replace('_', "").parse().ok()?;
        (tries > 0).then(|| format!("| {name} | {tries} |"))
    });
    calls.collect()
}

/// Rows with four columns whose number does not stand in the file of their test.
fn unfounded<'t>(page: &str, file: &dyn Fn(&str) -> &'t str) -> Vec<String> {
    let mut hits = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("| ") && line.contains(".rs`: `")) {
        let code: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        let [.., number, path, _] = code.as_slice() else {
            hits.push(format!("no number: {line}"));
            continue;
        };
        if !file(path).contains(number) {
            hits.push(format!("{path} does not contain `{number}`"));
        }
    }
    hits
}

#[test]
fn the_page_has_every_target_with_its_number() {
    let rows = rows(text(TARGETS));
    assert!(rows.len() > 20, "{rows:?}");
    let expected = rows.join("\n");
    let page = text(PAGE);
    let found: Vec<&str> =
        page.lines().skip_while(|line| !line.starts_with("| target |")).skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(found.join("\n") == expected, "the table of targets in {PAGE} should be:\n{expected}");
}

#[test]
fn numbers_of_the_page_stand_in_the_tests() {
    super::none(unfounded(text(PAGE), &text));
}

#[test]
fn a_number_without_a_test_and_a_target_are_found() {
    let page = "| a | 5 | `0..5` | `x.rs`: `f` |\n| b | 6 | `0..6` | `x.rs`: `f` |\n| c | 1 | `x.rs`: `f` |\n";
    assert_eq!(unfounded(page, &|_| "for _ in 0..5 {}"), ["x.rs does not contain `0..6`", "no number: | c | 1 | `x.rs`: `f` |"]);
    let source =
        "reader(\"a\", b::c, 1_000, &[]),\n reader(\n \"d\",\n e,\n 7,\n &[]) reader(\"broken\", broken, 0, &[]) fn reader(name: &str";
    assert_eq!(rows(source), ["| a | 1000 |", "| d | 7 |"]);
}
