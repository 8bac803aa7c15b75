//! Sizes of files and functions, lints that nobody switches off, and test files that are really tests.

use super::{
    known, ratchet,
    source::{Kind, Source, is_test_file},
    tree,
};
use std::collections::BTreeMap;

/// Lines of a file, and of a function from `fn` to its last bracket.
const MOST_LINES: usize = 500;
const MOST_LINES_OF_A_FUNCTION: usize = 70;

/// A file that begins the program stays under this: it parses, dispatches and prints the error.
const MAIN_UNDER: usize = 100;

/// The functions of a file, tests included, as `file::name`, with their lines. Of two with one name the longer counts.
pub fn functions(source: &Source) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for (index, token) in source.tokens.iter().enumerate().filter(|(_, token)| token.is_ident("fn")) {
        let Some(name) = source.at(index + 1).and_then(|next| next.ident()) else { continue };
        let mut at = index + 2;
        while let Some(next) = source.at(at) {
            match next.kind {
                Kind::Open('{', close) => {
                    let lines = source.tokens[close].line - token.line + 1;
                    let longest: &mut usize = found.entry(format!("{}::{name}", source.name)).or_default();
                    *longest = lines.max(*longest);
                    break;
                }
                Kind::Open(_, close) => at = close,
                Kind::Punct(';') | Kind::Close(_) => break,
                _ => {}
            }
            at += 1;
        }
    }
    found
}

/// Rule: no lint that keeps panics and dead code out is switched off outside of tests, and nothing is left to do.
pub fn lints(source: &Source) -> Vec<String> {
    let mut hits = Vec::new();
    for (index, token) in source.program() {
        let Some(word) = token.ident() else { continue };
        let of_clippy = index > 2 && source.tokens[index - 3].is_ident("clippy") && source.tokens[index - 1].is(':');
        let switched_off = word == "dead_code" || of_clippy && ["unwrap_used", "panic", "exit", "todo", "unimplemented"].contains(&word);
        let is_macro = source.at(index + 1).is_some_and(|next| next.is('!'));
        if switched_off && !(source.name.ends_with("src/main.rs") && word == "exit") {
            hits.push(source.hit(token.line, &format!("the lint {word} is switched off")));
        }
        if is_macro && ["todo", "unimplemented"].contains(&word) {
            hits.push(source.hit(token.line, &format!("{word}!")));
        }
    }
    hits
}

/// Rule: a file inside `src/` that the other rules leave out as a test is one: its parent says `#[cfg(test)] mod NAME;`. `parent` gives
/// the sources that may declare the module.
pub fn undeclared<'s>(name: &str, parent: impl Fn(&str) -> Option<&'s Source>) -> Option<String> {
    let (before, inside) = name.split_once("/src/").filter(|_| is_test_file(name))?;
    let parts: Vec<&str> = inside.trim_end_matches(".rs").split('/').collect();
    let depth = parts.iter().position(|part| *part == "tests" || part.ends_with("_tests"))?;
    let folder = [&[before, "src"], &parts[..depth]].concat().join("/");
    let mut declared = false;
    for file in [format!("{folder}/mod.rs"), format!("{folder}.rs"), format!("{folder}/lib.rs"), format!("{folder}/main.rs")] {
        let Some(source) = parent(&file) else { continue };
        for (index, token) in source.tokens.iter().enumerate().filter(|(_, token)| token.is_ident("mod")) {
            let same = source.at(index + 1).is_some_and(|next| next.is_ident(parts[depth]))
                && source.at(index + 2).is_some_and(|next| next.is(';'));
            if same && !token.test {
                return Some(
                    source
                        .hit(token.line, &format!("`mod {};` is no part of a `#[cfg(test)]`, and {name} passes for a test", parts[depth])),
                );
            }
            declared |= same;
        }
    }
    (!declared).then(|| format!("{name} passes for a test, and nothing declares it"))
}

#[test]
fn files_are_short() {
    let lines = tree::sources().iter().map(|source| (source.name.clone(), source.lines)).collect();
    super::none(ratchet::complaints(&lines, MOST_LINES, known::LONG_FILES));
}

#[test]
fn functions_are_short() {
    let lines: BTreeMap<String, usize> = tree::sources().iter().flat_map(functions).collect();
    assert!(lines.len() > 2000, "{}", lines.len());
    super::none(ratchet::complaints(&lines, MOST_LINES_OF_A_FUNCTION, known::LONG_FUNCTIONS));
}

