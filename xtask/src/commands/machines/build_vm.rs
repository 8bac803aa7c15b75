//! `build-vm`: a machine that builds EVE as a runner of a project, from a cloud's image and settings that its first boot heeds;
//! `run-build-vm` boots it again.

use super::{
    ensure,
    machine::{self, Place, bus, setup, start},
    require, show,
};
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{Cmd, Output, Tool, curl, docker::Step, qemu_img::QemuImg};
use clap::ArgMatches;
use common::{Arch, artifact::Pending, error::usage};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};
use vm::{Disk, as_make::Disks};

/// The settings with three gaps, in a tree.
const TEMPLATE: &str = "build-tools/src/scripts/cloud-init.in";
/// What the machine's disk grows to: a build takes half of that.
const SIZE: &str = "100G";
/// Makes a disk of the settings on its input.
const PACK: &str = "apk add cloud-utils > /dev/null 2>&1 && cloud-localds --disk-format qcow2 _ - && cat _";

/// The machine's disk.
fn disk(ctx: &Ctx) -> PathBuf {
    ctx.dist().build_vm(ctx.knobs.arch)
}

/// `run-build-vm`.
pub fn run(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    require(ctx, &disk(ctx), "build-vm")?;
    let place = Place::find(ctx)?;
    let disks = vec![Disk::image(disk(ctx), "qcow2", bus(ctx, arguments)?)];
    start(ctx, arguments, setup(ctx, arguments, &place, disks, Disks::LastFormatFirst)?, vec![])
}

/// `build-vm`.
pub fn build(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let disk = disk(ctx);
    if disk.is_file() && !ctx.globals.dry_run {
        println!("up to date: {}", disk.display());
        return Ok(());
    }
    let settings = settings(ctx)?;
    let source = source(ctx);
    let beside = |suffix: &str| PathBuf::from(format!("{}{suffix}", disk.display()));
    let (original, active) = (beside(".orig"), beside(".active"));
    let seed = ctx.dist().build_vm_settings(ctx.knobs.arch);
    let place = Place::find(ctx)?;
    let bus = bus(ctx, arguments)?;
    let machine = || {
        let disks = vec![Disk::image(&active, "qcow2", bus), Disk::image(&seed, "qcow2", bus)];
        setup(ctx, arguments, &place, disks, Disks::LastFormatFirst)
    };
    let output = Output::default();
    if ctx.globals.dry_run {
        show(&[
            pack(ctx, settings, &output)?,
            curl::fetch(&ctx.tools, &source, &output),
            QemuImg::resize_command(&ctx.tools, &active, SIZE),
        ]);
        return start(ctx, arguments, machine()?, vec![]);
    }
    ensure(ctx, &[Tool::Docker, Tool::Curl, Tool::QemuImg])?;
    // It holds the token: for nobody else to read, and not longer than the first boot needs it.
    let _gone = Gone(seed.clone());
    write_output(pack(ctx, settings, &super::shown())?, &seed, 0o600)?;
    if !original.is_file() {
        write_output(curl::fetch(&ctx.tools, &source, &super::shown()), &original, 0o644)?;
    }
    fs::copy(&original, &active).with_context(|| format!("cannot copy `{}`", original.display()))?;
    super::run_all(vec![QemuImg::resize_command(&ctx.tools, &active, SIZE)])?;
    let setup = machine()?;
    machine::ensure_tools(ctx, &setup, &[])?;
    machine::boot(ctx, arguments, setup)?;
    fs::rename(&active, &disk).with_context(|| format!("cannot put `{}` in its place", disk.display()))?;
    println!("made: {}", disk.display());
    Ok(())
}

/// A file that must not outlive what it was made for.
struct Gone(PathBuf);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The image that it starts from.
fn source(ctx: &Ctx) -> String {
    let arch = ctx.knobs.arch;
    let usual = || format!("https://cloud-images.ubuntu.com/focal/current/focal-server-cloudimg-{arch}.img");
    ctx.knobs.optional("BUILD_VM_SRC").map_or_else(usual, str::to_owned)
}

/// The settings of the first boot, filled in. They hold the token: they go nowhere but to the standard input of what packs them.
fn settings(ctx: &Ctx) -> Result<String> {
    let path = ctx.root.join(TEMPLATE);
    if !path.is_file() {
        return Err(usage(format!(
            "{} has no {TEMPLATE}, the settings of its build machine\nhint: lf-edge/eve has them: cargo xtask --root DIR build-vm …",
            ctx.profile.tree.name
        )));
    }
    let wanted = |name: &str| ctx.knobs.optional(name).ok_or_else(|| name.to_owned());
    let (key, token) = match (wanted("BUILD_VM_SSH_PUB_KEY"), wanted("BUILD_VM_GH_TOKEN")) {
        (Ok(key), Ok(token)) => (key, token),
        (key, token) => {
            let missing: Vec<String> = [key.err(), token.err()].into_iter().flatten().collect();
            return Err(usage(format!(
                "a build machine needs {}\nhint: export BUILD_VM_GH_TOKEN (it stays out of the process list there), then cargo xtask build-vm BUILD_VM_SSH_PUB_KEY=…",
                missing.join(" and ")
            )));
        }
    };
    let template = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let arch = if ctx.knobs.arch == Arch::Amd64 { "x64" } else { ctx.knobs.arch.as_str() };
    Ok(fill(&template, &[("@ZARCH@", arch), ("@SSH_PUB_KEY@", key), ("@GH_TOKEN@", token)]))
}

/// Each name replaced by its value; values are not looked at again.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some(at) = rest.find('@') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (word, value) = values.iter().find(|(name, _)| rest.starts_with(name)).copied().unwrap_or(("@", "@"));
        out.push_str(value);
        rest = &rest[word.len()..];
    }
    out.push_str(rest);
    out
}

fn pack(ctx: &Ctx, settings: String, output: &Output) -> Result<Cmd> {
    let step = Step {
        step: "packing the settings of the build machine".to_owned(),
        options: &["-i", "--rm"],
        volumes: &[],
        image: "alpine:edge",
        arguments: &["sh", "-c", PACK],
    };
    Ok(step.command(&ctx.tools, output)?.stdin_bytes(settings))
}

/// Writes what `cmd` prints to `path`.
fn write_output(cmd: Cmd, path: &Path, mode: u32) -> Result<()> {
    let pending = Pending::new(path)?;
    let mut file = pending.create()?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    let count = cmd.read_with(|stream| std::io::copy(stream, &mut file).with_context(|| format!("cannot write `{}`", path.display())))?;
    if count == 0 {
        bail!("nothing was printed that could become `{}`", path.display());
    }
    pending.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled_once() {
        let values = [("@KEY@", "ssh-rsa & @TOKEN@ me@home"), ("@TOKEN@", "#/\\1")];
        assert_eq!(fill("k: @KEY@\nt: @TOKEN@ @OTHER@ a@b\n", &values), "k: ssh-rsa & @TOKEN@ me@home\nt: #/\\1 @OTHER@ a@b\n");
    }
}
