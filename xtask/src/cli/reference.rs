//! `reference`: writes the pages of docs/reference, which are generated from the tables of verbs and knobs, or checks that they are fresh.

use super::{help, targets, verb_command, verbs};
use anyhow::Result;
use checkout::context::Ctx;
use common::{artifact::write_atomically, error::usage};
use std::fmt::Write as _;

/// Whether to write or to check.
#[derive(clap::Args)]
pub struct Reference {
    /// write nothing; fail if a page is stale
    #[arg(long)]
    check: bool,
}

/// `reference`.
pub fn run(ctx: &Ctx, Reference { check }: Reference) -> Result<()> {
    for (name, text) in [("knobs.md", knobs_page()), ("commands.md", commands_page(&ctx.profile)), ("targets.md", targets::page(ctx)?)] {
        let path = ctx.root.join("docs/reference").join(name);
        let stale = std::fs::read_to_string(&path).ok().as_deref() != Some(&text);
        if stale && check {
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

/// The page of all knobs.
#[must_use]
pub fn knobs_page() -> String {
    let mut page = String::from(
        "# Knobs\n\nWritten by `cargo xtask reference` from the groups of `tools/knobs`.\n\n\
         A knob is set, strongest first, by the target's name (`live-gcp` sets `IMAGE_FORMAT`), by its flag or a `VAR=value` word, by the \
         environment, by `[knobs]` in `xtask.local.toml`, by `[knobs]` in `xtask.toml`; else it has its default. `cargo xtask summary` \
         prints what holds and why. \
         A value that nothing reads on a tree or with an engine gets a note.\n\n\
         `xtask.local.toml` is for a person's own values: git ignores it. It has the one table `[knobs]`, with the names of this page, and \
         values as in `xtask.toml`; `XTASK_LOCAL=n` in the environment leaves it out.\n\n\
         ```toml\n[knobs]\nROOTFS_COMPRESSION = \"gzip\"\nMEDIA_SIZE = { kvm = 16384, xen = 8192 }\nTPM = true\n```\n\n\
         | name | flag | values | default | what it does |\n|---|---|---|---|---|\n",
    );
    for knob in knobs::all() {
        let names: Vec<String> = knob.names().map(|name| format!("`{name}`")).collect();
        let default = if knob.default.is_empty() { "–".to_owned() } else { format!("`{}`", knob.default) };
        let _ = writeln!(page, "| {} | `--{}` | {} | {default} | {} |", names.join(", "), knob.flag, knob.values, knob.help);
    }
    page
}

/// The page of all verbs: the help of each, without the knobs, which have their own page.
#[must_use]
pub fn commands_page(profile: &plan::Profile) -> String {
    let mut page = String::from(
        "# Commands\n\nWritten by `cargo xtask reference` from the program's own help.\n\nKnobs are on [their own page](knobs.md).\n\n",
    );
    let _ = writeln!(page, "```text\n{}\n```\n", help::overview(Some(profile)).term_width(100).render_help().to_string().trim_end());
    for verb in verbs() {
        let help = verb_command(verb).term_width(100).mut_args(|arg| if knobs::is_knob(&arg) { arg.hide(true) } else { arg }).render_help();
        let _ = writeln!(page, "## {}\n\n```text\n{}\n```\n", verb.name, help.to_string().trim_end());
    }
    page.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n"
}
