//! Expands variables in words: `$x`, `${x:-y}` etc., with Dockerfile quoting rules.

use anyhow::{Result, bail};
use std::{iter::Peekable, str::Chars};

/// Removes quotes and escapes of `word` and expands its variables. A variable unknown to `lookup` is empty.
pub fn expand(word: &str, escape: char, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    let mut expander = Expander { chars: word.chars().peekable(), escape, lookup, word, depth: 0 };
    expander.until(None)
}

struct Expander<'a> {
    chars: Peekable<Chars<'a>>,
    escape: char,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    word: &'a str,
    /// How many `${…` are open.
    depth: usize,
}

/// How deep `${A:-${B:-…}}` can be nested.
const DEEPEST: usize = 100;

impl Expander<'_> {
    /// Expands up to `end`, which is consumed, or to the end of the word.
    fn until(&mut self, end: Option<char>) -> Result<String> {
        let mut out = String::new();
        while let Some(c) = self.chars.next() {
            match c {
                c if Some(c) == end => return Ok(out),
                '\'' => self.single_quoted(&mut out)?,
                '"' => self.double_quoted(&mut out)?,
                '$' => out.push_str(&self.variable()?),
                // A lone escape at the end of a word is dropped.
                c if c == self.escape => out.extend(self.chars.next()),
                c => out.push(c),
            }
        }
        match end {
            Some(end) => bail!("`{}` has no closing `{end}`", self.word),
            None => Ok(out),
        }
    }

    fn single_quoted(&mut self, out: &mut String) -> Result<()> {
        loop {
            match self.chars.next() {
                Some('\'') => return Ok(()),
                Some(c) => out.push(c),
                None => bail!("`{}` has no closing `'`", self.word),
            }
        }
    }

    fn double_quoted(&mut self, out: &mut String) -> Result<()> {
        loop {
            match self.chars.next() {
                Some('"') => return Ok(()),
                Some('$') => out.push_str(&self.variable()?),
                Some(c) if c == self.escape => match self.chars.next() {
                    Some(next) if next == '"' || next == '$' || next == self.escape => out.push(next),
                    Some(next) => out.extend([c, next]),
                    None => bail!("`{}` has no closing `\"`", self.word),
                },
                Some(c) => out.push(c),
                None => bail!("`{}` has no closing `\"`", self.word),
            }
        }
    }

    /// Expands a variable; the `$` is consumed.
    fn variable(&mut self) -> Result<String> {
        if self.chars.next_if_eq(&'{').is_none() {
            let name = self.name();
            return Ok(if name.is_empty() { "$".to_owned() } else { (self.lookup)(&name).unwrap_or_default() });
        }
        let name = self.name();
        if name.is_empty() {
            bail!("`{}` contains `${{` without a variable name", self.word);
        }
        let value = (self.lookup)(&name);
        let colon = self.chars.next_if_eq(&':').is_some();
        let present = value.as_ref().is_some_and(|value| !colon || !value.is_empty());
        match self.chars.next() {
            Some('}') if !colon => Ok(value.unwrap_or_default()),
            Some('-') => {
                let word = self.alternative()?;
                Ok(if present { value.unwrap_or_default() } else { word })
            }
            Some('+') => {
                let word = self.alternative()?;
                Ok(if present { word } else { String::new() })
            }
            Some('?') => {
                let word = self.alternative()?;
                match value {
                    Some(value) if present => Ok(value),
                    _ if word.is_empty() => bail!("`{}`: the variable `{name}` is not set", self.word),
                    _ => bail!("`{}`: {name}: {word}", self.word),
                }
            }
            None => bail!("`{}` has no closing `}}`", self.word),
            Some(other) => bail!("`{}`: `${{{name}{}{other}…}}` is not supported", self.word, if colon { ":" } else { "" }),
        }
    }

    /// The word of `${name:-word}`, up to its `}`.
    fn alternative(&mut self) -> Result<String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            let start: String = self.word.chars().take(40).collect();
            bail!("`{start}…` nests more than {DEEPEST} variables in one another");
        }
        let word = self.until(Some('}'));
        self.depth -= 1;
        word
    }

    /// A name, a positional number or one special character, as in the shell.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.chars.peek() {
            Some(c) if c.is_ascii_digit() => {
                while let Some(c) = self.chars.next_if(char::is_ascii_digit) {
                    name.push(c);
                }
            }
            Some(c) if c.is_alphabetic() || *c == '_' => {
                while let Some(c) = self.chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    name.push(c);
                }
            }
            Some('@' | '*' | '#') => name.extend(self.chars.next()),
            _ => {}
        }
        name
    }
}
