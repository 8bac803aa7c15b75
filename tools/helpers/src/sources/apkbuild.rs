//! Reads the variables of an Alpine APKBUILD, a shell script, without running it: reads the assignments at the top level, with the
//! expansions that such files use, and skips functions, conditions and loops.

use regex::Regex;
use std::collections::BTreeMap;

/// The variables with their last values.
pub fn variables(text: &str) -> BTreeMap<String, String> {
    let mut reader = Reader { rest: text, variables: BTreeMap::new() };
    let mut depth = 0_usize;
    while reader.skip_blanks() {
        let word = reader.rest.split(|c: char| c.is_whitespace() || c == ';').next().unwrap_or_default();
        match word {
            "if" | "case" | "for" | "while" | "until" => depth += 1,
            "fi" | "esac" | "done" => depth = depth.saturating_sub(1),
            _ => {}
        }
        match assignment(reader.rest) {
            Some((name, append)) if depth == 0 => {
                reader.rest = &reader.rest[name.len() + if append { 2 } else { 1 }..];
                let value = reader.word(None);
                let old = if append { reader.variables.remove(name).unwrap_or_default() } else { String::new() };
                reader.variables.insert(name.to_owned(), old + &value);
            }
            _ if is_function(reader.rest) => reader.skip_function(),
            _ => reader.skip_statement(),
        }
    }
    reader.variables
}

fn name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    if text.starts_with(|c: char| c.is_ascii_digit()) { "" } else { &text[..end] }
}

/// The variable that a statement sets, and whether the statement appends to it (`+=`).
fn assignment(text: &str) -> Option<(&str, bool)> {
    let name = name(text);
    let rest = &text[name.len()..];
    (!name.is_empty() && (rest.starts_with('=') || rest.starts_with("+="))).then_some((name, rest.starts_with('+')))
}

fn is_function(text: &str) -> bool {
    text.lines().next().unwrap_or_default().split_once("()").is_some_and(|(name, rest)| {
        !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || "=\"'$".contains(c)) && rest.trim_start().starts_with('{')
    })
}

struct Reader<'t> {
    rest: &'t str,
    variables: BTreeMap<String, String>,
}

