//! `run-proxy`: ports into the machine that runs, by ssh.

use super::{super::release::ssh_key_path, ensure, show};
use anyhow::Result;
use checkout::context::Ctx;
use child::{Tool, ssh};
use clap::ArgMatches;
use std::path::PathBuf;

/// `run-proxy`. It stays in the foreground, where it can be ended.
pub fn run(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    // The old place is where an older key may still be.
    let (made, old) = (ssh_key_path(ctx), PathBuf::from(ctx.knobs.text("CONF_DIR")).join("ssh.key"));
    let key = match ctx.knobs.optional("SSH_KEY") {
        Some(key) => PathBuf::from(key),
        None if made.is_file() => made,
        None => old,
    };
    let cmd = ssh::proxy(&ctx.tools, ctx.knobs.text("SSH_PROXY"), &key, ctx.knobs.ssh_port, &ctx.root);
    if ctx.globals.dry_run {
        show(&[cmd]);
        return Ok(());
    }
    ensure(ctx, &[Tool::Ssh])?;
    if !ctx.root.join(&key).is_file() {
        eprintln!("warning: there is no key `{}`, ssh tries those of its agent; cargo xtask ssh-key makes one", key.display());
    }
    eprintln!("forwarding {} through port {}; Ctrl-C ends it", ctx.knobs.text("SSH_PROXY"), ctx.knobs.ssh_port);
    cmd.foreground().run()
}
