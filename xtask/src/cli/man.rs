//! `man`: the manual pages, made from the program's own help.

use super::{NAME, help, verb_command, verbs};
use anyhow::{Context as _, Result};
use child::environment::Environment;
use clap::Command;
use common::{
    artifact::write_atomically,
    error::{did_you_mean, usage},
};
use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

/// Which page.
#[derive(clap::Args)]
pub struct Man {
    /// the verb; without it, the page of cargo xtask
    #[arg(value_name = "VERB", conflicts_with = "dir")]
    verb: Option<String>,
    /// write the pages of all verbs into DIR, as cargo-xtask.1 and cargo-xtask-VERB.1
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// `man`.
pub fn run(_: &Environment, Man { verb, dir }: Man) -> Result<()> {
    if let Some(dir) = dir {
        return write_all(&dir);
    }
    let page = match verb {
        None => page(help::overview(None))?,
        Some(name) => {
            let unknown = || {
                let near = did_you_mean(&name, verbs().map(|verb| verb.name));
                usage(format!("there is no verb `{name}`\nhint: {NAME} {}", near.map_or("--help".to_owned(), |near| format!("man {near}"))))
            };
            page(verb_command(verbs().find(|verb| verb.name == name).ok_or_else(unknown)?))?
        }
    };
    std::io::stdout().write_all(&page).context("cannot print the page")
}

fn write_all(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make `{}`", dir.display()))?;
    write_atomically(&dir.join("cargo-xtask.1"), &page(help::overview(None))?)?;
    for verb in verbs() {
        write_atomically(&dir.join(format!("cargo-xtask-{}.1", verb.name)), &page(verb_command(verb))?)?;
    }
    println!("{} pages in {}; to read one: man -l {}", verbs().count() + 1, dir.display(), dir.join("cargo-xtask-live.1").display());
    Ok(())
}

/// The page of a command in roff. Its date is empty, so that the same program writes the same bytes.
fn page(mut command: Command) -> Result<Vec<u8>> {
    let name = match command.get_name() {
        NAME => "cargo-xtask".to_owned(),
        verb => format!("cargo-xtask-{verb}"),
    };
    // clap_mangen's synopsis names every knob; the usage of the help is one line.
    let usage = command.render_usage().to_string().replace("Usage: ", "").replace('\\', "\\e").replace('-', "\\-");
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command.name(name.clone())).title(name).section("1").manual("EVE, built by cargo").source("xtask");
    let mut render = || -> std::io::Result<()> {
        man.render_title(&mut page)?;
        man.render_name_section(&mut page)?;
        page.write_all(format!(".SH SYNOPSIS\n{usage}\n").as_bytes())?;
        man.render_options_section(&mut page)?;
        man.render_extra_section(&mut page)
    };
    render().context("cannot write a page")?;
    // A page without a preprocessor for UTF-8 has only ASCII.
    Ok(String::from_utf8_lossy(&page).replace("\n.SH EXTRA\n", "\n.SH VERBS\n").replace('…', "...").into_bytes())
}
