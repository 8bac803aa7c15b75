//! Debian's control syntax (deb822, policy §5.1): stanzas of `Field: value`; relations between packages (§7.1).

use super::version;
use anyhow::{Context as _, Result, bail};
use std::cmp::Ordering;

/// A stanza: its fields in order, borrowed from the text. A value keeps its inner newlines and comments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stanza<'a> {
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> Stanza<'a> {
    /// A field's value; the name is case-insensitive.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// A required, non-empty field.
    pub fn need(&self, name: &str) -> Result<&'a str> {
        match self.get(name) {
            Some(value) if !value.is_empty() => Ok(value),
            _ => bail!("the stanza of `{}` has no field `{name}`", self.get("Package").unwrap_or("?")),
        }
    }
}

/// Iterates over the stanzas of `text`. An error is `file:line: …` and ends the iteration.
pub fn stanzas<'a>(text: &'a str, file: &'a str) -> Stanzas<'a> {
    Stanzas { text, at: 0, line: 0, file }
}

/// See [`stanzas`].
#[derive(Clone, Debug)]
pub struct Stanzas<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    file: &'a str,
}

impl<'a> Iterator for Stanzas<'a> {
    type Item = Result<Stanza<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut fields: Vec<(&'a str, &'a str)> = Vec::new();
        let mut value_from = 0;
        while self.at < self.text.len() {
            let from = self.at;
            let rest = &self.text[from..];
            let line = rest.split('\n').next().unwrap_or(rest);
            self.at += (line.len() + 1).min(rest.len());
            self.line += 1;
            let line = line.trim_end();
            if line.starts_with('#') {
                continue;
            }
            if line.is_empty() {
                if fields.is_empty() {
                    continue;
                }
                break;
            }
            if line.starts_with([' ', '\t'])
                && let Some((_, value)) = fields.last_mut()
            {
                *value = self.text[value_from..from + line.len()].trim();
                continue;
            }
            match line.split_once(':') {
                Some((name, value)) if !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()) => {
                    value_from = from + name.len() + 1;
                    fields.push((name, value.trim()));
                }
                _ => {
                    self.at = self.text.len();
                    let shown: String = line.chars().take(60).collect();
                    return Some(Err(anyhow::anyhow!("{}:{}: `{shown}` is not a field of a control stanza", self.file, self.line)));
                }
            }
        }
        (!fields.is_empty()).then_some(Ok(Stanza { fields }))
    }
}

/// `name (>= version)`: a package in a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Package name, without an architecture qualifier.
    pub name: String,
    /// Operator and version, if given.
    pub version: Option<(Operator, String)>,
}

/// Version comparison of a relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierEqual,
    /// `=`
    Exactly,
    /// `>=`
    LaterEqual,
    /// `>>`
    Later,
}

impl Operator {
    /// Its text.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Earlier => "<<",
            Self::EarlierEqual => "<=",
            Self::Exactly => "=",
            Self::LaterEqual => ">=",
            Self::Later => ">>",
        }
    }
}

impl Relation {
    /// Whether a package of this name with `version` satisfies the relation.
    #[must_use]
    pub fn accepts(&self, version: &str) -> bool {
        let Some((operator, wanted)) = &self.version else { return true };
        let order = version::compare(version, wanted);
        match operator {
            Operator::Earlier => order == Ordering::Less,
            Operator::EarlierEqual => order != Ordering::Greater,
            Operator::Exactly => order == Ordering::Equal,
            Operator::LaterEqual => order != Ordering::Less,
            Operator::Later => order == Ordering::Greater,
        }
    }

    /// Whether `Provides: name [(= provided)]` satisfies the relation; a versioned relation needs a version (policy §7.5).
    #[must_use]
    pub fn accepts_provided(&self, provided: Option<&str>) -> bool {
        self.version.is_none() || provided.is_some_and(|version| self.accepts(version))
    }
}

/// Parses `a (>= 1) | b, c:any`: all outer items are required, one of each inner list suffices.
pub fn parse_relations(text: &str) -> Result<Vec<Vec<Relation>>> {
    let groups = text.split(',').map(str::trim).filter(|group| !group.is_empty());
    groups.map(|group| group.split('|').map(parse_relation).collect()).collect()
}

