//! Connects a struct of arguments to the table of verbs, whose rows take untyped functions. Delete this file when the rows
//! take the structs themselves.

use crate::commands::{Verb, verb};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use clap::ArgMatches;
use std::path::{Path, PathBuf};

/// The arguments of a verb. The first line of the struct's documentation is the verb's help, as in the table.
pub trait Arguments: clap::Args {
    /// Runs the verb.
    fn run(self, ctx: &Ctx) -> Result<()>;
}

/// A verb whose arguments are `A`.
pub const fn typed<A: Arguments>(name: &'static str, about: &'static str) -> Verb {
    verb(name, about, A::augment_args, run::<A>)
}

fn run<A: Arguments>(ctx: &Ctx, matches: &ArgMatches) -> Result<()> {
    A::from_arg_matches(matches)?.run(ctx)
}

/// Parses a path and makes it absolute, from the folder in which the person stands.
pub fn absolute_path(text: &str) -> std::io::Result<PathBuf> {
    std::path::absolute(text)
}

/// The absolute path of an output; none for `-`, which means standard output.
pub fn output_path(path: &Path) -> Result<Option<PathBuf>> {
    match path.as_os_str() == "-" {
        true => Ok(None),
        false => std::path::absolute(path).with_context(|| format!("`{}` is no path", path.display())).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::verbs;
    use clap::Command;

    #[test]
    fn a_structs_first_line_is_the_help_in_the_table() {
        for verb in verbs() {
            let command = (verb.arguments)(Command::new(verb.name).about(verb.about));
            assert_eq!(command.get_about().map(ToString::to_string).as_deref(), Some(verb.about), "{}", verb.name);
        }
    }
}
