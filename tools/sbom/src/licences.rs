//! Names of licences: Debian's short names and their SPDX identifiers.

/// Names whose SPDX identifier is another word, in lower case. A trailing `+` is handled by [`identifier`].
const NAMES: &[(&str, &str)] = &[
    ("expat", "MIT"),
    ("mit", "MIT"),
    ("apache-2", "Apache-2.0"),
    ("apache-2.0", "Apache-2.0"),
    ("artistic", "Artistic-1.0"),
    ("artistic-1", "Artistic-1.0"),
    ("artistic-2", "Artistic-2.0"),
    ("artistic-2.0", "Artistic-2.0"),
    ("bsd-2-clause", "BSD-2-Clause"),
    ("bsd-3-clause", "BSD-3-Clause"),
    ("bsd-4-clause", "BSD-4-Clause"),
    ("bsl-1.0", "BSL-1.0"),
    ("cc0", "CC0-1.0"),
    ("cc0-1.0", "CC0-1.0"),
    ("fsfap", "FSFAP"),
    ("isc", "ISC"),
    ("mpl-1.1", "MPL-1.1"),
    ("mpl-2.0", "MPL-2.0"),
    ("unlicense", "Unlicense"),
    ("wtfpl-2", "WTFPL"),
    ("x11", "X11"),
    ("zlib", "Zlib"),
    ("0bsd", "0BSD"),
];

/// Families whose identifiers end in `-only` or `-or-later`, with the versions that exist.
const FAMILIES: &[(&str, &str, &[&str])] =
    &[("gpl-", "GPL-", &["1.0", "2.0", "3.0"]), ("lgpl-", "LGPL-", &["2.0", "2.1", "3.0"]), ("gfdl-", "GFDL-", &["1.1", "1.2", "1.3"])];

/// The SPDX identifier of a licence with Debian's short `name` (copyright format 1.0, section 7.1); none if it has no exact one.
pub fn identifier(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    if let Some((_, identifier)) = NAMES.iter().find(|(known, _)| *known == lower) {
        return Some((*identifier).to_owned());
    }
    let (plain, or_later) = lower.strip_suffix('+').map_or((lower.as_str(), false), |plain| (plain, true));
    for (prefix, spdx, versions) in FAMILIES {
        let Some(version) = plain.strip_prefix(prefix) else { continue };
        let version = if version.contains('.') { version.to_owned() } else { format!("{version}.0") };
        if versions.contains(&version.as_str()) {
            return Some(format!("{spdx}{version}-{}", if or_later { "or-later" } else { "only" }));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::identifier;

    #[test]
    fn short_names_have_identifiers_where_they_are_exact() {
        let known = [
            ("GPL-2", "GPL-2.0-only"),
            ("GPL-2.0+", "GPL-2.0-or-later"),
            ("LGPL-2.1+", "LGPL-2.1-or-later"),
            ("LGPL-3", "LGPL-3.0-only"),
            ("expat", "MIT"),
            ("BSD-3-clause", "BSD-3-Clause"),
        ];
        for (name, expected) in known {
            assert_eq!(identifier(name).as_deref(), Some(expected), "{name}");
        }
        for name in ["GPL", "LGPL", "GPL-9", "public-domain", "BSD", ""] {
            assert_eq!(identifier(name), None, "{name}");
        }
    }
}
