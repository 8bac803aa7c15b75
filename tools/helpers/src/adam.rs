//! `adam`: reads or sets a device's configuration in adam, a small controller for tests, which must run on this machine.

use anyhow::{Result, bail};
use checkout::context::Ctx;
use child::{Cmd, adam::Adam, adam::parse_list};
use common::error::usage;
use std::path::PathBuf;

/// A request to adam.
pub enum AdamRequest {
    /// Print the device's configuration.
    GetConfig,
    /// Set the device's configuration to the content of the file.
    SetConfig(PathBuf),
    /// Print the device's logs.
    Logs,
    /// Print the device's information messages.
    Info,
}

impl AdamRequest {
    fn command(&self, adam: &Adam, uuid: &str) -> Result<Cmd> {
        match self {
            Self::GetConfig => adam.config(uuid),
            Self::SetConfig(file) => adam.set_config(uuid, file),
            Self::Logs => adam.messages("logs", uuid),
            Self::Info => adam.messages("info", uuid),
        }
    }
}

/// Runs adam's command for `request` in the foreground, about the device `uuid`, or the only device that adam knows.
pub fn ask_adam(ctx: &Ctx, request: &AdamRequest, uuid: Option<String>) -> Result<()> {
    if ctx.environment.get("LOCAL_MODE").is_some_and(|mode| mode != "1") {
        return Err(usage("LOCAL_MODE: adam must run on this machine\nhint: LOCAL_MODE=1"));
    }
    let adam = Adam::new(&ctx.tools);
    if ctx.globals.dry_run {
        if uuid.is_none() {
            println!("{}", adam.list()?);
        }
        println!("{}", request.command(&adam, uuid.as_deref().unwrap_or("UUID"))?);
        return Ok(());
    }
    let uuid = uuid.map_or_else(|| only_device(&adam), Ok)?;
    request.command(&adam, &uuid)?.foreground().run()
}

fn only_device(adam: &Adam) -> Result<String> {
    let list = adam.list()?.stdout()?;
    match parse_list(&list).as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => bail!("adam knows no device: none has registered yet"),
        several => bail!("adam knows {} devices: {}\nhint: --uuid UUID chooses one", several.len(), several.join(", ")),
    }
}
