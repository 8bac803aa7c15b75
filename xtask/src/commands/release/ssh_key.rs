//! `ssh-key`: makes a key pair, and a copy of the configuration that authorizes it. Both are below dist/, so that no tracked file changes
//! and no private key lies beside tracked files.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::ssh;
use common::{artifact::Pending, display::short, error::usage};
use knobs::{KeyKnobs, PortKnobs};
use plan::steps::CopyFiles;
use std::path::{Path, PathBuf};

/// The path of the key, which may not exist yet.
fn path(ctx: &Ctx, knobs: &KeyKnobs) -> PathBuf {
    knobs.ssh_key.as_ref().map_or_else(|| ctx.dist().ssh_key(), |path| ctx.root.join(path))
}

/// The path of the key that opens a machine: the named one, or the one that there is. Relative paths are below the tree's root.
pub fn for_login(ctx: &Ctx, knobs: &KeyKnobs) -> PathBuf {
    // Older versions put the key into CONF_DIR.
    let (made, old) = (path(ctx, knobs), ctx.knobs.image.conf_dir.join("ssh.key"));
    match &knobs.ssh_key {
        Some(key) => key.clone(),
        None if made.is_file() => made,
        None => old.strip_prefix(&ctx.root).map_or(old.clone(), Path::to_owned),
    }
}

/// The key's path, and the ssh port in the printed advice.
#[derive(clap::Args)]
pub struct SshKey {
    #[command(flatten)]
    key: KeyKnobs,
    #[command(flatten)]
    port: PortKnobs,
}

/// `ssh-key`.
pub fn run(ctx: &Ctx, SshKey { key: knobs, port }: SshKey) -> Result<()> {
    let (key, conf) = (path(ctx, &knobs), ctx.dist().conf());
    let key = key.as_path();
    let cmd = ssh::keygen_command(&ctx.tools, key)?;
    if ctx.globals.dry_run {
        println!("{cmd}\ncopy {} and the public key to {}", short(&ctx.knobs.image.conf_dir, &ctx.root), short(&conf, &ctx.root));
        return Ok(());
    }
    if key.exists() && !key.starts_with(ctx.dist().path()) {
        return Err(usage(format!("`{}` already exists\nhint: remove it, or name another file with SSH_KEY", key.display())));
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
    std::fs::copy(&public, pending.part()).with_context(|| format!("ssh-keygen did not write `{}`", public.display()))?;
    pending.commit()?;
    println!(
        "made: {} and {}, a copy of {} that authorizes the key\nbuild with CONF_DIR={}, log in with: ssh -i {} -p {} root@localhost",
        short(key, &ctx.root),
        short(&conf, &ctx.root),
        short(&ctx.knobs.image.conf_dir, &ctx.root),
        short(&conf, &ctx.root),
        short(key, &ctx.root),
        port.ssh_port,
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
