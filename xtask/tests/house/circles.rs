//! Two files of a crate do not import each other: one of them is below, and can be read without the other. A file and the file of a module
//! inside it may: the parent declares what its modules share, and shows what they have.

use super::{known, source::Source, tree};
use std::collections::{BTreeMap, BTreeSet};

/// A crate's folder, and a module's path in the crate.
type Module = (String, Vec<String>);

/// The module that a file is; none for a file of tests.
fn module(name: &str) -> Option<Module> {
    let (folder, path) = name.split_once("/src/")?;
    let mut words: Vec<String> = path.strip_suffix(".rs")?.split('/').map(str::to_owned).collect();
    if words.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        words.pop();
    }
    let is_test = words.iter().any(|word| word == "tests" || word.ends_with("_tests"));
    (!is_test).then(|| (folder.to_owned(), words))
}

/// The files of all crates: module → the file's name, and the paths in it.
struct Files(BTreeMap<Module, (String, Vec<Vec<String>>)>);

impl Files {
    fn of(sources: &[Source]) -> Self {
        let paths = |source: &Source| source.paths().into_iter().map(|path| path.words).collect();
        Self(sources.iter().filter_map(|source| Some((module(&source.name)?, (source.name.clone(), paths(source))))).collect())
    }

    /// The module that declares what `path` names in the module `here`, if that is in the same crate.
    fn resolve(&self, here: &Module, path: &[String], depth: usize) -> Option<Module> {
        let (supers, rest) = match path.first()?.as_str() {
            "crate" => (here.1.len(), &path[1..]),
            "self" => (0, &path[1..]),
            _ => {
                let supers = path.iter().take_while(|word| *word == "super").count();
                (supers, &path[supers..])
            }
        };
        let mut found = (here.0.clone(), here.1[..here.1.len().checked_sub(supers)?].to_vec());
        let starts_here = supers == 0 && path[0] != "crate" && path[0] != "self";
        let mut rest = rest.iter();
        let mut next = rest.next();
        while let Some(word) = next {
            let inside = (found.0.clone(), [&found.1[..], std::slice::from_ref(word)].concat());
            if !self.0.contains_key(&inside) {
                break;
            }
            (found, next) = (inside, rest.next());
        }
        if starts_here && found == *here {
            return None;
        }
        // A parent may only show what one of its modules declares.
        let shown = |word: &String| self.0.get(&found)?.1.iter().find(|path| path.len() > 1 && path.last() == Some(word));
        let further = next.and_then(shown).filter(|_| depth < 8).and_then(|path| self.resolve(&found, path, depth + 1));
        Some(further.unwrap_or(found))
    }

    /// The modules that each module imports, without itself.
    fn imports(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let of = |here: &Module, paths: &[Vec<String>]| -> BTreeSet<Module> {
            let found = paths.iter().filter_map(|path| self.resolve(here, path, 0));
            found.filter(|found| found != here && self.0.contains_key(found)).collect()
        };
        self.0.iter().map(|(here, (_, paths))| (here, of(here, paths))).collect()
    }
}

/// Pairs of files that import each other, by name.
pub fn circles(sources: &[Source]) -> Vec<(String, String)> {
    let files = Files::of(sources);
    let imports = files.imports();
    let mut pairs = Vec::new();
    for (one, others) in &imports {
        for other in others.iter().filter(|other| *one < *other && imports.get(other).is_some_and(|back| back.contains(one))) {
            if !one.1.starts_with(&other.1) && !other.1.starts_with(&one.1) {
                pairs.push((files.0[*one].0.clone(), files.0[other].0.clone()));
            }
        }
    }
    pairs
}

#[test]
fn no_two_files_import_each_other() {
    let found = circles(tree::sources());
    let is = |pair: &(String, String), known: &(&str, &str, &str)| (pair.0.as_str(), pair.1.as_str()) == (known.0, known.1);
    let new = found.iter().filter(|pair| !known::CIRCLES.iter().any(|known| is(pair, known)));
    super::none(new.map(|(one, other)| format!("{one} and {other} import each other: move what both need into one of them, or a third")));
    let gone = known::CIRCLES.iter().filter(|known| !found.iter().any(|pair| is(pair, known)));
    super::none(gone.map(|known| format!("{} and {}: remove them from CIRCLES, the circle is gone", known.0, known.1)));
}

#[test]
fn a_circle_is_caught_also_behind_a_parent_and_a_test_module() {
    let of = |files: &[(&str, &str)]| circles(&files.iter().map(|(name, text)| Source::new(name, text)).collect::<Vec<_>>());
    let lib = ("tools/a/src/lib.rs", "mod one; mod two; pub use one::One; pub use two::Two;");
    let one = ("tools/a/src/one.rs", "use super::Two; pub struct One;");
    for two in [
        "#[cfg(test)] mod tests {}\nuse crate::one::One; pub struct Two;",
        "use super::{One as _, x}; pub struct Two;",
        "pub struct Two; fn f() { crate::one::f() }",
    ] {
        assert_eq!(of(&[lib, one, ("tools/a/src/two.rs", two)]).len(), 1, "{two}");
    }
    for two in ["pub struct Two;", "#[cfg(test)] mod tests { use super::super::One; } pub struct Two;", "use super::x; pub struct Two;"] {
        assert_eq!(of(&[lib, one, ("tools/a/src/two.rs", two)]), [], "{two}");
    }
    assert_eq!(of(&[("tools/a/src/lib.rs", "mod one; use one::One;"), ("tools/a/src/one.rs", "use super::x; pub struct One;")]), []);
}
