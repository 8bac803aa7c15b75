//! Level 1 names (8.3) for readers without Rock Ridge, and the sort order of the format.

use std::collections::HashSet;

/// A level 1 name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Short {
    // Padded with spaces, as in the format's comparison rule.
    base: [u8; 8],
    extension: [u8; 3],
    directory: bool,
}

impl Short {
    /// The identifier in a directory record: `GRUB.CFG;1`, `BOOT`.
    pub(super) fn identifier(&self) -> Vec<u8> {
        let mut out = self.base.trim_ascii_end().to_vec();
        if !self.directory {
            out.push(b'.');
            out.extend_from_slice(self.extension.trim_ascii_end());
            out.extend_from_slice(b";1");
        }
        out
    }
}

/// Names for the children of a directory, in order: (name, whether it is a directory).
pub(super) fn assign<'n>(children: impl Iterator<Item = (&'n [u8], bool)>) -> Vec<Short> {
    let mut taken = HashSet::new();
    let mut next = std::collections::HashMap::new();
    children
        .map(|(name, directory)| {
            let wanted = shorten(name, directory);
            let mut short = wanted.clone();
            let number = next.entry(wanted.clone()).or_insert(0_u32);
            while !taken.insert((short.base, short.extension)) {
                *number += 1;
                short = with_number(&wanted, *number);
            }
            short
        })
        .collect()
}

fn shorten(name: &[u8], directory: bool) -> Short {
    let dot = if directory { None } else { name.iter().rposition(|byte| *byte == b'.').filter(|at| *at > 0) };
    let (base, extension) = dot.map_or((name, &[][..]), |at| (&name[..at], &name[at + 1..]));
    Short { base: pad(base), extension: pad(extension), directory }
}

fn pad<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut out = [b' '; N];
    for (to, from) in out.iter_mut().zip(text) {
        *to = if from.is_ascii_alphanumeric() { from.to_ascii_uppercase() } else { b'_' };
    }
    out
}

/// The name with a number at the end of its base.
fn with_number(wanted: &Short, number: u32) -> Short {
    let digits = number.to_string();
    let used = wanted.base.trim_ascii_end().len().min(8_usize.saturating_sub(digits.len()));
    let mut base = wanted.base;
    base[used..].fill(b' ');
    base[used..used + digits.len()].copy_from_slice(digits.as_bytes());
    Short { base, ..wanted.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_differ() {
        let names = ["grub.cfg", ".uuid", "a.long.name.text", "rootfs.img", "rootfs-image.img", "rootfs-imagf.img", "Käse", "EFI.d"];
        let children = names.iter().map(|name| (name.as_bytes(), *name == "EFI.d"));
        let short: Vec<String> = assign(children).iter().map(|s| String::from_utf8_lossy(&s.identifier()).into_owned()).collect();
        let want = ["GRUB.CFG;1", "_UUID.;1", "A_LONG_N.TEX;1", "ROOTFS.IMG;1", "ROOTFS_I.IMG;1", "ROOTFS_1.IMG;1", "K__SE.;1", "EFI_D"];
        assert_eq!(short, want);
    }
}
