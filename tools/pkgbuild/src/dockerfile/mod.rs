//! Parses the Dockerfile dialect of packages into data with line numbers. Words stay unexpanded (see [`expand`]), because
//! variables depend on the build. Reference: BuildKit's "Dockerfile reference".

mod adds;
mod expand;
mod instruction;
mod lines;
mod uses;
mod words;

pub use expand::expand;
pub use instruction::{Command, Copy, Instruction, MountFlag, Run};
pub use lines::Heredoc;
pub use uses::{ImageUse, ImagesByArch};

use anyhow::{Result, bail};
use std::path::Path;

/// A parsed Dockerfile.
#[derive(Clone, Debug)]
pub struct Dockerfile {
    /// Name in messages.
    pub path: String,
    /// Escape character: a backslash unless a directive changes it.
    pub escape: char,
    /// Frontend of `# syntax=`; unused.
    pub syntax: Option<String>,
    /// `ARG` before the first `FROM`.
    pub args: Vec<Arg>,
    /// The stages in order; there is at least one.
    pub stages: Vec<Stage>,
}

/// A name that an `ARG` declares, with its default before expansion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    /// Line of the instruction, counted from 1.
    pub line: usize,
    /// Name of the variable.
    pub name: String,
    /// Default value, unexpanded.
    pub default: Option<String>,
}

/// The instructions from a `FROM` to the next.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Line of the `FROM`, counted from 1.
    pub line: usize,
    /// An image, an earlier stage or `scratch`, unexpanded.
    pub base: String,
    /// `--platform=`, unexpanded.
    pub platform: Option<String>,
    /// `AS name`, in lower case.
    pub name: Option<String>,
    /// The instructions.
    pub items: Vec<Item>,
}

/// An instruction with its line.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its first line, counted from 1.
    pub line: usize,
    /// Parsed instruction.
    pub instruction: Instruction,
}

impl Dockerfile {
    /// Parses `text`; `path` is its name in messages. Errors start with `path:line:`.
    pub fn parse(text: &str, path: &str) -> Result<Self> {
        let (directives, logical) = lines::split(path, text)?;
        let mut file =
            Self { path: path.to_owned(), escape: directives.escape, syntax: directives.syntax, args: Vec::new(), stages: Vec::new() };
        for line in logical {
            let number = line.number;
            match instruction::parse(&line, directives.escape).map_err(|error| error.context(format!("{path}:{number}")))? {
                instruction::Parsed::From { base, platform, name } => {
                    file.stages.push(Stage { line: number, base, platform, name, items: Vec::new() });
                }
                instruction::Parsed::Other(instruction) => match (file.stages.last_mut(), instruction) {
                    (Some(stage), instruction) => stage.items.push(Item { line: number, instruction }),
                    (None, Instruction::Arg(args)) => {
                        file.args.extend(args.into_iter().map(|(name, default)| Arg { line: number, name, default }));
                    }
                    (None, _) => bail!("{path}:{number}: the first instruction must be FROM; only ARG may precede it"),
                },
            }
        }
        if file.stages.is_empty() {
            bail!("{path}: there is no FROM instruction");
        }
        Ok(file)
    }

    /// Reads and parses the file at `path`; `name` is its name in messages.
    pub fn read(path: &Path, name: &str) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| anyhow::anyhow!("{name}: cannot read the file: {error}"))?;
        let Ok(text) = String::from_utf8(bytes) else { bail!("{name}: the file is not UTF-8") };
        Self::parse(&text, name)
    }

    /// Index of the stage `name` (a name or a number) as seen from stage `before` (exclusive).
    #[must_use]
    pub fn find_stage(&self, name: &str, before: usize) -> Option<usize> {
        let lower = name.to_lowercase();
        let before = before.min(self.stages.len());
        let named = self.stages[..before].iter().rposition(|stage| stage.name.as_deref() == Some(&lower));
        named.or_else(|| name.parse().ok().filter(|index| *index < before))
    }
}

#[cfg(test)]
mod tests;
