//! `reference`: the pages of docs/reference that are written from the program's own tables, and their check.

use crate::cli;
use anyhow::Result;
use checkout::context::Ctx;
use clap::{Arg, ArgAction, ArgMatches, Command};
use common::{artifact::write_atomically, error::usage};
use knobs::{table::Kind, table::TABLE};
use std::fmt::Write as _;

/// Its arguments.
pub fn arguments(command: Command) -> Command {
    command.arg(Arg::new("check").long("check").action(ArgAction::SetTrue).help("write nothing; fail when a page is stale"))
}

/// `reference`.
pub fn run(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    for (name, text) in [("knobs.md", knobs_page()), ("commands.md", commands_page())] {
        let path = ctx.root.join("docs/reference").join(name);
        let stale = std::fs::read_to_string(&path).ok().as_deref() != Some(&text);
        if stale && arguments.get_flag("check") {
            return Err(usage(format!("docs/reference/{name} is stale\nhint: cargo xtask reference")));
        }
        if stale {
            if !ctx.globals.dry_run {
                write_atomically(&path, text.as_bytes())?;
            }
            println!("docs/reference/{name}");
        }
    }
    Ok(())
}

/// The page of knobs.
#[must_use]
pub fn knobs_page() -> String {
    let mut page = String::from(
        "# Knobs\n\nWritten by `cargo xtask reference` from `xtask/src/knobs/table.rs`.\n\n\
         A knob is set, strongest first, by its flag or a `VAR=value` word, by the environment, by `[knobs]` in `xtask.toml`; else it has \
         its default. `cargo xtask summary` prints what holds and why.\n\n\
         | name | flag | values | default | what it does |\n|---|---|---|---|---|\n",
    );
    for decl in TABLE {
        let names: Vec<String> = [decl.name].iter().chain(decl.aliases).map(|name| format!("`{name}`")).collect();
        let values = match decl.kind {
            Kind::Text => "text".to_owned(),
            Kind::Secret => "text, shown nowhere".to_owned(),
            Kind::Path => "path".to_owned(),
            Kind::Number { least, most, unit } => format!("{least} to {most} ({unit})"),
            Kind::Choice(words) => words.join(", "),
            Kind::Switch => "y, n".to_owned(),
        };
        let default = if decl.default.is_empty() { "–".to_owned() } else { format!("`{}`", decl.default) };
        let _ = writeln!(page, "| {} | `--{}` | {values} | {default} | {} |", names.join(", "), decl.flag, decl.help);
    }
    page
}

/// The page of commands: each one's help, without the knobs, which have their own page.
#[must_use]
pub fn commands_page() -> String {
    let mut page = String::from(
        "# Commands\n\nWritten by `cargo xtask reference` from the program's own help.\n\nKnobs are on [their own page](knobs.md).\n\n",
    );
    let mut command = cli::command(None).term_width(100);
    command.build();
    let _ = writeln!(page, "```text\n{}\n```\n", command.render_help().to_string().trim_end());
    for verb in super::verbs() {
        let help = (verb.arguments)(Command::new(verb.name).bin_name(format!("cargo xtask {}", verb.name)).about(verb.about))
            .term_width(100)
            .render_help();
        let _ = writeln!(page, "## {}\n\n```text\n{}\n```\n", verb.name, help.to_string().trim_end());
    }
    page.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_are_fresh() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
        for (name, text) in [("knobs.md", knobs_page()), ("commands.md", commands_page())] {
            let page = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
            assert!(page == text, "docs/reference/{name} is stale: run `cargo xtask reference`");
        }
    }
}
