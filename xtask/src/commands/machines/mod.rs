//! What runs images: in QEMU, in other hypervisors of this machine, in a cloud. One file a target, or a family of them.

mod build_vm;
mod compose;
mod gcp;
mod installers;
mod live;
mod machine;
mod overlay;
mod parallels;
mod proxy;
mod rootfs;
mod virtualbox;

use super::{Verb, verb};
use anyhow::Result;
use checkout::context::Ctx;
use child::{Cmd, Output, Tool, ToolNeed};
use std::path::Path;

/// The verbs of this family.
pub const VERBS: &[Verb] = &[
    verb::<live::RunLive>("run", "boot the last live image in QEMU"),
    verb::<installers::RunTarget>("run-target", "boot in QEMU the system that an installer put on target.img"),
    verb::<installers::RunInstallerRaw>("run-installer-raw", "install EVE on an empty target.img in QEMU, from installer.raw"),
    verb::<installers::RunInstallerIso>("run-installer-iso", "the same from installer.iso"),
    verb::<installers::RunInstallerNet>("run-installer-net", "the same over the network, from installer.net"),
    verb::<installers::RunVerificationRaw>("run-verification-raw", "the same from verification.raw, which checks the result"),
    verb::<rootfs::RunRootfs>("run-rootfs", "boot rootfs.img alone in QEMU"),
    verb::<rootfs::RunGrub>("run-grub", "boot GRUB alone in QEMU"),
    verb::<compose::RunCompose>("run-compose", "run the microservices in containers of this machine"),
    verb::<proxy::RunProxy>("run-proxy", "forward ports into the machine that `run` runs, until it is ended"),
    verb::<build_vm::BuildVm>("build-vm", "make a machine that builds EVE, from a cloud's image"),
    verb::<build_vm::RunBuildVm>("run-build-vm", "boot that machine in QEMU"),
    verb::<virtualbox::RunLiveVb>("run-live-vb", "boot the last live-vdi in VirtualBox"),
    verb::<parallels::RunLiveParallels>("run-live-parallels", "boot the last live-parallels in Parallels Desktop"),
    verb::<gcp::RunLiveGcp>("run-live-gcp", "boot live-gcp in Google's cloud, after uploading it"),
    verb::<gcp::LiveGcpUpload>("live-gcp-upload", "upload live-gcp to Google's cloud, unless it is there"),
];

/// Prints command lines instead of running them.
fn show(commands: &[Cmd]) {
    for command in commands {
        println!("{command}");
    }
}

/// Runs one command after the other, each of which must succeed; what they print is shown.
fn run_all(commands: Vec<Cmd>) -> Result<()> {
    let output = shown();
    for command in commands {
        eprintln!("$ {command}");
        command.output(&output).run()?;
    }
    Ok(())
}

/// What a tool prints, to standard error.
fn shown() -> Output {
    Output::to(|line| eprintln!("{line}"))
}

/// An error where one of `tools` is missing. Versions are asked for only when that may lead to an installation.
fn ensure(ctx: &Ctx, tools: &[Tool]) -> Result<()> {
    if tools.iter().any(|tool| ctx.tools.find(*tool).is_err()) {
        let needs: Vec<ToolNeed> = tools.iter().map(|tool| ToolNeed::usual(*tool)).collect();
        super::doctor::ensure(ctx, &needs)?;
    }
    Ok(())
}

/// An error, with the target that makes it, where `path` is missing; a dry run only tells.
fn require(ctx: &Ctx, path: &Path, target: &str) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let arch = if ctx.knobs.image.arch == ctx.knobs.host_arch { String::new() } else { format!(" --zarch {}", ctx.knobs.image.arch) };
    let root = if ctx.capabilities().packages_are_published { format!(" --root {}", ctx.root.display()) } else { String::new() };
    let target = if target == "live-qcow2" { "live" } else { target };
    let text = format!("`{}` has not been made\nhint: cargo xtask{root} {target}{arch}", path.display());
    if ctx.globals.dry_run {
        eprintln!("warning: {}", text.replace('\n', "; "));
        return Ok(());
    }
    Err(common::error::usage(text))
}
