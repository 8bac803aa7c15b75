//! docs/ARCHITECTURE.md and docs/CONTRIBUTING.md against the sources: the files that they name exist, each stop of a walk names an item
//! of its file, and the table of crates has the sizes and dependencies that the crates have.

use super::{
    floors,
    source::{Kind, Source, is_test_file},
    tree,
};
use std::collections::{BTreeMap, BTreeSet};

/// The documents that are checked.
const DOCUMENTS: &[&str] = &["docs/ARCHITECTURE.md", "docs/CONTRIBUTING.md", "docs/RELIABILITY.md"];

/// What a path of this repository begins with.
const TOP: &[&str] = &["xtask/", "tools/", "docs/", "pkg/", "images/", "conf/", "build-tools/"];

/// How far a size in the table may be from the real one: percent, or lines where that is more.
const PERCENT: usize = 15;
const LINES: usize = 150;

/// A line's text, cut at the backquotes: what has an odd index is code. None inside a fenced block.
fn lines(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fence && !fenced).then(|| (index + 1, line.split('`').collect()))
    })
}

/// Paths of this repository that a document names, with their lines. Of a path with a placeholder (`<name>`, `*`), what is before it.
pub fn paths(text: &str) -> Vec<(usize, String)> {
    let is_path = |word: &str| {
        let whole = !word.contains(' ') && word.contains('/') && !word.starts_with(['<', '*', '.', '/', '$', '~']);
        whole && (word.ends_with(".rs") || TOP.iter().any(|top| word.starts_with(top)))
    };
    let certain = |word: &str| word.split('/').take_while(|part| !part.contains(['<', '*'])).collect::<Vec<_>>().join("/");
    let of_line = |(line, pieces): (usize, Vec<&str>)| {
        let code = pieces.into_iter().skip(1).step_by(2).filter(|word| is_path(word));
        code.map(|word| (line, certain(word))).collect::<Vec<_>>()
    };
    lines(text).flat_map(of_line).collect()
}

/// The stops that a document names: line, file and item of "`path/file.rs`: `item`", and of each item that follows behind a comma
/// or an "and". An item that is not on its file's line is empty.
pub fn stops(text: &str) -> Vec<(usize, String, String)> {
    let mut found = Vec::new();
    for (line, pieces) in lines(text) {
        for at in (1..pieces.len()).step_by(2).filter(|at| pieces[*at].ends_with(".rs")) {
            if pieces.get(at + 1).is_none_or(|after| !after.starts_with(':')) {
                continue;
            }
            let mut joint = [": "].as_slice();
            let mut next = at + 1;
            while pieces.get(next).is_some_and(|after| joint.contains(after)) && pieces.get(next + 1).is_some_and(|item| is_item(item)) {
                found.push((line, pieces[at].to_owned(), pieces[next + 1].to_owned()));
                (joint, next) = (&[", ", " and "], next + 2);
            }
            if next == at + 1 {
                found.push((line, pieces[at].to_owned(), String::new()));
            }
        }
    }
    found
}

fn is_item(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|letter| letter.is_alphanumeric() || "_:".contains(letter))
}

/// Whether the program in `source` defines `item`: a name, or `Type::name` for what stands in an `impl` or a `trait` of that type.
pub fn defines(source: &Source, item: &str) -> bool {
    match item.rsplit_once("::") {
        None => source.program().any(|(index, token)| token.ident() == Some(item) && is_definition(source, index)),
        Some((owner, name)) => bodies(source, owner).into_iter().any(|(open, close)| {
            let mut inside = source.program().filter(|(index, _)| (open..close).contains(index));
            inside.any(|(index, token)| token.ident() == Some(name) && is_definition(source, index))
        }),
    }
}

/// Whether the name at `index` is one that is being defined.
fn is_definition(source: &Source, index: usize) -> bool {
    let word = |back: usize| index.checked_sub(back).and_then(|at| source.at(at)?.ident()).unwrap_or_default();
    let before = ["fn", "struct", "enum", "trait", "const", "static", "mod", "type", "union"].contains(&word(1));
    before || word(2) == "macro_rules" && source.at(index - 1).is_some_and(|token| token.is('!'))
}

/// Where the bodies of the impls and traits begin and end whose heads name `owner`.
fn bodies(source: &Source, owner: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (index, _) in source.program().filter(|(_, token)| token.is_ident("impl") || token.is_ident("trait")) {
        let mut named = false;
        for at in index + 1.. {
            match source.at(at).map(|token| &token.kind) {
                Some(Kind::Ident(word)) => named |= word == owner,
                Some(Kind::Open('{', close)) => {
                    found.extend(named.then_some((at, *close)));
                    break;
                }
                Some(Kind::Punct(';')) | None => break,
                Some(_) => {}
            }
        }
    }
    found
}

