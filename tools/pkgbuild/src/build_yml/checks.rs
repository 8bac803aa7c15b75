//! Words of a build.yml that nothing knows: keys, architectures, capabilities; with their line and what was meant.

use super::ImageConfig;
use crate::debian::nearest;
use anyhow::{Result, bail};

/// What serde says of a key that it does not know, with the key that is meant instead of all that there are.
pub(super) fn with_hint(said: &str) -> String {
    let Some((unknown, known)) = said.split_once(", expected ") else { return said.to_owned() };
    let Some(key) = unknown.strip_prefix("unknown field `").and_then(|rest| rest.strip_suffix('`')) else { return said.to_owned() };
    let known = known.trim_start_matches("one of ").replace('`', "");
    match nearest(key, known.split([',', ' ']).filter(|word| !word.is_empty())) {
        Some(near) => format!("{unknown}\nhint: did you mean {near}?"),
        None => format!("{unknown}\nhint: the keys here are {known}"),
    }
}

/// The line of `text` in which `word` stands as a value or item.
fn line_of(text: &str, word: &str) -> usize {
    let is_word = |line: &str| line.split([' ', ',', '[', ']', '"', '\'', '\t']).any(|piece| piece == word);
    1 + text.lines().position(|line| !line.trim_start().starts_with('#') && is_word(line)).unwrap_or(0)
}

/// Fails if a word in `arches` is one letter or so from an architecture. Others are linuxkit's business.
pub(super) fn check_arches(arches: &[String], text: &str, name: &str) -> Result<()> {
    const KNOWN: [&str; 4] = ["amd64", "arm64", "riscv64", "s390x"];
    for arch in arches.iter().filter(|arch| !KNOWN.contains(&arch.as_str())) {
        // `amd46` has two letters in each other's place.
        let same = |known: &str| {
            let sorted = |word: &str| {
                let mut letters: Vec<char> = word.chars().collect();
                letters.sort_unstable();
                letters
            };
            sorted(known) == sorted(arch)
        };
        let near = KNOWN.into_iter().find(|known| same(known)).or_else(|| nearest(arch, KNOWN.into_iter()));
        if let Some(near) = near {
            bail!("{name}:{}: `{arch}` is no architecture\nhint: did you mean {near}?", line_of(text, arch));
        }
    }
    Ok(())
}

/// Fails if `config` names a capability that Linux does not have.
pub(super) fn check_capabilities(config: &ImageConfig, text: &str, name: &str) -> Result<()> {
    for list in [&config.capabilities, &config.capabilities_add, &config.ambient].into_iter().flatten() {
        let words: Vec<&str> = list.iter().map(String::as_str).collect();
        if let Some((at, near)) = oci::unknown_capability(&words) {
            let word = words[at];
            let hint = near.map_or_else(|| "capabilities(7) lists them".to_owned(), |near| format!("did you mean {near}?"));
            bail!("{name}:{}: `{word}` is not a capability of Linux\nhint: {hint}", line_of(text, word));
        }
    }
    Ok(())
}
