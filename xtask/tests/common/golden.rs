//! Golden pages: what a person reads, kept as files below xtask/tests/golden. `XTASK_BLESS=1` writes them anew; read the difference.

use super::{Xtask, texts};
use regex::Regex;
use std::path::{Path, PathBuf};

/// What the program says, as a person sees it, without what differs from run to run.
pub struct Page {
    root: PathBuf,
    text: String,
}

impl Page {
    /// An empty page about a tree in `root`.
    pub fn of(root: &Path) -> Self {
        Self { root: root.to_owned(), text: String::new() }
    }

    /// A line of the reader's guide.
    pub fn note(&mut self, line: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        self.text += &format!("{gap}# {line}\n");
    }

    /// Adds the command that a person types, and what it prints: standard error without the lines of progress, then standard output, and the
    /// exit status unless it is 0.
    pub fn run(&mut self, typed: &str, xtask: Xtask) {
        let output = xtask.output();
        let (out, err) = texts(&output);
        let err: String = err.lines().filter(|line| !line.starts_with('[')).map(|line| format!("{line}\n")).collect();
        self.add(typed, &format!("{err}{out}"));
        match output.status.code() {
            Some(0) => {}
            code => self.text += &format!("exit status {}\n", code.unwrap_or(-1)),
        }
    }

    /// Adds the command `typed`, and `said`.
    pub fn add(&mut self, typed: &str, said: &str) {
        self.text += &format!("$ {typed}\n{}", self.steady(said));
    }

    /// `said` without the tree's path, and without versions, tags and times.
    fn steady(&self, said: &str) -> String {
        let mut said = said.replace(self.root.to_str().unwrap(), "ROOT");
        for (pattern, word) in [
            (r"0\.0\.0-main-[0-9a-f]{8}(-dirty-[0-9.-]+[0-9])?", "VERSION"),
            (r":[0-9a-f]{40}", ":TAG"),
            (r"-dirty-[0-9a-f]{7,}", "-dirty-CHANGES"),
            (r"\b([0-9]+ min )?[0-9]+(\.[0-9]+)? s\b", "… s"),
        ] {
            said = Regex::new(pattern).unwrap().replace_all(&said, word).into_owned();
        }
        said
    }

    /// The page after `change`, for what differs from machine to machine.
    pub fn map(&self, change: impl Fn(&str) -> String) -> Self {
        Self { root: self.root.clone(), text: change(&self.text) }
    }

    /// Compares the page with golden/NAME.txt.
    pub fn is(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
        if std::env::var_os("XTASK_BLESS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &self.text).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(self.text, golden, "XTASK_BLESS=1 writes {}", path.display());
    }
}