fn parse_relation(text: &str) -> Result<Relation> {
    let text = text.trim();
    let (name, rest) = text.split_at(text.find([' ', '(', '[', '<', '\t', '\n']).unwrap_or(text.len()));
    // `:any` and `:native` restrict the architecture; a lock has only one architecture.
    let name = match name.split_once(':') {
        Some((name, "any" | "native")) => name,
        Some((_, qualifier)) => bail!("the relation `{text}` needs another architecture (`{qualifier}`), which a lock cannot contain"),
        None => name,
    };
    check_name(name).with_context(|| format!("invalid relation `{text}`"))?;
    let rest = rest.trim();
    if rest.is_empty() {
        return Ok(Relation { name: name.to_owned(), version: None });
    }
    let Some(inner) = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) else {
        bail!("invalid relation `{text}`: `{rest}` is not a version restriction");
    };
    let inner = inner.trim();
    let (operator, version) = inner.split_at(inner.find(|c| !matches!(c, '<' | '>' | '=')).unwrap_or(inner.len()));
    let operator = match operator {
        "<<" => Operator::Earlier,
        // `<` and `>` are obsolete spellings of `<=` and `>=`.
        "<=" | "<" => Operator::EarlierEqual,
        "=" => Operator::Exactly,
        ">=" | ">" => Operator::LaterEqual,
        ">>" => Operator::Later,
        other => bail!("invalid relation `{text}`: `{other}` is not an operator"),
    };
    check_version(version.trim()).with_context(|| format!("invalid relation `{text}`"))?;
    Ok(Relation { name: name.to_owned(), version: Some((operator, version.trim().to_owned())) })
}

/// Checks a package name: lower-case letters, digits, `+`, `-`, `.`, at least two characters (policy §5.6.1).
pub fn check_name(name: &str) -> Result<()> {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.');
    if name.len() < 2 || !name.bytes().all(fine) || !name.as_bytes()[0].is_ascii_alphanumeric() {
        bail!("`{name}` is not a valid Debian package name");
    }
    Ok(())
}

/// Checks a version's characters (policy §5.6.12).
pub fn check_version(version: &str) -> Result<()> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-' | b'~' | b':');
    if version.is_empty() || !version.bytes().all(fine) {
        bail!("`{version}` is not a valid Debian version");
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stanzas_have_continuations_comments_and_blank_lines() {
        let text = "\n# made by hand\nPackage: a\nDescription: one\n two\n .\n# aside\n three\r\nEmpty:\n\n\n \nPackage:b\nSigned-By:\n -----BEGIN\n x: y\n";
        let all: Vec<Stanza<'_>> = stanzas(text, "f").collect::<Result<_>>().unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].get("package"), Some("a"));
        assert_eq!(all[0].get("Description"), Some("one\n two\n .\n# aside\n three"));
        assert_eq!(all[0].get("Empty"), Some(""));
        assert_eq!(all[0].need("Empty").unwrap_err().to_string(), "the stanza of `a` has no field `Empty`");
        assert_eq!(all[1].get("Package"), Some("b"));
        assert_eq!(all[1].get("Signed-By"), Some("-----BEGIN\n x: y"));
    }

    #[test]
    fn what_is_no_stanza_is_named_with_its_line() {
        let error = stanzas("Package: a\n\nnonsense\n", "f").collect::<Result<Vec<_>>>().unwrap_err();
        assert_eq!(error.to_string(), "f:3: `nonsense` is not a field of a control stanza");
        let error = stanzas(" starts with a blank\n", "f").next().unwrap().unwrap_err().to_string();
        assert!(error.starts_with("f:1: "), "{error}");
    }

    #[test]
    fn relations_are_read() {
        let all = parse_relations("libc6 (>= 2.34), python3:any (<<3.12)| mawk ,\n debconf (= 0.5)").unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!(all[1][0], Relation { name: "python3".into(), version: Some((Operator::Earlier, "3.12".into())) });
        assert_eq!(all[1][1], Relation { name: "mawk".into(), version: None });
        assert!(all[0][0].accepts("2.36-9") && !all[0][0].accepts("2.31"));
        assert!(all[2][0].accepts_provided(Some("0.5")) && !all[2][0].accepts_provided(None));
        for (bad, message) in [
            ("ab (>= )", "invalid relation `ab (>= )`: `` is not a valid Debian version"),
            ("a (>= 1)", "invalid relation `a (>= 1)`: `a` is not a valid Debian package name"),
            ("Big", "invalid relation `Big`: `Big` is not a valid Debian package name"),
            ("ab:i386", "the relation `ab:i386` needs another architecture (`i386`), which a lock cannot contain"),
            ("ab (~ 1)", "invalid relation `ab (~ 1)`: `` is not an operator"),
            ("ab 1.0", "invalid relation `ab 1.0`: `1.0` is not a version restriction"),
            ("ab (>= 1", "invalid relation `ab (>= 1`: `(>= 1` is not a version restriction"),
            ("ab (>= 1;rm)", "invalid relation `ab (>= 1;rm)`: `1;rm` is not a valid Debian version"),
        ] {
            assert_eq!(format!("{:#}", parse_relations(bad).unwrap_err()), message);
        }
    }
}
