//! The verbs that run images: in QEMU, in other hypervisors of this machine, or in Google's cloud.

mod alone;
mod background;
mod build_vm;
mod compose;
mod dev;
mod disk_format;
mod gcp;
mod installers;
mod live;
mod machine;
mod overlay;
mod parallels;
mod proxy;
mod reach;
mod rootfs;
mod secure_boot;
mod update;
mod virtualbox;
mod waiting;

pub use live::newest_live;
pub use secure_boot::secure_boot_firmware;

use super::{Run, Verb, Wants, simple, verb};
use anyhow::Result;
use checkout::context::Ctx;
use child::{Cmd, Output, Tool, ToolNeed};
use std::path::Path;

/// The verbs of this family.
pub const VERBS: &[Verb] = &[
    verb("run", "boot the last live image in QEMU", &Run(live::run)).after("live"),
    verb("run-target", "boot in QEMU the system that an installer put on target.img", &Run(installers::run_target))
        .after("run-installer-raw"),
    verb("run-installer-raw", "install EVE on an empty target.img in QEMU, from installer.raw", &Run(installers::install_from_raw))
        .after("installer-raw"),
    verb("run-installer-iso", "install EVE on an empty target.img in QEMU, from installer.iso", &Run(installers::install_from_iso))
        .after("installer-iso"),
    verb("run-installer-net", "install EVE on an empty target.img in QEMU, over the network", &Run(installers::install_from_net))
        .after("installer-net"),
    verb("run-verification-raw", "install EVE from verification.raw in QEMU and check the machine", &Run(installers::verify))
        .after("verification-raw"),
    verb("run-rootfs", "boot in QEMU rootfs.img alone, with an empty configuration and an empty /persist", &Run(rootfs::run_rootfs))
        .after("rootfs"),
    verb("run-grub", "boot in QEMU GRUB alone, to its prompt", &Run(rootfs::run_grub)).after("rootfs"),
    simple("run-compose", "run EVE's microservices in containers on this machine", compose::run).on(Wants::Compose),
    verb("dev", "build the live image quickly; while a machine runs, put changed packages into it", &Run(dev::run)).sets(QUICK).building(),
    verb("watch", "do what `dev` does after every change of a file", &Run(dev::watch)).sets(QUICK).building(),
    verb("ssh", "open a shell on a machine of `run`, or run a command there", &Run(reach::ssh)),
    verb("cp", "copy files and folders to a machine of `run`, or from it", &Run(reach::cp)),
    verb("log", "show the system log of a machine of `run`, or of one of its containers", &Run(reach::log)),
    verb("console", "open the serial console of a machine in the background", &Run(reach::console)),
    simple("ps", "list the machines of `run` that are running", reach::ps),
    verb("stop", "switch a machine of `run` off", &Run(reach::stop)),
    verb("run-proxy", "forward ports to the machine of `run`, until Ctrl-C", &Run(proxy::run)),
    verb("update", "send a rootfs.img to the machine of `run`, and start it from the other slot", &Run(update::run)),
    verb("build-vm", "make a virtual machine that builds EVE, from a cloud's image", &Run(build_vm::build)).on(Wants::BuildMachine),
    verb("run-build-vm", "boot the machine of build-vm in QEMU", &Run(build_vm::run)).on(Wants::BuildMachine),
    verb("run-live-vb", "boot the last live-vdi in VirtualBox", &Run(virtualbox::run)).after("live-vdi"),
    verb("run-live-parallels", "boot the last live-parallels in Parallels Desktop", &Run(parallels::run)).after("live-parallels"),
    verb("run-live-gcp", "upload live-gcp to Google's cloud and boot it there", &Run(gcp::run)).after("live-gcp"),
    verb("live-gcp-upload", "upload live-gcp to Google's cloud, unless it is already there", &Run(gcp::upload)).after("live-gcp"),
];

/// What makes a build quick, and keeps all builds in one folder.
const QUICK: &[(&str, &str)] = &[("ROOTFS_COMPRESSION", "gzip"), ("ROOTFS_VERSION", "dev")];

/// Prints command lines, for `--dry-run`.
fn show(commands: &[Cmd]) {
    for command in commands {
        println!("{command}");
    }
}

/// Runs the commands in order until one fails, and shows their output.
fn run_all(commands: Vec<Cmd>) -> Result<()> {
    let output = shown();
    for command in commands {
        eprintln!("$ {command}");
        command.output(&output).run()?;
    }
    Ok(())
}

/// Sends a tool's output to standard error.
pub(super) fn shown() -> Output {
    Output::to(|line| eprintln!("{line}"))
}

/// Fails if one of `tools` is missing and cannot be installed. Checks versions only if one is missing.
fn ensure(ctx: &Ctx, tools: &[Tool]) -> Result<()> {
    ensure_needs(ctx, &tools.iter().map(|tool| ToolNeed::usual(*tool)).collect::<Vec<_>>())
}

/// [`ensure`], with a purpose of each tool that is not the usual one.
fn ensure_needs(ctx: &Ctx, needs: &[ToolNeed]) -> Result<()> {
    let is_missing = |need: &ToolNeed| ctx.tools.find(need.tool).is_err();
    if needs.iter().any(is_missing) { super::doctor::ensure(ctx, needs) } else { Ok(()) }
}

/// Fails if `path` is missing, naming the target that makes it; with `--dry-run` warns.
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