/// What is wrong with the stops of a document, whose files `find` gives.
pub fn wrong_stops<'s>(text: &str, find: impl Fn(&str) -> Option<&'s Source>) -> Vec<String> {
    let wrong = |(line, file, item): (usize, String, String)| match find(&file) {
        _ if item.is_empty() => Some(format!("{line}: `{file}`: and its item belong on one line")),
        None => Some(format!("{line}: there is no `{file}`")),
        Some(source) => (!defines(source, &item)).then(|| format!("{line}: `{file}` defines no `{item}`")),
    };
    stops(text).into_iter().filter_map(wrong).collect()
}

/// Lines of a file that are not tests'.
pub fn program_lines(source: &Source) -> usize {
    if is_test_file(&source.name) {
        return 0;
    }
    let (mut tests, mut at) = (0, 0);
    while let Some(token) = source.at(at) {
        let first = token.line;
        let mut last = first;
        let begin = at;
        while let Some(token) = source.at(at).filter(|token| token.test) {
            last = token.line;
            at += 1;
        }
        match at == begin {
            true => at += 1,
            false => tests += last - first + 1,
        }
    }
    source.lines.saturating_sub(tests)
}

/// A crate as it is: its lines, and the crates of this workspace that its program depends on.
pub struct Real {
    pub lines: usize,
    pub uses: BTreeSet<String>,
}

/// What is wrong with the table of crates in a document. `real` has every crate by its folder.
pub fn wrong_rows(text: &str, real: &BTreeMap<String, Real>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut missing: BTreeSet<&str> = real.keys().map(String::as_str).collect();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let folder = cells[0].trim_matches('`');
        let ([_, _, size, uses], Some(real)) = (cells.as_slice(), real.get(folder)) else { continue };
        if !missing.remove(folder) {
            wrong.push(format!("{folder} has two rows"));
        }
        let most = LINES.max(real.lines * PERCENT / 100);
        if !size.parse::<usize>().is_ok_and(|said| said.abs_diff(real.lines) <= most) {
            wrong.push(format!("{folder} has {} lines, the table says {size}", real.lines));
        }
        let said: BTreeSet<String> = uses.split(", ").filter(|name| *name != "–").map(str::to_owned).collect();
        if said != real.uses {
            wrong.push(format!("{folder} depends on {:?}, the table says {uses}", real.uses));
        }
    }
    wrong.extend(missing.into_iter().map(|folder| format!("{folder} has no row")));
    wrong
}

fn text_of(name: &str) -> String {
    std::fs::read_to_string(tree::repository().join(name)).unwrap()
}

fn real_crates() -> BTreeMap<String, Real> {
    let (root, members) = tree::workspace();
    let names: BTreeSet<String> = members.iter().map(|member| member.name.clone()).collect();
    let of = |member: &tree::Member| {
        let inside = |source: &&Source| source.name.starts_with(&format!("{}/", member.folder));
        let lines = tree::sources().iter().filter(inside).map(program_lines).sum();
        Real { lines, uses: floors::dependencies(&member.manifest, &root, &names).into_iter().collect() }
    };
    members.iter().map(|member| (member.folder.clone(), of(member))).collect()
}

#[test]
fn documents_name_files_that_exist() {
    for name in DOCUMENTS {
        let paths = paths(&text_of(name));
        assert!(paths.len() > 20, "{name}: {paths:?}");
        let gone = paths.iter().filter(|(_, path)| !tree::repository().join(path).exists());
        super::none(gone.map(|(line, path)| format!("{name}:{line}: there is no `{path}`")));
    }
}

#[test]
fn a_file_that_a_document_names_is_seen() {
    let text =
        "See `tools/a/src/x.rs` and `tools/b/`.\n```\n`tools/fenced.rs`\n```\n| `pkg/<name>/Dockerfile` | `src/y.rs` | `tools/*.sh` |";
    let found: Vec<_> = paths(text).into_iter().map(|(line, path)| format!("{line} {path}")).collect();
    assert_eq!(found, ["1 tools/a/src/x.rs", "1 tools/b/", "5 pkg", "5 src/y.rs", "5 tools"]);
    for text in ["tools/a/src/x.rs", "`tools`", "`cargo test tools/a.rs`", "`lib.rs`", "`~/a/x.rs`", "`<crate>/src/lib.rs`"] {
        assert!(paths(text).is_empty(), "{text}");
    }
}

