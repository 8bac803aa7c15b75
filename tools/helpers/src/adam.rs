//! `adam`: asks an adam that runs on this machine about a device, or sets a device's configuration. adam is a small controller
//! that runs beside EVE in tests.

use anyhow::{Result, bail};
use checkout::context::Ctx;
use child::{Cmd, adam::Adam, adam::parse_list};
use common::error::usage;
use std::path::PathBuf;

/// What to ask adam.
pub enum AdamRequest {
    /// Print the device's configuration.
    GetConfig,
    /// Set the device's configuration to that in the file.
    SetConfig(PathBuf),
    /// Print the device's logs.
    Logs,
    /// Print the device's information messages.
    Info,
}

/// What to ask, and about which device.
pub struct Options {
    /// What to ask.
    pub request: AdamRequest,
    /// The device; none means the only one that adam knows.
    pub uuid: Option<String>,
}

impl Options {
    fn command(&self, adam: &Adam, uuid: &str) -> Result<Cmd> {
        match &self.request {
            AdamRequest::GetConfig => adam.config(uuid),
            AdamRequest::SetConfig(file) => adam.set_config(uuid, file),
            AdamRequest::Logs => adam.messages("logs", uuid),
            AdamRequest::Info => adam.messages("info", uuid),
        }
    }
}

/// Runs adam's command in the foreground.
pub fn ask_adam(ctx: &Ctx, options: &Options) -> Result<()> {
    if ctx.environment.get("LOCAL_MODE").is_some_and(|mode| mode != "1") {
        return Err(usage("LOCAL_MODE: only an adam on this machine can be talked to\nhint: LOCAL_MODE=1"));
    }
    let adam = Adam::new(&ctx.tools);
    if ctx.globals.dry_run {
        if options.uuid.is_none() {
            println!("{}", adam.list()?);
        }
        println!("{}", options.command(&adam, options.uuid.as_deref().unwrap_or("UUID"))?);
        return Ok(());
    }
    let uuid = match &options.uuid {
        Some(uuid) => uuid.clone(),
        None => only_device(&adam)?,
    };
    options.command(&adam, &uuid)?.foreground().run()
}

fn only_device(adam: &Adam) -> Result<String> {
    let list = adam.list()?.stdout()?;
    match parse_list(&list).as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => bail!("adam knows no device yet: none has registered"),
        several => bail!("adam knows {} devices: {}\nhint: --uuid UUID says which", several.len(), several.join(", ")),
    }
}
