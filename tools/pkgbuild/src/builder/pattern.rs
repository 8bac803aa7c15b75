//! Path patterns: wildcards of `COPY` (Go's `filepath.Match`, per path part) and `.dockerignore`.

/// Whether the text contains wildcards.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Matches a name against one part of a pattern: `*`, `?`, `[a-z]`, `[^a]`, and `\` before a literal character. A malformed
/// pattern matches nothing.
pub(super) fn matches_name(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.first(), name.first()) {
        (None, None) => true,
        (Some(b'*'), _) => matches_name(&pattern[1..], name) || !name.is_empty() && matches_name(pattern, &name[1..]),
        (Some(b'?'), Some(_)) => matches_name(&pattern[1..], &name[1..]),
        (Some(b'['), Some(c)) => match class(&pattern[1..], *c) {
            Some((true, rest)) => matches_name(rest, &name[1..]),
            _ => false,
        },
        (Some(b'\\'), Some(c)) if pattern.len() > 1 => pattern[1] == *c && matches_name(&pattern[2..], &name[1..]),
        (Some(p), Some(c)) => p == c && matches_name(&pattern[1..], &name[1..]),
        _ => false,
    }
}

/// Parses a class after `[`: whether it contains `c`, and the rest of the pattern.
fn class(mut pattern: &[u8], c: u8) -> Option<(bool, &[u8])> {
    let negated = pattern.first() == Some(&b'^');
    if negated {
        pattern = &pattern[1..];
    }
    let mut found = false;
    let mut first = true;
    loop {
        match pattern {
            [b']', rest @ ..] if !first => return Some((found != negated, rest)),
            [low, b'-', high, rest @ ..] if *high != b']' => {
                found |= (*low..=*high).contains(&c);
                pattern = rest;
            }
            [one, rest @ ..] => {
                found |= *one == c;
                pattern = rest;
            }
            [] => return None,
        }
        first = false;
    }
}

/// Rules of a `.dockerignore`.
#[derive(Debug, Default)]
pub(super) struct Ignore {
    rules: Vec<(bool, Vec<Vec<u8>>)>,
}

impl Ignore {
    pub(super) fn parse(text: &str) -> Self {
        let mut rules = Vec::new();
        for line in text.strip_prefix('\u{feff}').unwrap_or(text).lines() {
            // A comment begins in the first column.
            let (is_comment, line) = (line.starts_with('#'), line.trim());
            if line.is_empty() || is_comment {
                continue;
            }
            let (again, line) = line.strip_prefix('!').map_or((false, line), |line| (true, line.trim_start()));
            let mut parts: Vec<Vec<u8>> = Vec::new();
            for part in line.split('/') {
                match part {
                    "" | "." => {}
                    ".." => drop(parts.pop()),
                    part => parts.push(part.as_bytes().to_vec()),
                }
            }
            if !parts.is_empty() {
                rules.push((again, parts));
            }
        }
        Self { rules }
    }

    /// Whether `path` is excluded: decided by the last rule that matches it or a parent folder.
    pub(super) fn excludes(&self, path: &[u8]) -> bool {
        let parts: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
        let matches = |rule: &[Vec<u8>]| (1..=parts.len()).any(|length| matches_path(rule, &parts[..length]));
        self.rules.iter().rev().find(|(_, rule)| matches(rule)).is_some_and(|(again, _)| !again)
    }
}

/// `**` matches any number of parts, including none.
fn matches_path(pattern: &[Vec<u8>], path: &[&[u8]]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == b"**" => matches_path(rest, path) || !path.is_empty() && matches_path(pattern, &path[1..]),
        (Some((first, rest)), Some((name, names))) => matches_name(first, name) && matches_path(rest, names),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_go_matches_them() {
        for (pattern, name, yes) in [
            ("*", "a", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[]a]", "]", true),
            ("[a", "a", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("", "", true),
        ] {
            assert_eq!(matches_name(pattern.as_bytes(), name.as_bytes()), yes, "{pattern} {name}");
        }
    }

    #[test]
    fn the_last_line_that_matches_decides() {
        let ignore = Ignore::parse("# no\n/build\n**/*.o\n!keep/a.o\n*.md\n!README.md\n");
        for (path, out) in [
            ("build", true),
            ("build/x/y", true),
            ("src/build", false),
            ("a.o", true),
            ("x/y/a.o", true),
            ("keep/a.o", false),
            ("x.md", true),
            ("README.md", false),
            ("docs/x.md", false),
        ] {
            assert_eq!(ignore.excludes(path.as_bytes()), out, "{path}");
        }
    }
}
