//! `ssh-key`: a key pair, and a copy of the configuration that lets it in. Neither a tracked file nor a private key beside tracked
//! files: the copy and the key are below dist/.

use crate::commands::Run;
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::ssh;
use common::{artifact::Pending, display::short, error::usage};
use knobs::{KeyKnobs, PortKnobs};
use plan::steps::CopyFiles;
use std::path::{Path, PathBuf};

/// Where the key is, or will be.
pub fn path(ctx: &Ctx, knobs: &KeyKnobs) -> PathBuf {
    knobs.ssh_key.as_ref().map_or_else(|| ctx.dist().ssh_key(), |path| ctx.root.join(path))
}

/// `ssh-key`: where the key goes, and the port in the advice.
#[derive(clap::Args)]
pub struct SshKey {
    #[command(flatten)]
    key: KeyKnobs,
    #[command(flatten)]
    port: PortKnobs,
}

impl Run for SshKey {
    fn run(self, ctx: &Ctx) -> Result<()> {
        make_key(ctx, &path(ctx, &self.key), self.port.ssh_port)
    }
}

fn make_key(ctx: &Ctx, key: &Path, port: u16) -> Result<()> {
    let conf = ctx.dist().conf();
    let cmd = ssh::keygen_command(&ctx.tools, key)?;
    if ctx.globals.dry_run {
        println!("{cmd}\ncopy {} and the public key to {}", short(&ctx.knobs.image.conf_dir, &ctx.root), short(&conf, &ctx.root));
        return Ok(());
    }
    if key.exists() && !key.starts_with(ctx.dist().path()) {
        return Err(usage(format!("`{}` exists, and is not made anew\nhint: remove it first, or name another by SSH_KEY", key.display())));
    }
    let mut public = key.as_os_str().to_owned();
    public.push(".pub");
    let public = PathBuf::from(public);
    std::fs::create_dir_all(ctx.dist().path()).with_context(|| format!("cannot make the folder `{}`", ctx.dist().path().display()))?;
    for old in [key, &public] {
        let _ = std::fs::remove_file(old);
    }
    cmd.run()?;
    copy_configuration(ctx, &conf)?;
    let pending = Pending::new(&conf.join("authorized_keys"))?;
    std::fs::copy(&public, pending.part()).with_context(|| format!("ssh-keygen made no `{}`", public.display()))?;
    pending.commit()?;
    println!(
        "made: {} and {}, a copy of {} that lets it in\nbuild with CONF_DIR={}, log in with: ssh -i {} -p {} root@localhost",
        short(key, &ctx.root),
        short(&conf, &ctx.root),
        short(&ctx.knobs.image.conf_dir, &ctx.root),
        short(&conf, &ctx.root),
        short(key, &ctx.root),
        port,
    );
    Ok(())
}

fn copy_configuration(ctx: &Ctx, to: &Path) -> Result<()> {
    if to == ctx.knobs.image.conf_dir {
        return Ok(());
    }
    let _ = std::fs::remove_dir_all(to);
    native::files::copy_files(&CopyFiles { from: vec![ctx.knobs.image.conf_dir.clone()], to: to.to_owned() })
}
