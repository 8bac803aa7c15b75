//! Templates such as `images/*.yml.in`: fills in the images of `NAME_TAG` words, and applies jq programs.

use anyhow::{Context as _, Result, bail};
use plan::PatchLanguage;
use std::path::Path;
use ymlpatch::{Language, Program};

/// Applies the program in the file `patch` to a template, by the rules of `language`; a file `*.patch` is a unified diff. The result of a
/// program is YAML without comments.
pub fn patch(text: &str, patch: &Path, language: PatchLanguage) -> Result<String> {
    let language = match language {
        PatchLanguage::Jq => Language::Jq,
        PatchLanguage::Yq => Language::Yq,
    };
    let name = patch.display().to_string();
    let program = std::fs::read_to_string(patch).with_context(|| format!("cannot read `{name}`"))?;
    if patch.extension().is_some_and(|extension| extension == "patch") {
        return crate::unified_diff::apply(text, &program).with_context(|| format!("cannot apply `{name}`"));
    }
    Program::parse(&program, &name)?.by_rules_of(language).apply(text, &[])
}

/// Replaces every `NAME_TAG` in `text` by the result of `lookup` for the name without `_TAG`, and `words` by their values, except in comment
/// lines. An error contains the place of the word, by `place` from the word and the number of its line.
pub fn fill(
    text: &str,
    place: &dyn Fn(&str, usize) -> String,
    words: &[(&str, String)],
    lookup: &mut dyn FnMut(&str) -> Result<String>,
) -> Result<String> {
    let mut out = String::with_capacity(text.len() * 2);
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with('#') {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        for piece in pieces(line) {
            match tag_name(piece).map(&mut *lookup) {
                None => out.push_str(words.iter().find(|(word, _)| *word == piece).map_or(piece, |(_, value)| value)),
                Some(Ok(image)) => out.push_str(&image),
                Some(Err(error)) => match format!("{error:#}") {
                    // It names the file of the package that is wrong; the template is not.
                    text if text.starts_with('/') => bail!(text),
                    text => bail!("{}: {piece}: {text}", place(piece, number + 1)),
                },
            }
        }
        out.push('\n');
    }
    Ok(out)
}

/// Splits `line` into words and the text between them.
pub(crate) fn pieces(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let of_word = is_word(rest.chars().next()?);
        let (piece, after) = rest.split_at(rest.find(|c| is_word(c) != of_word).unwrap_or(rest.len()));
        rest = after;
        Some(piece)
    })
}

/// `GRUB` of `GRUB_TAG`; none for other words.
fn tag_name(word: &str) -> Option<&str> {
    let name = word.strip_suffix("_TAG")?;
    let is_name = |c: u8| matches!(c, b'A'..=b'Z' | b'0'..=b'9' | b'_');
    (name.starts_with(|c: char| c.is_ascii_uppercase()) && name.bytes().all(is_name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_and_a_bad_one_is_named_with_its_line() {
        let mut lookup = |word: &str| if word == "GRUB" { Ok("lfedge/eve-grub:1-amd64".to_owned()) } else { bail!("no package") };
        let text = "init:\n  - GRUB_TAG # and GRUB_TAG\nfiles: 'EVE_VERSION'\n";
        let place = |_: &str, line| format!("a.yml.in:{line}");
        let filled = fill(text, &place, &[("EVE_VERSION", "1.2.3".to_owned())], &mut lookup).expect("filled");
        assert_eq!(filled, "init:\n  - lfedge/eve-grub:1-amd64 # and lfedge/eve-grub:1-amd64\nfiles: '1.2.3'\n");
        let not_tags = "é: xGRUB_TAG GRUB_TAGS grub_TAG _TAG 1_TAG GRUB_TAG_ ĀGRUB_TAG\n";
        assert_eq!(fill(not_tags, &place, &[], &mut lookup).expect("filled"), not_tags);
        let error = fill("x:\n  - GRUBB_TAG\n", &place, &[], &mut lookup).expect_err("refused").to_string();
        assert_eq!(error, "a.yml.in:2: GRUBB_TAG: no package");
    }
}
