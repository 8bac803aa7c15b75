//! `build-vm`: makes a virtual machine that is a GitHub runner and builds EVE, from a cloud's image and settings (cloud-init) for the
//! first boot. `run-build-vm` boots it again.

use super::{
    ensure,
    machine::{self, Options, Place, bus, setup, start},
    require,
};
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{Cmd, Output, Tool, curl, docker::ContainerStep, qemu_img::QemuImg};
use common::{Arch, artifact::Pending, error::usage};
use knobs::BuildVmKnobs;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};
use vm::{Disk, Setup, as_make::Disks};

/// The template of the settings in a tree, with three placeholders.
const TEMPLATE: &str = "build-tools/src/scripts/cloud-init.in";
/// Size of the machine's disk. A build needs half of it.
const SIZE: &str = "100G";
/// A shell command that packs the settings on its standard input as a disk.
const PACK: &str = "apk add cloud-utils > /dev/null 2>&1 && cloud-localds --disk-format qcow2 _ - && cat _";

/// The path of the machine's disk.
fn disk(ctx: &Ctx) -> PathBuf {
    ctx.dist().build_vm(ctx.knobs.image.arch)
}

/// `run-build-vm`.
pub fn run(ctx: &Ctx, options: Options) -> Result<()> {
    require(ctx, &disk(ctx), "build-vm")?;
    let place = Place::find(ctx)?;
    let disks = vec![Disk::image(disk(ctx), "qcow2", bus(ctx, &options))];
    start(ctx, &options, &place, setup(ctx, &options, &place, disks, Disks::LastFormatFirst)?)
}

/// The machine to make.
#[derive(clap::Args)]
pub struct BuildVm {
    #[command(flatten)]
    machine: Options,
    #[command(flatten)]
    knobs: BuildVmKnobs,
}

/// `build-vm`.
pub fn build(ctx: &Ctx, BuildVm { machine: options, knobs }: BuildVm) -> Result<()> {
    let disk = disk(ctx);
    if disk.is_file() && !ctx.globals.dry_run {
        println!("up to date: {}", disk.display());
        return Ok(());
    }
    let settings = settings(ctx, &knobs)?;
    let source = source(ctx, &knobs);
    let beside = |suffix: &str| PathBuf::from(format!("{}{suffix}", disk.display()));
    let (original, active) = (beside(".orig"), beside(".active"));
    let seed = ctx.dist().build_vm_settings(ctx.knobs.image.arch);
    let place = Place::find(ctx)?;
    let bus = bus(ctx, &options);
    let disks = vec![Disk::image(&active, "qcow2", bus), Disk::image(&seed, "qcow2", bus)];
    let setup = setup(ctx, &options, &place, disks, Disks::LastFormatFirst)?;
    let output = Output::default();
    if ctx.globals.dry_run {
        let pack = pack(ctx, settings, &output)?;
        let before = [pack, curl::fetch(&ctx.tools, &source, &output), QemuImg::resize_command(&ctx.tools, &active, SIZE)];
        return machine::dry_run(ctx, &setup, &before);
    }
    ensure(ctx, &[Tool::Docker, Tool::Curl, Tool::QemuImg])?;
    machine::ensure_tools(ctx, &setup, &[])?;
    let locks = machine::claim(&Setup { disks: vec![], ..setup.clone() }, &place, Some(&active), false)?;
    // The settings contain the token: mode 0600, and removed after the first boot.
    let _gone = Gone(seed.clone());
    write_output(pack(ctx, settings, &super::shown())?, &seed, 0o600)?;
    if !original.is_file() {
        write_output(curl::fetch(&ctx.tools, &source, &super::shown()), &original, 0o644)?;
    }
    fs::copy(&original, &active).with_context(|| format!("cannot copy `{}`", original.display()))?;
    super::run_all(vec![QemuImg::resize_command(&ctx.tools, &active, SIZE)])?;
    machine::boot(ctx, &options, setup, locks)?;
    fs::rename(&active, &disk).with_context(|| format!("cannot put `{}` in its place", disk.display()))?;
    println!("made: {}", disk.display());
    Ok(())
}

/// Removes a file when it is dropped.
struct Gone(PathBuf);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The address of the cloud image.
fn source(ctx: &Ctx, knobs: &BuildVmKnobs) -> String {
    let arch = ctx.knobs.image.arch;
    let usual = || format!("https://cloud-images.ubuntu.com/focal/current/focal-server-cloudimg-{arch}.img");
    knobs.source.clone().unwrap_or_else(usual)
}

/// The settings of the first boot. They contain the token: pass them only to the standard input of [`pack`].
fn settings(ctx: &Ctx, knobs: &BuildVmKnobs) -> Result<String> {
    let path = ctx.root.join(TEMPLATE);
    if !path.is_file() {
        return Err(usage(format!(
            "{} has no {TEMPLATE}, the settings of a build machine\nhint: lf-edge/eve has it: cargo xtask --root DIR build-vm …",
            ctx.profile.tree.name
        )));
    }
    let (key, token) = match (knobs.public_key.as_deref(), knobs.token.as_deref()) {
        (Some(key), Some(token)) => (key, token),
        (key, token) => {
            let names = [(key, "BUILD_VM_SSH_PUB_KEY"), (token, "BUILD_VM_GH_TOKEN")];
            let missing: Vec<&str> = names.iter().filter(|(value, _)| value.is_none()).map(|(_, name)| *name).collect();
            return Err(usage(format!(
                "a build machine needs {}\nhint: export BUILD_VM_GH_TOKEN (a variable is not in the process list), then cargo xtask build-vm BUILD_VM_SSH_PUB_KEY=…",
                missing.join(" and ")
            )));
        }
    };
    let template = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let arch = if ctx.knobs.image.arch == Arch::Amd64 { "x64" } else { ctx.knobs.image.arch.as_str() };
    Ok(fill(&template, &[("@ZARCH@", arch), ("@SSH_PUB_KEY@", key), ("@GH_TOKEN@", token)]))
}

/// Replaces each name by its value; names inside values stay.
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
    let step = ContainerStep {
        step: "packing the settings of the build machine".to_owned(),
        options: &["-i", "--rm"],
        volumes: &[],
        image: "alpine:edge",
        arguments: &["sh", "-c", PACK],
    };
    Ok(step.command(&ctx.tools, output)?.stdin_bytes(settings))
}

/// Writes the output of `cmd` to `path`.
fn write_output(cmd: Cmd, path: &Path, mode: u32) -> Result<()> {
    let pending = Pending::new(path)?;
    let mut file = pending.create()?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    let count = cmd.read_with(|stream| std::io::copy(stream, &mut file).with_context(|| format!("cannot write `{}`", path.display())))?;
    if count == 0 {
        bail!("the command for `{}` printed nothing", path.display());
    }
    pending.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_once() {
        let values = [("@KEY@", "ssh-rsa & @TOKEN@ me@home"), ("@TOKEN@", "#/\\1")];
        assert_eq!(fill("k: @KEY@\nt: @TOKEN@ @OTHER@ a@b\n", &values), "k: ssh-rsa & @TOKEN@ me@home\nt: #/\\1 @OTHER@ a@b\n");
    }
}