#[test]
fn a_functions_lines_are_counted_to_its_last_bracket() {
    let text = "trait T { fn none(&self) -> [u8; { 3 }]; fn two(&self) { \n} }\n#[cfg(test)] mod tests {\n\n fn five<const N: usize>(a: fn(u8)) -> u8\n where A: B\n {\n let a = \"}\"; // }\n }\n}\nfn one() {}\nmod m { fn one() {\n\n} }";
    let found = functions(&Source::new("a.rs", text));
    let expected = [("a.rs::five", 5), ("a.rs::one", 3), ("a.rs::two", 2)];
    assert_eq!(found, expected.map(|(name, lines)| (name.to_owned(), lines)).into());
    let long = |lines: usize| functions(&Source::new("a.rs", &format!("#[cfg(test)] mod t {{}}\nfn f() {{{}}}", "\n".repeat(lines - 1))));
    assert_eq!(ratchet::complaints(&long(MOST_LINES_OF_A_FUNCTION), MOST_LINES_OF_A_FUNCTION, &[]), Vec::<String>::new());
    assert_eq!(ratchet::complaints(&long(MOST_LINES_OF_A_FUNCTION + 1), MOST_LINES_OF_A_FUNCTION, &[]).len(), 1);
}

#[test]
fn a_files_lines_are_those_behind_its_tests_too() {
    let text = format!("#[cfg(test)]\nmod tests {{}}\n{}", "// x\n".repeat(MOST_LINES - 1));
    let source = Source::new("a.rs", &text);
    assert_eq!(source.lines, MOST_LINES + 1);
    assert_eq!(ratchet::complaints(&[(source.name, source.lines)].into(), MOST_LINES, &[]).len(), 1);
    assert_eq!(Source::new("a.rs", text.trim_end_matches("// x\n")).lines, 2);
}

#[test]
fn main_is_short() {
    let mains: Vec<&Source> = tree::sources().iter().filter(|source| source.name.ends_with("/src/main.rs")).collect();
    assert!(mains.len() > 1);
    super::none(mains.into_iter().filter_map(long_main));
}

/// Rule: a main.rs has fewer than [`MAIN_UNDER`] lines.
fn long_main(source: &Source) -> Option<String> {
    (source.lines >= MAIN_UNDER).then(|| format!("{} has {} lines, it stays under {MAIN_UNDER}", source.name, source.lines))
}

#[test]
fn a_long_main_is_caught() {
    let main = |lines: usize| Source::new("xtask/src/main.rs", &format!("#[cfg(test)] mod t {{}}\n{}", "\n".repeat(lines - 1)));
    assert!(long_main(&main(MAIN_UNDER)).is_some());
    assert_eq!(long_main(&main(MAIN_UNDER - 1)), None);
}

#[test]
fn lints_are_not_switched_off() {
    let hits: Vec<String> = tree::sources().iter().flat_map(lints).collect();
    super::none(hits.iter().filter(|hit| !known::is(known::LINTS, hit)).cloned());
    known::all_used(known::LINTS, &hits);
    let (root, members) = tree::workspace();
    for lint in ["unwrap_used", "panic", "exit"] {
        assert!(root["workspace"]["lints"]["clippy"].get(lint).is_some(), "the workspace asks clippy for {lint}");
    }
    for member in members {
        let asks = member.manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        assert_eq!(asks, Some(true), "{}: [lints] workspace = true", member.folder);
    }
}

#[test]
fn a_lint_that_is_switched_off_is_caught() {
    let caught = |text: &str| !lints(&Source::new("tools/vm/src/x.rs", text)).is_empty();
    for text in [
        "#[allow(clippy::unwrap_used)] fn f() {}",
        "#![allow(missing_docs, clippy::panic)]",
        "#[expect(dead_code, reason = \"later\")] fn f() {}",
        "#[cfg_attr(unix, allow(clippy::exit))] fn f() {}",
        "fn f() { todo!() }",
        "#[cfg(test)] mod tests {} #[allow(dead_code)] fn f() {}",
    ] {
        assert!(caught(text), "{text}");
    }
    for text in [
        "#[allow(clippy::cast_possible_truncation, unsafe_code)] fn f() {}",
        "#[cfg(test)] mod tests { #![allow(clippy::unwrap_used)] }",
        "#[cfg(test)] #[allow(clippy::panic)] mod tests {}",
        "// #[allow(dead_code)]\nfn todo() { let panic = 1; }",
    ] {
        assert!(!caught(text), "{text}");
    }
}

#[test]
fn files_of_tests_are_declared_as_such() {
    let find = |name: &str| tree::sources().iter().find(|source| source.name == name);
    super::none(tree::sources().iter().filter_map(|source| undeclared(&source.name, find)));
}

#[test]
fn a_program_that_passes_for_a_test_is_caught() {
    let parents = [
        Source::new("tools/x/src/lib.rs", "mod tests; #[cfg(test)] mod b; #[cfg(test)] mod eve_tests;"),
        Source::new("tools/x/src/a/mod.rs", "#[cfg(test)] mod tests;"),
    ];
    let find = |name: &str| parents.iter().find(|source| source.name == name);
    for caught in ["tools/x/src/tests.rs", "tools/x/src/tests/deep/file.rs", "tools/x/src/b_tests.rs"] {
        assert!(undeclared(caught, find).is_some(), "{caught}");
    }
    for passes in [
        "tools/x/src/eve_tests.rs",
        "tools/x/src/a/tests/deep.rs",
        "tools/x/src/a/tests.rs",
        "tools/x/tests/real.rs",
        "tools/x/src/test.rs",
    ] {
        assert_eq!(undeclared(passes, find), None);
    }
}
