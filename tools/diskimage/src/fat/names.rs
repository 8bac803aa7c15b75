//! Names of a directory: valid characters, long names, and their 8.3 aliases.

use anyhow::{Context as _, Result, bail};
use std::collections::{HashMap, HashSet};

/// A name and its alias.
#[derive(Clone, Debug)]
pub(super) struct Name {
    /// Base and extension of the alias, padded with spaces.
    pub short: [u8; 11],
    /// Long name in UTF-16, if it differs from the alias.
    pub long: Option<Vec<u16>>,
}

impl Name {
    /// Number of directory entries: long name and short entry.
    pub fn slots(&self) -> usize {
        1 + self.long.as_ref().map_or(0, |long| long.len().div_ceil(13))
    }
}

/// Names for the children of a directory, in the given order. Errors contain the name.
pub(super) fn assign<'a>(names: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Name>> {
    let mut texts = Vec::new();
    let mut folded: HashMap<String, &str> = HashMap::new();
    for name in names {
        let text = check(name)?;
        if let Some(other) = folded.insert(text.to_uppercase(), text) {
            bail!("`{other}` and `{text}` differ only in case, which FAT ignores");
        }
        texts.push(text);
    }
    // Valid 8.3 names go first, so that no generated alias collides with them.
    let exact: Vec<Option<[u8; 11]>> = texts.iter().map(|text| exact_short(text)).collect();
    let mut taken: HashSet<[u8; 11]> = exact.iter().flatten().copied().collect();
    let mut tails: HashMap<[u8; 11], u32> = HashMap::new();
    texts
        .iter()
        .zip(exact)
        .map(|(text, exact)| {
            let short = match exact {
                Some(short) => short,
                None => made_short(text, &mut taken, &mut tails)?,
            };
            let long = (spell(&short) != **text).then(|| text.encode_utf16().collect());
            Ok(Name { short, long })
        })
        .collect()
}

/// Checks that a long name can represent the name.
fn check(name: &[u8]) -> Result<&str> {
    let shown = String::from_utf8_lossy(name);
    let text = std::str::from_utf8(name).ok().with_context(|| format!("the name `{}` is not UTF-8", shown.escape_debug()))?;
    if let Some(bad) = text.chars().find(|c| c.is_ascii_control() || "\"*/:<>?\\|".contains(*c)) {
        bail!("the name `{}` contains {bad:?}, which FAT does not allow", shown.escape_debug());
    }
    if text.ends_with(['.', ' ']) || text.is_empty() {
        bail!("the name `{shown}` ends with a dot or a space, which FAT drops");
    }
    if let Some(device) = device_of(text) {
        bail!("the name `{shown}` is that of the device {device} on Windows, with or without an extension, so Windows cannot open it");
    }
    let units = text.encode_utf16().count();
    if units > 255 {
        bail!("the name `{shown}` has {units} UTF-16 code units, more than 255");
    }
    Ok(text)
}

/// The device that Windows opens instead of a file with this name: the part before the first dot decides, without trailing
/// spaces and in any case (Microsoft's "Naming Files, Paths, and Namespaces").
fn device_of(text: &str) -> Option<String> {
    let base = text.split('.').next()?.trim_end_matches(' ').to_ascii_uppercase();
    let port = base.strip_prefix("COM").or_else(|| base.strip_prefix("LPT"));
    // Windows also reads the superscript digits of ISO 8859-1 as digits.
    let numbered = port.is_some_and(|number| matches!(number, "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³"));
    (numbered || ["CON", "PRN", "AUX", "NUL"].contains(&base.as_str())).then_some(base)
}

fn is_short_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'()-@^_`{}~".contains(c)
}

/// The alias of a name that is 8.3 except for its case.
fn exact_short(text: &str) -> Option<[u8; 11]> {
    let (base, extension) = text.split_once('.').unwrap_or((text, ""));
    let fits = (1..=8).contains(&base.len()) && extension.len() <= 3 && !text.ends_with('.');
    (fits && base.chars().chain(extension.chars()).all(is_short_char)).then(|| join(base, extension))
}

fn join(base: &str, extension: &str) -> [u8; 11] {
    let mut short = [b' '; 11];
    short[..base.len()].copy_from_slice(base.to_ascii_uppercase().as_bytes());
    short[8..8 + extension.len()].copy_from_slice(extension.to_ascii_uppercase().as_bytes());
    short
}

/// A unique alias with a numeric tail.
fn made_short(text: &str, taken: &mut HashSet<[u8; 11]>, tails: &mut HashMap<[u8; 11], u32>) -> Result<[u8; 11]> {
    let stem = text.trim_start_matches(['.', ' ']);
    let (base, extension) = stem.rsplit_once('.').unwrap_or((stem, ""));
    let clean = |part: &str, most: usize| -> String {
        let kept = part.chars().filter(|c| !matches!(c, ' ' | '.'));
        kept.map(|c| if is_short_char(c) { c } else { '_' }).take(most).collect()
    };
    let (base, extension) = (clean(base, 8), clean(extension, 3));
    let next = tails.entry(join(&base, &extension)).or_insert(0);
    loop {
        *next += 1;
        let tail = format!("~{next}");
        if tail.len() > 7 {
            bail!("there is no free 8.3 alias for the name `{text}`");
        }
        let short = join(&format!("{}{tail}", &base[..base.len().min(8 - tail.len())]), &extension);
        if taken.insert(short) {
            return Ok(short);
        }
    }
}

