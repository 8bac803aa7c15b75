//! `images/*.yml.in`: text with `NAME_TAG` words that stand for images of this tree.

use anyhow::{Context as _, Result, bail};
use regex::Regex;
use std::path::Path;
use ymlpatch::Program;

/// The template after the jq program in the file `patch`. What comes out is YAML of the same meaning, without comments.
pub fn patch(text: &str, patch: &Path) -> Result<String> {
    let name = patch.display().to_string();
    let program = std::fs::read_to_string(patch).with_context(|| format!("cannot read `{name}`"))?;
    Program::parse(&program, &name)?.apply(text, &[])
}

/// Replaces every `NAME_TAG` in `text` by what `lookup` gives for the name without `_TAG`, and `EVE_VERSION` by `version`; lines of
/// comment are left alone. An error names `name` (the template's path) and the line.
pub fn fill(text: &str, name: &str, version: &str, lookup: &mut dyn FnMut(&str) -> Result<String>) -> Result<String> {
    let tag = Regex::new(r"\b([A-Z][A-Z0-9_]*)_TAG\b").expect("the pattern is valid");
    let mut out = String::with_capacity(text.len() * 2);
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with('#') {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        let mut rest = 0;
        for found in tag.captures_iter(line) {
            let (whole, [word]) = found.extract();
            let start = found.get(0).map_or(0, |found| found.start());
            out.push_str(&line[rest..start]);
            match lookup(word) {
                Ok(image) => out.push_str(&image),
                Err(error) => bail!("{name}:{}: {whole}: {error:#}", number + 1),
            }
            rest = start + whole.len();
        }
        out.push_str(&line[rest..]);
        out.push('\n');
    }
    Ok(out.replace("EVE_VERSION", version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_and_a_bad_one_is_named_with_its_line() {
        let mut lookup = |word: &str| if word == "GRUB" { Ok("lfedge/eve-grub:1-amd64".to_owned()) } else { bail!("no package") };
        let text = "init:\n  - GRUB_TAG # and GRUB_TAG\nfiles: 'EVE_VERSION'\n";
        let filled = fill(text, "a.yml.in", "1.2.3", &mut lookup).expect("filled");
        assert_eq!(filled, "init:\n  - lfedge/eve-grub:1-amd64 # and lfedge/eve-grub:1-amd64\nfiles: '1.2.3'\n");
        let error = fill("x:\n  - GRUBB_TAG\n", "a.yml.in", "1", &mut lookup).expect_err("refused").to_string();
        assert_eq!(error, "a.yml.in:2: GRUBB_TAG: no package");
    }
}
