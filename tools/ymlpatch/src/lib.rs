//! Changes a YAML file by a program in a subset of jq's language: paths, pipes, updates, `del`, `select`, `as $x` and a few
//! functions, which is what images/*.yq of lf-edge/eve use. All of jq (crates jaq-core, jaq-std, jaq-json) takes 20 s to
//! compile, this crate 1 s. Unsupported syntax is an error with line and column. It depends on no crate of this workspace.

mod eval;
mod lex;
mod parse;
mod path;
mod write;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;

/// Runs `program` on the document `yaml`. Returns YAML; comments are lost.
pub fn apply(program: &str, yaml: &str) -> Result<String> {
    Program::parse(program, "the program")?.apply(yaml, &[])
}

/// The program whose rule decides what `.[]` does with null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// jq: an error.
    #[default]
    Jq,
    /// yq, the one written in Go: nothing.
    Yq,
}

/// A parsed program.
#[derive(Debug)]
pub struct Program {
    language: Language,
    name: String,
    text: String,
    expression: parse::Expr,
}

/// An error and its byte offset in the program.
#[derive(Debug)]
pub(crate) struct Fault {
    at: usize,
    message: String,
}

pub(crate) fn fault<T>(at: usize, message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { at, message: message.into() })
}

impl Program {
    /// Parses `text`; `name` is its file name in error messages.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let parsed = lex::lex(text).and_then(parse::parse);
        let expression = parsed.map_err(|fault| place(&fault, text, name))?;
        Ok(Self { language: Language::default(), name: name.to_owned(), text: text.to_owned(), expression })
    }

    /// Runs it by the rules of `language`.
    #[must_use]
    pub fn by_rules_of(self, language: Language) -> Self {
        Self { language, ..self }
    }

    /// Runs the program on the document `yaml`, with `variables` as `$name`. The program must give exactly one result.
    pub fn apply(&self, yaml: &str, variables: &[(&str, &str)]) -> Result<String> {
        let document = read(yaml)?;
        let variables = variables.iter().fold(eval::Scope::of(self.language), |scope, (name, value)| scope.with(name, Value::from(*value)));
        let results = eval::eval(&self.expression, &document, &variables).map_err(|fault| place(&fault, &self.text, &self.name))?;
        match results.as_slice() {
            [one] => Ok(write::to_yaml(one)),
            several => bail!("{}: it gives {} documents instead of one", self.name, several.len()),
        }
    }
}

/// Parses YAML into the value that programs work on.
pub fn read(yaml: &str) -> Result<Value> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    let value = serde_saphyr::from_str_with_options(yaml, options).map_err(|error| {
        let line = error.location().map_or(0, |at| at.line());
        anyhow!("line {line}: {}", error.without_snippet())
    });
    value.context("the document is not valid YAML")
}

/// `name:LINE:COLUMN: message`, both counted from 1.
fn place(fault: &Fault, text: &str, name: &str) -> anyhow::Error {
    let before = &text[..fault.at.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    anyhow!("{name}:{line}:{column}: {}", fault.message)
}

#[cfg(test)]
mod tests;
