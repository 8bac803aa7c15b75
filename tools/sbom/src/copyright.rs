//! Debian's machine-readable copyright files (copyright format 1.0) as SPDX licence expressions.

use crate::licences::identifier;
use pkgbuild::debian::stanzas;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// A licence as an SPDX expression, with the texts of the licences in it that SPDX's list does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Licence {
    /// The expression.
    pub expression: String,
    /// Name and text of each `LicenseRef-…` in it.
    pub texts: BTreeMap<String, (String, String)>,
}

impl Licence {
    /// A licence that a crate declares, which is an SPDX expression already; older crates write `/` for OR.
    #[must_use]
    pub fn expression(text: &str) -> Self {
        Self { expression: text.replace('/', " OR "), texts: BTreeMap::new() }
    }
}

/// The licence of a package with this copyright file: all licences of its `Files` paragraphs apply. None if the file is prose.
pub fn read_copyright(text: &str, package: &str) -> Option<Licence> {
    let all = stanzas(text, "copyright").collect::<Result<Vec<_>, _>>().ok()?;
    all.first()?.get("Format")?;
    let mut texts = BTreeMap::new();
    for (synopsis, body) in all.iter().filter_map(|stanza| stanza.get("License")).map(parts) {
        if !body.is_empty() {
            texts.entry(synopsis).or_insert(body);
        }
    }
    let mut reader = Reader { texts, package, found: BTreeMap::new() };
    let mut terms = BTreeSet::new();
    for (synopsis, body) in all.iter().filter(|stanza| stanza.get("Files").is_some()).filter_map(|stanza| stanza.get("License")).map(parts)
    {
        terms.extend(reader.convert(&synopsis, &body));
    }
    if terms.is_empty() {
        return None;
    }
    let several = terms.len() > 1;
    let term = |term: String| if several && term.contains(" OR ") { format!("({term})") } else { term };
    let expression = terms.into_iter().map(term).collect::<Vec<_>>().join(" AND ");
    Some(Licence { expression, texts: reader.found })
}

/// The synopsis and the text of a `License` field.
fn parts(value: &str) -> (String, String) {
    let (synopsis, body) = value.split_once('\n').unwrap_or((value, ""));
    let line = |line: &str| {
        let line = line.strip_prefix(' ').unwrap_or(line);
        if line == "." { String::new() } else { line.to_owned() }
    };
    (synopsis.split_ascii_whitespace().collect::<Vec<_>>().join(" "), body.lines().map(line).collect::<Vec<_>>().join("\n"))
}

struct Reader<'t> {
    /// The texts of the file by synopsis.
    texts: BTreeMap<String, String>,
    package: &'t str,
    found: BTreeMap<String, (String, String)>,
}

impl Reader<'_> {
    /// The terms of a synopsis that all apply: names, or names joined by OR. A comma before `and` binds weaker than the word alone.
    fn convert(&mut self, synopsis: &str, body: &str) -> Vec<String> {
        // A comma before `or`, or both words without a comma: the grammar has no simple answer, so the text is kept as it is.
        if synopsis.contains(", or ") || (synopsis.contains(" or ") && synopsis.contains(" and ") && !synopsis.contains(", and ")) {
            return vec![self.named(synopsis, body)];
        }
        let groups = synopsis.split(", and ").flat_map(|part| part.split(" and "));
        let any = |group: &str| group.split(" or ").map(|name| self.named(name.trim(), body)).collect::<Vec<_>>().join(" OR ");
        groups.map(any).collect()
    }

    /// The identifier of one licence, or a reference to its text.
    fn named(&mut self, name: &str, body: &str) -> String {
        if let Some(known) = identifier(name) {
            return known;
        }
        let plain = name.split(" with ").next().unwrap_or(name);
        let elsewhere = || format!("See usr/share/doc/{}/copyright.", self.package);
        let text = [name, plain].iter().find_map(|name| self.texts.get(*name).cloned());
        let text = text.or_else(|| (!body.is_empty()).then(|| body.to_owned())).unwrap_or_else(elsewhere);
        let name = if name.is_empty() { "unnamed" } else { name };
        let word: String = name.chars().map(|letter| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' }).collect();
        let hash: String = Sha256::digest(format!("{name}\n{text}")).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let reference = format!("LicenseRef-{word}-{hash}");
        self.found.insert(reference.clone(), (name.to_owned(), text));
        reference
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn expression(files: &str) -> String {
        read_copyright(&format!("Format: https://x\n\n{files}"), "p").unwrap().expression
    }

    #[test]
    fn synopses_become_expressions() {
        assert_eq!(expression("Files: *\nLicense: GPL-2+\n"), "GPL-2.0-or-later");
        assert_eq!(expression("Files: a\nLicense: Expat or GPL-2\n\nFiles: b\nLicense: ISC\n"), "ISC AND (MIT OR GPL-2.0-only)");
        assert_eq!(expression("Files: *\nLicense: GPL-2 or ISC, and Zlib\n"), "(GPL-2.0-only OR ISC) AND Zlib");
        assert_eq!(expression("Files: a\nLicense: ISC and Zlib\n\nFiles: b\nLicense: Zlib\n"), "ISC AND Zlib");
        assert_eq!(expression("Files: a\nLicense: ISC or Zlib\n"), "ISC OR Zlib");
        assert_eq!(expression("Files: *\nLicense: MIT and BSD-3-clause\n"), "BSD-3-Clause AND MIT");
    }

    #[test]
    fn other_licences_are_referred_to_with_their_text() {
        let text = "Format: x\n\nFiles: *\nLicense: odd thing\n\nLicense: odd thing\n first\n .\n second\n";
        let licence = read_copyright(text, "p").unwrap();
        let (reference, (name, body)) = licence.texts.iter().next().unwrap();
        assert_eq!((&licence.expression, name.as_str(), body.as_str()), (reference, "odd thing", "first\n\nsecond"));
        assert!(reference.starts_with("LicenseRef-odd-thing-"), "{reference}");
        // The same name with another text is another licence.
        let other = read_copyright(&text.replace("second", "third"), "p").unwrap();
        assert_ne!(other.expression, licence.expression);
        let none = read_copyright("Format: x\n\nFiles: *\nLicense: odd\n", "p").unwrap();
        assert_eq!(none.texts.values().next().unwrap().1, "See usr/share/doc/p/copyright.");
    }

    #[test]
    fn prose_has_no_expression() {
        assert_eq!(read_copyright("This is the prose of a packager.\n\nIt is GPL.\n", "p"), None);
        assert_eq!(read_copyright("Format: x\n\nnot a field\n", "p"), None);
        assert_eq!(read_copyright("", "p"), None);
    }
}