/// The alias as text, `BASE.EXT`.
pub(super) fn spell(short: &[u8; 11]) -> String {
    let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches(' ').to_owned();
    let (base, extension) = (part(&short[..8]), part(&short[8..]));
    if extension.is_empty() { base } else { format!("{base}.{extension}") }
}

/// The same for an entry without a long name, whose bits `case` say which part is in small letters: Windows, mtools and Linux write a name
/// of one case in each part so (Linux's fs/fat, `CASE_LOWER_BASE` and `CASE_LOWER_EXT`).
pub(super) fn spell_with_case(short: &[u8; 11], case: u8) -> String {
    let mut short = *short;
    if case & 0x08 != 0 {
        short[..8].make_ascii_lowercase();
    }
    if case & 0x10 != 0 {
        short[8..].make_ascii_lowercase();
    }
    spell(&short)
}

/// Checksum of an alias; links the long name's entries to it.
pub(super) fn checksum(short: &[u8; 11]) -> u8 {
    short.iter().fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn aliases(names: &[&str]) -> Vec<String> {
        assign(names.iter().map(|n| n.as_bytes())).unwrap().iter().map(|n| spell(&n.short)).collect()
    }

    #[test]
    fn aliases_are_unique_and_stable() {
        assert_eq!(aliases(&["BOOTX64.EFI", "grub.cfg", "authorized_keys"]), ["BOOTX64.EFI", "GRUB.CFG", "AUTHOR~1"]);
        // An 8.3 name that looks like an alias is kept.
        assert_eq!(aliases(&["long name.text", "LONGNA~1.TEX"]), ["LONGNA~2.TEX", "LONGNA~1.TEX"]);
        assert_eq!(aliases(&["origin.2023-05-01.0.0.0-master", "a+b", ".x", "ärger"]), ["ORIGIN~1.0-M", "A_B~1", "X~1", "_RGER~1"]);
        let many: Vec<String> = (0..12).map(|n| format!("collision {n}")).collect();
        let many = aliases(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((many[0].as_str(), many[11].as_str()), ("COLLIS~1", "COLLI~12"));
    }

    #[test]
    fn only_upper_case_goes_without_a_long_name() {
        let names = assign([&b"EVE.TXT"[..], b"eve.cfg", b"a.b.c"].into_iter()).unwrap();
        assert_eq!(names.iter().map(Name::slots).collect::<Vec<_>>(), [1, 2, 2]);
    }

    #[test]
    fn names_that_fat_cannot_hold_are_named() {
        let error = |names: &[&[u8]]| assign(names.iter().copied()).unwrap_err().to_string();
        assert_eq!(error(&[b"a:b"]), "the name `a:b` contains ':', which FAT does not allow");
        assert_eq!(error(&[b"Eve", b"eVE"]), "`Eve` and `eVE` differ only in case, which FAT ignores");
        assert_eq!(error(&[b"dot."]), "the name `dot.` ends with a dot or a space, which FAT drops");
        assert_eq!(error(&[b"a."]), "the name `a.` ends with a dot or a space, which FAT drops");
        assert_eq!(error(&[b"a "]), "the name `a ` ends with a dot or a space, which FAT drops");
        for bad in "<>:\"|?*\\\u{1}\n\u{1f}\u{7f}".chars() {
            assert!(error(&[format!("x{bad}y").as_bytes()]).ends_with(&format!("contains {bad:?}, which FAT does not allow")), "{bad:?}");
        }
        assert!(error(&[b"\xff"]).contains("is not UTF-8"));
        assert!(error(&["x".repeat(256).as_bytes()]).contains("256 UTF-16 code units, more than 255"));
        assign([&*"ä".repeat(255).into_bytes()].into_iter()).unwrap();
    }

    #[test]
    fn names_of_windows_devices_are_refused() {
        let error = |name: &str| assign([name.as_bytes()].into_iter()).map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(
            error("Nul.tar.gz").unwrap_err(),
            "the name `Nul.tar.gz` is that of the device NUL on Windows, with or without an extension, so Windows cannot open it"
        );
        let ports = ["COM", "LPT"].into_iter().flat_map(|port| "123456789¹²³".chars().map(move |n| format!("{port}{n}")));
        for device in ["CON", "PRN", "AUX", "NUL"].into_iter().map(str::to_owned).chain(ports) {
            for name in [device.clone(), device.to_lowercase(), format!("{device}.json"), format!("{device} .x"), format!("{device}.a.b")] {
                assert!(error(&name).unwrap_err().contains(&format!("the device {device} on Windows")), "{name}");
            }
        }
        for name in ["CONFIG", "COM", "COM0", "COM10", "LPT", "LPT1x", "x.CON", ".CON", "AUX-1", "NULL", "CON~1", "server"] {
            error(name).unwrap();
        }
    }
}
