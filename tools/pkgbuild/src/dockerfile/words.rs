//! Splits instructions into words, keeping quotes and escapes for the expansion.

use anyhow::{Result, bail};

/// Splits at white space outside quotes.
pub(super) fn split_words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        word.push(c);
        if c == escape && quote != Some('\'') {
            word.extend(chars.next());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// The strings of a JSON array; `None` for anything else (shell form).
pub(super) fn json_array(text: &str) -> Option<Vec<String>> {
    text.trim_start().starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// Parses `NAME=value …`, or the old form `NAME value with spaces`. Values keep their quotes.
pub(super) fn name_values(rest: &str, escape: char, what: &str) -> Result<Vec<(String, String)>> {
    let words = split_words(rest, escape);
    let Some(first) = words.first() else { bail!("{what} needs at least one NAME=value") };
    if !first.contains('=') {
        let Some((name, value)) = rest.split_once(char::is_whitespace) else { bail!("{what} {first} has no value") };
        return Ok(vec![(name.to_owned(), value.trim_start().to_owned())]);
    }
    let mut pairs = Vec::new();
    for word in &words {
        let Some((name, value)) = word.split_once('=') else {
            bail!("{what}: `{word}` does not have the form NAME=value\nhint: quote values that contain spaces")
        };
        if name.is_empty() {
            bail!("{what}: `{word}` has no name before `=`");
        }
        pairs.push((name.to_owned(), value.to_owned()));
    }
    Ok(pairs)
}

/// Splits leading flags (`--name=value`, `--name`) from the rest.
pub(super) fn take_flags(rest: &str, escape: char) -> (Vec<(String, Option<String>)>, String) {
    let mut flags = Vec::new();
    let mut rest = rest.trim_start();
    while rest.starts_with("--") {
        let (word, after) = first_word(rest, escape);
        rest = after.trim_start();
        if word == "--" {
            break;
        }
        let word = unquoted(&word, escape);
        let flag = word.trim_start_matches("--");
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value.to_owned())));
        flags.push((name.to_owned(), value));
    }
    (flags, rest.to_owned())
}

fn first_word(text: &str, escape: char) -> (String, &str) {
    let mut quote = None;
    let mut skip = false;
    for (at, c) in text.char_indices() {
        match quote {
            _ if skip => skip = false,
            _ if c == escape && quote != Some('\'') => skip = true,
            None if c.is_whitespace() => return (text[..at].to_owned(), &text[at..]),
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
    }
    (text.to_owned(), "")
}

/// A flag's text without quotes, and without escapes before white space; variables stay.
fn unquoted(word: &str, escape: char) -> String {
    let mut plain = String::new();
    let mut chars = word.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' | '\'' => {}
            c if c == escape && chars.peek().is_some_and(|next| next.is_whitespace() || *next == '"') => plain.extend(chars.next()),
            c => plain.push(c),
        }
    }
    plain
}
