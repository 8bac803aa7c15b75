//! What changed files are: crates, packages, what images are made from, texts. Paths are relative to the tree's root.

use super::facts::Facts;
use std::collections::BTreeSet;

/// Files outside of all crates that every crate depends on.
const FOR_ALL_CRATES: &[&str] = &["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "rust-toolchain.toml", "clippy.toml"];

/// What changed, with all that depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// No difference is given, or a file is of no known kind.
    pub everything: bool,
    /// Crates whose tests can tell something new.
    pub crates: BTreeSet<String>,
    /// Packages that get another image, or may.
    pub packages: BTreeSet<String>,
    /// Every image: its template, its configuration, or the code that makes images.
    pub images: bool,
    /// Something of the packages or the templates, which name tags and are linted.
    pub sources: bool,
    /// Rust code or rustfmt's settings.
    pub rust: bool,
    /// Pages, which name files and items.
    pub texts: bool,
}

/// What the changed `files` touch; everything, if there is no list.
pub fn of(facts: &Facts, files: Option<&[String]>) -> Touched {
    let mut touched = Touched::default();
    let Some(files) = files else { return everything(facts) };
    for file in files {
        if !touched.add(facts, file) {
            return everything(facts);
        }
    }
    touched.follow(facts);
    touched
}

fn everything(facts: &Facts) -> Touched {
    Touched {
        everything: true,
        crates: facts.crates.keys().cloned().collect(),
        packages: facts.packages.keys().cloned().collect(),
        images: true,
        sources: true,
        rust: !facts.crates.is_empty(),
        texts: true,
    }
}

/// Whether `path` is `folder` or something in it.
fn is_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Touched {
    /// Adds a file; false if it is of no known kind.
    fn add(&mut self, facts: &Facts, file: &str) -> bool {
        let mut known = false;
        // The deepest folder is the crate's; `xtask` contains crates of none.
        let owner = facts.crates.iter().filter(|(_, one)| is_in(file, &one.folder)).max_by_key(|(_, one)| one.folder.len());
        if let Some((name, _)) = owner {
            self.crates.insert(name.clone());
            self.rust = true;
            known = true;
        }
        for (name, _) in facts.packages.iter().filter(|(_, one)| one.folders.iter().any(|folder| is_in(file, folder))) {
            self.packages.insert(name.clone());
            self.sources = true;
            known = true;
        }
        if facts.image_folders.iter().any(|folder| is_in(file, folder)) {
            (self.images, self.sources) = (true, true);
            known = true;
        }
        if !facts.crates.is_empty() && FOR_ALL_CRATES.contains(&file) {
            self.crates.extend(facts.crates.keys().cloned());
            self.rust = true;
            known = true;
        }
        if file == "rustfmt.toml" {
            self.rust = true;
            known = true;
        }
        if is_in(file, &facts.packages_folder) || (file.starts_with("tools/") && file.ends_with(".sh")) {
            self.sources = true;
            known = true;
        }
        if file.ends_with(".md") || is_in(file, "docs") || is_in(file, ".github") || !file.contains('/') && is_text(file) {
            self.texts = true;
            known = true;
        }
        known
    }

    /// Adds what depends on what is touched.
    fn follow(&mut self, facts: &Facts) {
        let needs = |name: &String| facts.crates.get(name).map(|one| &one.needs);
        close(&mut self.crates, facts.crates.keys(), &needs);
        if self.crates.iter().any(|name| facts.image_crates.contains(name)) {
            self.images = true;
        }
        let with_crate = facts.packages.iter().filter(|(_, one)| one.programs.iter().any(|name| self.crates.contains(name)));
        self.packages.extend(with_crate.map(|(name, _)| name.clone()).collect::<Vec<_>>());
        let needs = |name: &String| facts.packages.get(name).map(|one| &one.needs);
        close(&mut self.packages, facts.packages.keys(), &needs);
    }

    /// One line for a person.
    pub fn summary(&self, since: Option<&str>, files: Option<&[String]>) -> String {
        let (Some(since), Some(files)) = (since, files) else { return "everything is checked".to_owned() };
        let many = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
        let reach = if self.everything {
            "a file of no known kind among them, so everything is checked".to_owned()
        } else {
            format!("{} and {} to check", many(self.packages.len(), "package", "packages"), many(self.crates.len(), "crate", "crates"))
        };
        format!("since {since}: {} changed; {reach}", many(files.len(), "file", "files"))
    }
}

/// Adds to `names` all that needs one of them, directly or not.
fn close<'n>(
    names: &mut BTreeSet<String>,
    all: impl Iterator<Item = &'n String> + Clone,
    needs: &dyn Fn(&String) -> Option<&'n BTreeSet<String>>,
) {
    loop {
        let before = names.len();
        for name in all.clone() {
            if needs(name).is_some_and(|needs| needs.iter().any(|needed| names.contains(needed))) {
                names.insert(name.clone());
            }
        }
        if names.len() == before {
            return;
        }
    }
}

/// Files in the root that no job but the rules of the house reads.
fn is_text(file: &str) -> bool {
    matches!(file, "LICENSE" | "Makefile" | ".gitignore" | ".gitattributes" | ".editorconfig" | "CODEOWNERS" | "DCO")
}
