//! `run-proxy`: forwards ports to the running machine with ssh, in the foreground until Ctrl-C.

use super::{super::release::key_for_login, ensure, show};
use anyhow::Result;
use checkout::context::Ctx;
use child::{Tool, ssh};
use knobs::{KeyKnobs, PortKnobs, ProxyKnobs};

/// The ports to forward, and how to reach the machine.
#[derive(clap::Args)]
pub struct RunProxy {
    #[command(flatten)]
    proxy: ProxyKnobs,
    #[command(flatten)]
    key: KeyKnobs,
    #[command(flatten)]
    port: PortKnobs,
}

/// `run-proxy`.
pub fn run(ctx: &Ctx, RunProxy { proxy, key, port }: RunProxy) -> Result<()> {
    let key = key_for_login(ctx, &key);
    let cmd = ssh::proxy(&ctx.tools, &proxy.ssh_proxy, &key, port.ssh_port, &ctx.root);
    if ctx.globals.dry_run {
        show(&[cmd]);
        return Ok(());
    }
    ensure(ctx, &[Tool::Ssh])?;
    if !ctx.root.join(&key).is_file() {
        eprintln!("warning: there is no key `{}`: ssh tries the keys of its agent; `cargo xtask ssh-key` makes one", key.display());
    }
    eprintln!("forwarding {} through port {}; Ctrl-C ends it", proxy.ssh_proxy, port.ssh_port);
    cmd.foreground().run()
}
