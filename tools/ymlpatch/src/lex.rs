//! Splits a program into tokens.

use crate::{Fault, fault};
use serde_json::{Number, Value};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// `.`
    Dot,
    /// `.name`
    Field(String),
    /// `$name`
    Variable(String),
    /// `name`
    Name(String),
    /// A number or a string.
    Literal(Value),
    /// An operator or bracket: `|`, `|=`, `[`.
    Sign(&'static str),
    /// End of the program.
    End,
}

/// Operators and brackets, longest first.
const SIGNS: &[&str] = &[
    "?//", "//=", "..", "|=", "+=", "-=", "*=", "/=", "%=", "==", "!=", "<=", ">=", "//", "|", ",", "=", "+", "-", "*", "/", "%", "<", ">",
    "(", ")", "[", "]", "{", "}", ":", ";", "?",
];

/// All tokens of `text`, each with its byte offset.
pub(crate) fn lex(text: &str) -> Result<Vec<(Token, usize)>, Fault> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let (token, length) = match c {
            _ if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '#' => {
                at += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            '"' => string(rest, at)?,
            '0'..='9' => number(rest, at)?,
            '.' if rest[1..].starts_with(is_first) => {
                let name = name(&rest[1..]);
                (Token::Field(name.to_owned()), name.len() + 1)
            }
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => number(rest, at)?,
            '.' if !rest.starts_with("..") => (Token::Dot, 1),
            '$' if rest[1..].starts_with(is_first) => {
                let name = name(&rest[1..]);
                (Token::Variable(name.to_owned()), name.len() + 1)
            }
            _ if is_first(c) => (Token::Name(name(rest).to_owned()), name(rest).len()),
            _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                Some(sign) => (Token::Sign(sign), sign.len()),
                None => return fault(at, format!("unexpected character `{c}`")),
            },
        };
        tokens.push((token, at));
        at += length;
    }
    tokens.push((Token::End, text.trim_end().len()));
    Ok(tokens)
}

fn is_first(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn name(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())]
}

fn number(text: &str, at: usize) -> Result<(Token, usize), Fault> {
    let mut end = 0;
    for (place, c) in text.char_indices() {
        let sign = matches!(c, '+' | '-') && matches!(text.as_bytes().get(place.wrapping_sub(1)), Some(b'e' | b'E'));
        if !(c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E') || sign) {
            break;
        }
        end = place + c.len_utf8();
    }
    let word = &text[..end];
    let value = word.parse::<i64>().map(Number::from).ok().or_else(|| word.parse().ok().and_then(Number::from_f64));
    value.map_or_else(|| fault(at, format!("`{word}` is not a number")), |number| Ok((Token::Literal(Value::Number(number)), end)))
}

fn string(text: &str, at: usize) -> Result<(Token, usize), Fault> {
    let mut escaped = false;
    for (place, c) in text.char_indices().skip(1) {
        match c {
            '(' if escaped => return fault(at + place - 1, "string interpolation `\\(…)` is not supported"),
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => {
                let word = &text[..=place];
                // jq allows line ends and tabs inside a string, JSON does not.
                let value = serde_json::from_str(&word.replace('\n', "\\n").replace('\t', "\\t"));
                return value.map_or_else(
                    |error| fault(at, format!("invalid string {word}: {error}")),
                    |value| Ok((Token::Literal(value), place + 1)),
                );
            }
            _ => {}
        }
    }
    fault(at, "this string has no closing quote")
}
