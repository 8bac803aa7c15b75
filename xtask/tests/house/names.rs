//! Names: of types that would be confused, of files that say nothing, of places that only one machine has.

use super::{known, ratchet, source::Source, tree};
use std::collections::{BTreeMap, BTreeSet};

/// The public types of a file's program.
pub fn public_types(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (index, _) in source.program().filter(|(_, token)| token.is_ident("pub")) {
        let words: Vec<&str> = (1..4).map_while(|step| source.at(index + step)?.ident()).collect();
        match words.as_slice() {
            ["struct" | "enum" | "trait" | "union", name, ..] | ["unsafe", "trait", name] => found.push((*name).to_owned()),
            _ => {}
        }
    }
    found
}

/// Names that public types of several libraries have: each with its crates. Nobody imports from the program itself.
pub fn shared<'s>(sources: impl IntoIterator<Item = &'s Source>) -> BTreeMap<String, BTreeSet<String>> {
    let mut owners: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources.into_iter().filter(|source| tree::crate_of(&source.name) != "xtask") {
        for name in public_types(source) {
            owners.entry(name).or_default().insert(tree::crate_of(&source.name).to_owned());
        }
    }
    owners.retain(|_, crates| crates.len() > 1);
    owners
}

/// Rule: no file is named table.rs, which says of what in no list of files.
pub fn tables<'n>(names: impl IntoIterator<Item = &'n str>) -> BTreeMap<String, usize> {
    let count = names.into_iter().filter(|name| name.ends_with("/table.rs")).count();
    BTreeMap::from([("table.rs".to_owned(), count)])
}

/// Folders that are one person's or one machine's. They are put together here, so that this file does not contain them.
fn machine_paths() -> [String; 4] {
    ["work", "root", "Users", "home"].map(|folder| format!("/{folder}/"))
}

/// Rule: no path of one machine in any file.
pub fn machines_in(name: &str, text: &str) -> Vec<String> {
    let mut hits = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for path in machine_paths() {
            // Inside a longer path (`pkg/x/work/`, `$HOME/work/`) it is no place of a machine.
            let begins = |at: usize| !line[..at].ends_with(|letter: char| letter.is_alphanumeric() || "_-.}/".contains(letter));
            if line.match_indices(&path).any(|(at, _)| begins(at)) {
                hits.push(format!("{name}:{}: {path}", number + 1));
            }
        }
    }
    hits
}

#[test]
fn types_of_different_crates_have_different_names() {
    let shared = shared(tree::sources());
    let strangers: Vec<_> = shared.iter().filter(|(name, _)| !known::SHARED_NAMES.iter().any(|(known, _)| known == name)).collect();
    assert!(strangers.is_empty(), "rename all but one: {strangers:#?}");
    let stale: Vec<_> = known::SHARED_NAMES.iter().filter(|(name, _)| !shared.contains_key(*name)).collect();
    assert!(stale.is_empty(), "only one crate has them: remove them from the list in xtask/tests/house/known.rs: {stale:#?}");
}

#[test]
fn a_name_in_two_crates_is_caught() {
    let files = |texts: [(&str, &str); 2]| texts.map(|(name, text)| Source::new(name, text));
    let caught = |texts| !shared(&files(texts)).is_empty();
    assert!(caught([("tools/a/src/x.rs", "pub struct Need;"), ("tools/b/src/y.rs", "#[cfg(test)] mod tests {} pub enum Need {}")]));
    assert!(caught([("tools/a/src/x.rs", "pub struct Need<'a>(&'a u8);"), ("tools/c/src/y.rs", "pub trait Need {}")]));
    assert!(!caught([("tools/a/src/x.rs", "pub struct Need;"), ("xtask/src/y.rs", "pub struct Need;")]));
    assert!(!caught([("tools/a/src/x.rs", "pub struct Need;"), ("tools/a/src/y.rs", "pub struct Need;")]));
    assert!(!caught([
        ("tools/a/src/x.rs", "pub struct Need;"),
        ("tools/b/src/y.rs", "pub(crate) struct Need; struct Need; pub fn Need() {} macro_rules! m { () => { pub struct $a Need; } }")
    ]));
    assert!(!caught([
        ("tools/a/src/x.rs", "pub struct Need;"),
        ("tools/b/src/y.rs", "// pub struct Need;\n#[cfg(test)] mod t { pub struct Need; }")
    ]));
}

#[test]
fn a_files_name_says_what_is_in_it() {
    let names = tree::texts().iter().map(|(name, _)| name.as_str());
    super::none(ratchet::complaints(&tables(names), 1, known::TABLES));
}

#[test]
fn a_second_table_is_caught() {
    let tables = |names: &[&str]| ratchet::complaints(&tables(names.iter().copied()), 1, &[]);
    assert_eq!(tables(&["tools/a/src/table.rs", "tools/b/src/x/table.rs"]).len(), 1);
    assert_eq!(tables(&["tools/a/src/table.rs", "tools/b/src/knob_table.rs", "tools/b/src/table/mod.rs"]).len(), 0);
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    let hits: Vec<String> = tree::texts().iter().flat_map(|(name, text)| machines_in(name, text)).collect();
    super::none(hits.iter().filter(|hit| !known::is(known::MACHINE_PATHS, hit)).cloned());
    known::all_used(known::MACHINE_PATHS, &hits);
}

#[test]
fn a_place_of_one_machine_is_caught() {
    for path in machine_paths() {
        let texts = [
            format!("#[cfg(test)] mod t {{}}\n// see {path}notes"),
            format!("cd \"{path}x\""),
            format!("file://{path}x").replace("//", ""),
        ];
        for text in texts {
            assert_eq!(machines_in("docs/x.md", &text).len(), 1, "{text}");
        }
        for text in [format!("pkg/a{path}b"), format!("${{A}}{path}"), path.trim_end_matches('/').to_owned()] {
            assert!(machines_in("docs/x.md", &text).is_empty(), "{text}");
        }
    }
}