#[test]
fn stops_name_items_that_are_defined() {
    let find = |file: &str| tree::sources().iter().find(|source| source.name == file);
    // The items of RELIABILITY are tests; `reliability.rs` looks for them.
    for name in DOCUMENTS.iter().filter(|name| **name != "docs/RELIABILITY.md") {
        let text = text_of(name);
        assert!(stops(&text).len() > 10, "{name} has {} stops", stops(&text).len());
        super::none(wrong_stops(&text, find).into_iter().map(|wrong| format!("{name}:{wrong}")));
    }
}

#[test]
fn a_stop_without_its_item_is_caught() {
    let text = "struct T; impl T { const C: u8 = 1; fn method(&self) { call(); } } impl<A> Of for U<A> { fn other() {} }
        trait Of { fn other(); } macro_rules! make { () => {} } #[cfg(test)] mod tests { fn planted() {} } // fn comment() {}";
    let source = Source::new("tools/a/src/x.rs", text);
    let find = |file: &str| (file == source.name).then_some(&source);
    for item in ["T", "C", "method", "T::method", "T::C", "U::other", "Of::other", "make"] {
        assert_eq!(wrong_stops(&format!("1. `tools/a/src/x.rs`: `{item}` does it"), find), Vec::<String>::new());
    }
    for item in ["call", "planted", "comment", "U::method", "T::other", "V::method", "x"] {
        assert_eq!(wrong_stops(&format!("1. `tools/a/src/x.rs`: `{item}` does it"), find).len(), 1, "{item}");
    }
    for (text, wrong) in [
        ("`tools/a/src/x.rs`: `T`, `gone` and `method`", 1),
        ("`tools/a/src/x.rs`: `gone`, `tools/a/src/x.rs`: `gone`", 2),
        ("`tools/a/src/y.rs`: `T`", 1),
        ("`tools/a/src/x.rs`:\n`T`", 1),
        ("`tools/a/src/x.rs`: words", 1),
        ("`tools/a/src/x.rs` and `gone`", 0),
        ("```\n`tools/a/src/x.rs`: `gone`\n```", 0),
    ] {
        assert_eq!(wrong_stops(text, find).len(), wrong, "{text}");
    }
}

#[test]
fn the_table_of_crates_is_true() {
    super::none(wrong_rows(&text_of("docs/ARCHITECTURE.md"), &real_crates()));
}

#[test]
fn a_row_that_is_not_true_is_caught() {
    let real = |lines| Real { lines, uses: ["common", "oci"].map(str::to_owned).into() };
    let crates = BTreeMap::from([("tools/a".to_owned(), real(2000)), ("tools/b".to_owned(), Real { uses: BTreeSet::new(), ..real(300) })]);
    let wrong = |a: &str, b: &str| wrong_rows(&format!("| crate | owns | lines | uses |\n|---|---|---|---|\n{a}\n{b}"), &crates).len();
    let (a, b) = ("| `tools/a` | it | 2300 | oci, common |", "| `tools/b` | `x` | 450 | – |");
    assert_eq!(wrong(a, b), 0);
    for planted in [
        "| `tools/a` | it | 2301 | oci, common |",
        "| `tools/a` | it | 1600 | oci, common |",
        "| `tools/a` | it | many | oci, common |",
        "| `tools/a` | it | 2000 | oci |",
        "| `tools/a` | it | 2000 | common, oci, plan |",
        "| `tools/a` | it | 2000 | – |",
        "| `tools/c` | it | 2000 | oci, common |",
        "| `tools/a` | it | 2000 |",
    ] {
        assert_eq!(wrong(planted, b), 1, "{planted}");
    }
    assert_eq!(wrong(a, a), 2);
    assert_eq!(wrong(a, "| `tools/b` | it | 451 | – |"), 1);
}

#[test]
fn lines_of_tests_do_not_count() {
    let lines = |name: &str, text: &str| program_lines(&Source::new(name, text));
    let text = "//! Doc.\n\nfn f() {}\n#[cfg(test)]\nmod tests {\n\n    fn g() {}\n}\nfn h() {}\n";
    assert_eq!((lines("tools/a/src/x.rs", text), lines("tools/a/tests/x.rs", text)), (4, 0));
    assert_eq!(lines("tools/a/src/x.rs", "#[cfg(test)] mod tests;\nfn f() {\n}"), 2);
}
