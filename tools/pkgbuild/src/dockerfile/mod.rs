//! The Dockerfile dialect of packages, as data with line numbers. Nothing is expanded here except where [`expand`] is asked:
//! what a variable means depends on the build. Reference: the "Dockerfile reference" of BuildKit.

mod adds;
mod expand;
mod instruction;
mod lines;
mod uses;
mod words;

pub use expand::expand;
pub use instruction::{Command, Copy, Heredoc, Instruction, MountFlag, Run};
pub use uses::ImageUse;

use anyhow::{Result, bail};
use std::path::Path;

/// A parsed Dockerfile.
#[derive(Clone, Debug)]
pub struct Dockerfile {
    /// How messages name it.
    pub path: String,
    /// The escape character: a backslash unless the first lines say otherwise.
    pub escape: char,
    /// The frontend that `# syntax=` asks for. It is kept and not used.
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
    /// The variable.
    pub name: String,
    /// What it is when the build gives no value.
    pub default: Option<String>,
}

/// What is between a `FROM` and the next.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Line of the `FROM`, counted from 1.
    pub line: usize,
    /// An image, an earlier stage or `scratch`, before expansion.
    pub base: String,
    /// `--platform=`, before expansion.
    pub platform: Option<String>,
    /// `AS name`, in lower case.
    pub name: Option<String>,
    /// The instructions.
    pub items: Vec<Item>,
}

/// An instruction and where it stands.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its first line, counted from 1.
    pub line: usize,
    /// What it says.
    pub instruction: Instruction,
}

impl Dockerfile {
    /// Parses `text`, which errors call `path`. Errors begin with `path:line:`.
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
                    (None, _) => bail!("{path}:{number}: the first instruction must be FROM; only ARG may stand before it"),
                },
            }
        }
        if file.stages.is_empty() {
            bail!("{path}: there is no FROM in it");
        }
        Ok(file)
    }

    /// Reads and parses the file at `path`; errors call it `name`.
    pub fn read(path: &Path, name: &str) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| anyhow::anyhow!("{name}: cannot be read: {error}"))?;
        let Ok(text) = String::from_utf8(bytes) else { bail!("{name}: it is not UTF-8") };
        Self::parse(&text, name)
    }

    /// The index of the stage that `name` means for the stage `before` (exclusive): a name, or a number.
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
