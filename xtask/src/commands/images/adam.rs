//! `adam getconf|setconf|logs|info`: talks to an adam that runs on this machine together with EVE; and the stand-in `fake-zboot`.

use super::word;
use anyhow::{Result, bail};
use checkout::context::Ctx;
use child::{adam::Adam, adam::parse_list, environment::Environment};
use clap::{Arg, ArgMatches, Command};
use common::error::usage;

const USAGE: &str = "adam getconf|setconf FILE|logs|info [--uuid UUID], for example: cargo xtask adam setconf config.json";

/// Its arguments.
pub fn arguments(command: Command) -> Command {
    command
        .arg(word("what", "getconf|setconf|logs|info", "what to ask for, or to set"))
        .arg(word("file", "FILE", "the configuration that setconf gives the device"))
        .arg(Arg::new("uuid").long("uuid").value_name("UUID").help("which device, when adam knows several"))
}

/// `adam`.
pub fn run(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let text = |name: &str| arguments.get_one::<String>(name).map(String::as_str);
    let file = text("file").map(super::absolute).transpose()?;
    if ctx.environment.get("LOCAL_MODE").is_some_and(|mode| mode != "1") {
        return Err(usage("LOCAL_MODE: only an adam on this machine can be talked to\nhint: LOCAL_MODE=1"));
    }
    let adam = Adam::new(&ctx.tools);
    let command = |uuid: &str| match (text("what"), &file) {
        (Some("getconf"), None) => adam.config(uuid),
        (Some("setconf"), Some(file)) => adam.set_config(uuid, file),
        (Some(what @ ("logs" | "info")), None) => adam.told(what, uuid),
        _ => Err(usage(format!("usage: {USAGE}"))),
    };
    if ctx.globals.dry_run {
        let uuid = text("uuid").unwrap_or("UUID");
        let lines = [adam.list()?.to_string(), command(uuid)?.to_string()];
        lines.iter().skip(usize::from(text("uuid").is_some())).for_each(|line| println!("{line}"));
        return Ok(());
    }
    // What was typed is checked before adam is asked anything.
    drop(command("")?);
    let uuid = match text("uuid") {
        Some(uuid) => uuid.to_owned(),
        None => only_device(&adam)?,
    };
    command(&uuid)?.foreground().run()
}

fn only_device(adam: &Adam) -> Result<String> {
    let list = adam.list()?.stdout()?;
    match parse_list(&list).as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => bail!("adam knows no device yet: none has registered"),
        several => bail!("adam knows {} devices: {}\nhint: --uuid UUID says which", several.len(), several.join(", ")),
    }
}

/// The arguments of `fake-zboot`: anything that zboot takes.
pub fn zboot_arguments(command: Command) -> Command {
    command.arg(Arg::new("words").value_name("WORD").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true))
}

/// `fake-zboot`: the answer of a machine that runs from its first root file system, whatever zboot is asked.
#[allow(clippy::unnecessary_wraps, reason = "the table of verbs wants it so")]
pub fn fake_zboot(_: &ArgMatches, _: &Environment) -> Result<()> {
    println!("IMGA");
    Ok(())
}
