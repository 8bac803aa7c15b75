//! `ssh-key`: makes a key pair, and a copy of the configuration that authorizes it. Both are below dist/, so that no tracked file changes
//! and no private key lies beside tracked files.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::{Cmd, ssh};
use common::{artifact::write_atomically, display::short};
use knobs::{KeyKnobs, PortKnobs};
use plan::steps::CopyFiles;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

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
    let is_new = !key.exists();
    let public = make(ctx, cmd, key)?;
    if !conf.exists() {
        copy_configuration(ctx, &conf)?;
    }
    authorize(&conf, &public)?;
    println!(
        "{}: {} and {}, a copy of {} that authorizes the key\nbuild with CONF_DIR={}, log in with: ssh -i {} -p {} root@localhost",
        if is_new { "made" } else { "kept" },
        short(key, &ctx.root),
        short(&conf, &ctx.root),
        short(&ctx.knobs.image.conf_dir, &ctx.root),
        short(&conf, &ctx.root),
        short(key, &ctx.root),
        port.ssh_port,
    );
    let differ = differences(&ctx.knobs.image.conf_dir, &conf);
    if !differ.is_empty() {
        let (conf, from) = (short(&conf, &ctx.root), short(&ctx.knobs.image.conf_dir, &ctx.root));
        eprintln!("note: {conf} is not what {from} is now: {}", differ.join(", "));
        eprintln!("hint: rm -r {conf} && cargo xtask{} ssh-key makes it anew, without what was changed in it", ctx.globals.place);
    }
    Ok(())
}

/// The files that differ between the configuration `from` and its copy `to`, which has its own keys.
fn differences(from: &Path, to: &Path) -> Vec<String> {
    let files = |folder: &Path| -> BTreeSet<PathBuf> {
        let entries = walkdir::WalkDir::new(folder).into_iter().filter_map(Result::ok).filter(|entry| !entry.file_type().is_dir());
        entries.filter_map(|entry| Some(entry.path().strip_prefix(folder).ok()?.to_owned())).collect()
    };
    let (there, here) = (files(from), files(to));
    let of = |name: &PathBuf| {
        let only = match (there.contains(name), here.contains(name)) {
            (true, false) => "missing in the copy",
            (false, _) => "only in the copy",
            _ if std::fs::read(from.join(name)).ok() == std::fs::read(to.join(name)).ok() => return None,
            _ => "other content",
        };
        Some(format!("{} ({only})", name.display()))
    };
    there.union(&here).filter(|name| name.as_os_str() != "authorized_keys").filter_map(of).collect()
}

/// The public key that a new disk lets in: that of the key in `dist/`, which is made once. None, with a warning, if it cannot be made.
pub fn ensure(ctx: &Ctx) -> Option<String> {
    let key = ctx.dist().ssh_key();
    let made = ssh::keygen_command(&ctx.tools, &key).and_then(|cmd| make(ctx, cmd, &key));
    made.map_err(|error| eprintln!("warning: nobody can log in by ssh, because there is no key: {error:#}")).ok()
}

/// Makes the key with `cmd` unless it is there, and returns the public key.
fn make(ctx: &Ctx, cmd: Cmd, key: &Path) -> Result<String> {
    let mut public = key.as_os_str().to_owned();
    public.push(".pub");
    let public = PathBuf::from(public);
    if !key.exists() {
        std::fs::create_dir_all(ctx.dist().path()).with_context(|| format!("cannot make the folder `{}`", ctx.dist().path().display()))?;
        // ssh-keygen would ask whether to replace it.
        let _ = std::fs::remove_file(&public);
        cmd.run()?;
    }
    std::fs::read_to_string(&public).with_context(|| {
        format!(
            "cannot read the public key `{0}`\nhint: ssh-keygen -y -f {1} > {0} makes it from the private one",
            public.display(),
            key.display()
        )
    })
}

/// Adds the public key to those of a configuration.
fn authorize(conf: &Path, public: &str) -> Result<()> {
    let path = conf.join("authorized_keys");
    let mut text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text.with_context(|| format!("cannot read `{}`", path.display()))?,
    };
    if text.lines().any(|line| line.trim() == public.trim()) {
        return Ok(());
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(public);
    write_atomically(&path, text.as_bytes())
}

fn copy_configuration(ctx: &Ctx, to: &Path) -> Result<()> {
    native::files::copy_files(&CopyFiles { from: vec![ctx.knobs.image.conf_dir.clone()], to: to.to_owned() })
}
