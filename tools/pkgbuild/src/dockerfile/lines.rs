//! Joins physical lines to logical ones: parser directives, comments, continuations, here-documents.

use super::words::{self, split_words};
use anyhow::{Result, bail};

/// Parser directives of the first comment lines.
pub(super) struct Directives {
    pub(super) escape: char,
    pub(super) syntax: Option<String>,
}

/// A here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The opening word, unchanged.
    pub word: String,
    /// Its name, without quotes.
    pub name: String,
    /// `<<-`: leading tabs are removed (in `body` already).
    pub strip_tabs: bool,
    /// Whether variables in the body are expanded: the name has no quotes.
    pub expand: bool,
    /// Lines with their newlines.
    pub body: String,
}

/// An instruction with continuations joined and comments removed.
#[derive(Debug)]
pub(super) struct Logical {
    /// Its first line, counted from 1.
    pub(super) number: usize,
    /// Keyword in upper case.
    pub(super) keyword: String,
    /// The text after it, trimmed.
    pub(super) rest: String,
    /// Its here-documents, in order.
    pub(super) heredocs: Vec<Heredoc>,
}

pub(super) fn split(path: &str, text: &str) -> Result<(Directives, Vec<Logical>)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let physical: Vec<&str> = text.lines().collect();
    let directives = read_directives(path, &physical)?;
    let mut logical = Vec::new();
    let mut at = 0;
    while at < physical.len() {
        let line = physical[at].trim_start();
        if line.trim().is_empty() || line.starts_with('#') {
            at += 1;
            continue;
        }
        let number = at + 1;
        let joined = join_continuations(&physical, &mut at, directives.escape);
        let joined = joined.trim();
        let (keyword, rest) = joined.split_once(char::is_whitespace).unwrap_or((joined, ""));
        let (keyword, rest) = (keyword.to_uppercase(), rest.trim().to_owned());
        let mut heredocs = Vec::new();
        if matches!(keyword.as_str(), "RUN" | "COPY" | "ADD") && words::json_array(&rest).is_none() {
            for word in split_words(&rest, directives.escape) {
                if let Some(heredoc) = opening(&word) {
                    heredocs.push(read_body(path, number, &physical, &mut at, heredoc)?);
                }
            }
        }
        logical.push(Logical { number, keyword, rest, heredocs });
    }
    Ok((directives, logical))
}

/// Directives are comments `# key=value` before anything else, each key at most once.
fn read_directives(path: &str, physical: &[&str]) -> Result<Directives> {
    let mut directives = Directives { escape: '\\', syntax: None };
    let mut seen = Vec::new();
    for (index, line) in physical.iter().enumerate() {
        let Some((key, value)) = line.trim().strip_prefix('#').and_then(|line| line.split_once('=')) else { break };
        let (key, value) = (key.trim().to_lowercase(), value.trim());
        match key.as_str() {
            "syntax" => directives.syntax = Some(value.to_owned()),
            "check" => {}
            "escape" => match value {
                "\\" => directives.escape = '\\',
                "`" => directives.escape = '`',
                _ => bail!("{path}:{}: the escape character must be \\ or `, not `{value}`", index + 1),
            },
            _ => break,
        }
        if seen.contains(&key) {
            bail!("{path}:{}: duplicate directive `{key}`", index + 1);
        }
        seen.push(key);
    }
    Ok(directives)
}

/// Joins the line at `at` with its continuations; drops comments and empty lines in between.
fn join_continuations(physical: &[&str], at: &mut usize, escape: char) -> String {
    let mut joined = String::new();
    let mut first = true;
    while let Some(line) = physical.get(*at) {
        *at += 1;
        if !first && (line.trim().is_empty() || line.trim_start().starts_with('#')) {
            continue;
        }
        first = false;
        match without_continuation(line, escape) {
            Some(part) => joined.push_str(part),
            None => {
                joined.push_str(line);
                break;
            }
        }
    }
    joined
}

/// The line without a trailing escape; `None` if it has none. Two escapes are a literal one.
fn without_continuation(line: &str, escape: char) -> Option<&str> {
    let part = line.trim_end_matches([' ', '\t', '\r']).strip_suffix(escape)?;
    (!part.ends_with(escape)).then_some(part)
}

/// Parses `<<EOF`, `<<-EOF` or `3<<"EOF"`; the body is still empty.
fn opening(word: &str) -> Option<Heredoc> {
    let after = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (strip_tabs, name) = after.strip_prefix('-').map_or((false, after), |name| (true, name));
    if name.is_empty() || name.contains('<') {
        return None;
    }
    let bare: String = name.chars().filter(|c| !matches!(c, '"' | '\'' | '\\')).collect();
    let expand = bare == name;
    (!bare.is_empty()).then(|| Heredoc { word: word.to_owned(), name: bare, strip_tabs, expand, body: String::new() })
}

fn read_body(path: &str, number: usize, physical: &[&str], at: &mut usize, mut heredoc: Heredoc) -> Result<Heredoc> {
    while let Some(line) = physical.get(*at) {
        *at += 1;
        let stripped = if heredoc.strip_tabs { line.trim_start_matches('\t') } else { line };
        if stripped == heredoc.name {
            return Ok(heredoc);
        }
        heredoc.body.push_str(stripped);
        heredoc.body.push('\n');
    }
    bail!("{path}:{number}: the end of the here-document `{}` is missing", heredoc.name)
}
