//! Changes a YAML file by a program in a part of jq's language: paths, pipes, updates, `del`, `select`, `as $x` and a few
//! functions, which is what images/*.yq of lf-edge/eve are written in. The whole of jq (crates jaq-core, jaq-std, jaq-json) costs
//! 20 s of processor time to compile; this costs one. What is not understood is an error that names its line and column.

mod eval;
mod lex;
mod parse;
mod path;
mod write;

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;

/// Runs `program` on the document in `yaml`; the result is YAML of the same meaning, without comments.
pub fn apply(program: &str, yaml: &str) -> Result<String> {
    Program::parse(program, "the program")?.apply(yaml, &[])
}

/// A program that was read.
#[derive(Debug)]
pub struct Program {
    name: String,
    text: String,
    expression: parse::Expr,
}

/// What is wrong, and where in the program's text.
#[derive(Debug)]
pub(crate) struct Fault {
    at: usize,
    message: String,
}

pub(crate) fn fault<T>(at: usize, message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { at, message: message.into() })
}

impl Program {
    /// Reads `text`; errors call it `name`, which is a file's.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let parsed = lex::lex(text).and_then(parse::parse);
        let expression = parsed.map_err(|fault| place(&fault, text, name))?;
        Ok(Self { name: name.to_owned(), text: text.to_owned(), expression })
    }

    /// Runs it on the document in `yaml`, with `variables` for its `$name` words. It must give one result.
    pub fn apply(&self, yaml: &str, variables: &[(&str, &str)]) -> Result<String> {
        let document = read(yaml)?;
        let variables = variables.iter().fold(eval::Scope::default(), |scope, (name, value)| scope.with(name, Value::from(*value)));
        let results = eval::eval(&self.expression, &document, &variables).map_err(|fault| place(&fault, &self.text, &self.name))?;
        match results.as_slice() {
            [one] => Ok(write::to_yaml(one)),
            several => bail!("{}: it gives {} documents, and a file is one", self.name, several.len()),
        }
    }
}

/// Reads YAML as the value that jq sees.
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
    value.context("the document is no YAML")
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
