//! Finds where people wrote a line of a patched template: in the template, or in one of its patches. A patched template is YAML without
//! comments, so its lines have other numbers than those of the files.

use crate::template::pieces;
use common::display::short;
use std::path::{Path, PathBuf};

/// A template and its patches.
pub struct TemplatePlaces {
    /// Name and text of each file, the template first.
    files: Vec<(String, String)>,
}

impl TemplatePlaces {
    /// Reads the files; names are relative to `root`. What cannot be read is left out: the caller has an error of its own.
    #[must_use]
    pub fn read(root: &Path, template: &Path, patches: &[PathBuf]) -> Self {
        let files = std::iter::once(template).chain(patches.iter().map(PathBuf::as_path));
        let read = |path: &Path| Some((short(path, root).to_string(), std::fs::read_to_string(path).ok()?));
        Self { files: files.filter_map(read).collect() }
    }

    /// The first place of a word: `images/rootfs.yml.in:12`.
    #[must_use]
    pub fn of_word(&self, word: &str) -> Option<String> {
        self.files.iter().find_map(|file| places(file, &[word]).next())
    }

    /// The place of a line of the patched template, filled in or not. None if no file, or more than one line of a file, has its words.
    #[must_use]
    pub fn of_line(&self, line: &str) -> Option<String> {
        // A file has NAME_TAG where the line has the image.
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let words = |text| pieces(text).filter(|piece| piece.starts_with(is_word)).collect::<Vec<_>>();
        let all = [words(key), words(value)].concat();
        let keys = if key.trim_start_matches([' ', '-']) == "image" { words(key) } else { all };
        self.files.iter().find_map(|file| {
            let mut found = places(file, &keys);
            found.next().map(|first| found.next().map_or(Some(first), |_| None))
        })?
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The places of the lines that have all `words`, comments aside.
fn places<'f>((name, text): &'f (String, String), words: &'f [&str]) -> impl Iterator<Item = String> + 'f {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#'));
    let has = |line: &str| !words.is_empty() && words.iter().all(|word| pieces(line).any(|piece| piece == *word));
    lines.filter(move |(_, line)| has(line)).map(move |(number, _)| format!("{name}:{}", number + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_where_a_person_wrote_it() {
        let template = "# GRUB_TAG\nkernel:\n  image: KERNEL_TAG\ninit:\n  - GRUB_TAG\nservices:\n  - name: a\n    oomScoreAdj: -999\n  - name: b\n    oomScoreAdj: -999\n";
        let patch = "# more\n.init += [\"XEN_TAG\"]\n| .services += [{\"name\": \"xen-tools\", \"bindz\": 3}]\n";
        let files = [("rootfs.yml.in", template), ("xen.yq", patch)].map(|(name, text)| (name.to_owned(), text.to_owned()));
        let places_of = TemplatePlaces { files: files.into() };
        let word = |word: &str| places_of.of_word(word).unwrap_or_default();
        assert_eq!(["GRUB_TAG", "XEN_TAG", "NO_TAG"].map(word), ["rootfs.yml.in:5", "xen.yq:2", ""], "a comment is no place");
        let line = |line: &str| places_of.of_line(line).unwrap_or_default();
        assert_eq!(line("- name: xen-tools"), "xen.yq:3");
        assert_eq!(line("  bindz: 3"), "xen.yq:3");
        assert_eq!(line("  image: lfedge/eve-kernel:0123-amd64"), "rootfs.yml.in:3");
        assert_eq!(line("  oomScoreAdj: -999"), "", "two lines have these words");
        assert_eq!(line("  - "), "");
    }
}