impl Reader<'_> {
    /// Goes to the next statement; false at the end of the text.
    fn skip_blanks(&mut self) -> bool {
        loop {
            self.rest = self.rest.trim_start_matches(|c: char| c.is_whitespace() || c == ';');
            if !self.rest.starts_with('#') {
                return !self.rest.is_empty();
            }
            self.skip_line();
        }
    }

    fn skip_line(&mut self) {
        self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
    }

    fn skip_function(&mut self) {
        let first = self.rest.lines().next().unwrap_or_default();
        if first.trim_end().ends_with('}') {
            return self.skip_line();
        }
        self.rest = self.rest.split_once("\n}").map_or("", |(_, rest)| rest);
    }

    /// Skips any other statement: to the end of its line, or to a `;` outside of quotes.
    fn skip_statement(&mut self) {
        loop {
            let before = self.rest.len();
            self.word(None);
            if self.rest.is_empty() || self.rest.starts_with([';', '\n']) {
                return;
            }
            if self.rest.len() == before {
                let first = self.rest.chars().next().map_or(0, char::len_utf8);
                self.rest = &self.rest[first..];
            }
        }
    }

    fn take(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// Takes one word, without its quotes and with its variables replaced: up to white space, or up to and including `end`.
    fn word(&mut self, end: Option<char>) -> String {
        let mut out = String::new();
        let mut quoted = false;
        while let Some(c) = self.rest.chars().next() {
            match c {
                c if Some(c) == end && !quoted => {
                    self.take();
                    return out;
                }
                '"' => {
                    quoted = !quoted;
                    self.take();
                }
                '\'' if !quoted => {
                    self.take();
                    let (text, rest) = self.rest.split_once('\'').unwrap_or((self.rest, ""));
                    out.push_str(text);
                    self.rest = rest;
                }
                '\\' => {
                    self.take();
                    match self.take() {
                        Some('\n') | None => {}
                        Some(c) if quoted && !"$`\"\\".contains(c) => out.extend(['\\', c]),
                        Some(c) => out.push(c),
                    }
                }
                '$' => {
                    self.take();
                    let value = self.expansion();
                    out.push_str(&value);
                }
                c if end.is_none() && !quoted && (c.is_whitespace() || c == ';') => return out,
                c => {
                    self.take();
                    out.push(c);
                }
            }
        }
        out
    }

    /// Takes the text after a `$`, and returns its value.
    fn expansion(&mut self) -> String {
        if self.rest.starts_with('(') {
            // `$(command)`: nothing is run, so its output is unknown.
            let mut depth = 0_usize;
            while let Some(c) = self.take() {
                match c {
                    '(' => depth += 1,
                    ')' => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
            return String::new();
        }
        let braces = self.rest.starts_with('{');
        if braces {
            self.take();
        }
        let name = name(self.rest).to_owned();
        self.rest = &self.rest[name.len()..];
        if !braces && name.is_empty() {
            return "$".to_owned();
        }
        let value = self.variables.get(&name).cloned().unwrap_or_default();
        if !braces {
            return value;
        }
        let operator: String = self.rest.chars().take_while(|c| "%#/:-+".contains(*c)).collect();
        self.rest = &self.rest[operator.len()..];
        let operand = self.word(Some('}'));
        operate(&value, &operator, &operand)
    }
}

fn operate(value: &str, operator: &str, operand: &str) -> String {
    let cut = |keep: &dyn Fn(usize) -> (bool, usize), longest: bool| {
        let mut places: Vec<usize> = value.char_indices().map(|(at, _)| at).chain([value.len()]).collect();
        if longest {
            places.reverse();
        }
        places.into_iter().map(keep).find(|(fits, _)| *fits).map(|(_, at)| at)
    };
    match operator {
        "%" | "%%" => {
            let pattern = glob(operand, true);
            // `%` cuts the shortest match, which is the one that begins last.
            let at = cut(&|at| (pattern.is_match(&value[at..]), at), operator == "%");
            at.map_or(value, |at| &value[..at]).to_owned()
        }
        "#" | "##" => {
            let pattern = glob(operand, true);
            let at = cut(&|at| (pattern.is_match(&value[..at]), at), operator == "##");
            at.map_or(value, |at| &value[at..]).to_owned()
        }
        "/" | "//" => {
            let (pattern, new) = operand.split_once('/').unwrap_or((operand, ""));
            let pattern = glob(pattern, false);
            let limit = usize::from(operator == "/");
            pattern.replacen(value, limit, regex::NoExpand(new)).into_owned()
        }
        ":-" | "-" => if value.is_empty() { operand } else { value }.to_owned(),
        ":+" | "+" => if value.is_empty() { "" } else { operand }.to_owned(),
        ":" => {
            let (from, length) = operand.split_once(':').map_or((operand, None), |(from, length)| (from, length.parse().ok()));
            value.chars().skip(from.parse().unwrap_or(0)).take(length.unwrap_or(usize::MAX)).collect()
        }
        _ => value.to_owned(),
    }
}

/// A shell pattern as a regular expression; with `whole` it must match all of a text.
fn glob(pattern: &str, whole: bool) -> Regex {
    let mut text = String::from(if whole { "(?s)^" } else { "(?s)" });
    for c in pattern.chars() {
        match c {
            '*' => text.push_str(".*"),
            '?' => text.push('.'),
            '[' | ']' | '-' => text.push(c),
            c => text.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    if whole {
        text.push('$');
    }
    let literal = || Regex::new(&regex::escape(pattern)).expect("an escaped text is a pattern");
    Regex::new(&text).unwrap_or_else(|_| literal())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_and_nothing_is_run() {
        let text = r##"
# Maintainer: x <x@example.org>
pkgname=foo-lib
pkgver=1.2.3_rc4 ; pkgrel=0
_ver=${pkgver%_rc*}
_major="${pkgver%%.*}" _under=${_ver//./_}
_rc=${pkgver#*_} _first=${pkgver:0:3} _none=${missing:-d/e}
arch='all !x86'
options="$(rm -rf /)"
case "$CARCH" in
    aarch64) source="bad" ;;
esac
[ "$x" ] && arch=none
source="https://example.org/$pkgname-$_ver.tar.gz
	renamed-$_under.zip::https://example.org/${_major}/archive.zip
	fix.patch"
source="$source extra.patch"
build() {
	source="not this"
	make
}
check() { true; }
sha512sums="
abc  foo-lib-1.2.3.tar.gz
def  fix.patch
"
"##;
        let variables = variables(text);
        let get = |name: &str| variables.get(name).map_or("", String::as_str);
        assert_eq!(get("_ver"), "1.2.3");
        assert_eq!((get("_major"), get("_under"), get("_rc")), ("1", "1_2_3", "rc4"));
        assert_eq!((get("_first"), get("_none"), get("options"), get("arch")), ("1.2", "d/e", "", "all !x86"));
        let sources: Vec<&str> = get("source").split_whitespace().collect();
        assert_eq!(
            sources,
            [
                "https://example.org/foo-lib-1.2.3.tar.gz",
                "renamed-1_2_3.zip::https://example.org/1/archive.zip",
                "fix.patch",
                "extra.patch"
            ]
        );
        assert_eq!(get("sha512sums").lines().count(), 3);
    }

    #[test]
    fn no_text_makes_it_hang() {
        for text in ["a='", "b=\"", "c=${", "d=$(", "e=${x%", "f() {", "&& ||\n;;)", "\\", "if", "x=$", "\u{e9}=1"] {
            variables(text);
        }
    }
}
