//! What all machines in QEMU have in common: options, where their files are, the settings that knobs make, and their life.

use super::{ensure, show};
use anyhow::Result;
use checkout::context::Ctx;
use child::{Cmd, Tool, qemu};
use clap::{
    builder::{PossibleValuesParser, TypedValueParser},
    value_parser,
};
use common::{Arch, error::usage};
use knobs::{ImageFormat, RunKnobs};
use plan::{Goal, Layout};
use std::{
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use vm::{AsMake, Disk, DiskBus, Firmware, Outcome, Setup, VmRequest, as_make::Disks, machine, run_vm};

/// Seconds that are as good as forever, which still fit into clocks.
const WEEKS: u64 = 100 * 7 * 24 * 3600;

/// What every machine in QEMU takes.
#[derive(clap::Args, Clone)]
pub struct Options {
    #[command(flatten)]
    pub knobs: RunKnobs,
    /// how disks are connected; AHCI on amd64 and virtio elsewhere when unset
    #[arg(long, value_name = "BUS", value_parser = parse_bus())]
    disk_bus: Option<DiskBus>,
    /// write what the serial console prints to FILE
    #[arg(long, value_name = "FILE")]
    serial_log: Option<PathBuf>,
    /// succeed and switch the machine off when the serial console prints TEXT
    #[arg(long, value_name = "TEXT")]
    until: Option<String>,
    /// fail after so many seconds
    #[arg(long, value_name = "SECS", value_parser = value_parser!(u64).range(1..=WEEKS))]
    timeout: Option<u64>,
    /// QEMU's name of the processor
    #[arg(long, value_name = "MODEL")]
    cpu: Option<String>,
    /// number of processors; 4, or 1 without acceleration, when unset
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=255))]
    cpus: Option<u32>,
}

/// One of the buses, which are listed in the help.
fn parse_bus() -> impl TypedValueParser<Value = DiskBus> {
    PossibleValuesParser::new(DiskBus::ALL.map(DiskBus::as_str)).try_map(|word| word.parse::<DiskBus>())
}

/// Where the files of machines are. On a tree of lf-edge/eve, as its Makefile has it: live images and firmware are those of the
/// last build, installers and what they install those of this version. Here, all are of one version.
pub struct Place {
    /// `dist/<arch>/current`, or the folder of this version where nothing is current.
    pub current: Layout,
    /// The folder of the version.
    pub build: Layout,
}

impl Place {
    /// Looks.
    pub fn find(ctx: &Ctx) -> Result<Self> {
        let arch = ctx.knobs.image.arch;
        let dist = ctx.dist();
        if ctx.capabilities().machines_are_as_make_had_them() {
            let build = ctx.layout(&ctx.tree()?);
            let current = dist.current(arch);
            return Ok(Self { current: if current.path().is_dir() { current } else { build.clone() }, build });
        }
        if arch == Arch::Riscv64 {
            return Err(usage("virtual machines of this tree run amd64 and arm64 images only, riscv64 boots on hardware"));
        }
        let version = ctx.knobs.image.rootfs_version.as_deref();
        let link = version.map_or_else(|| dist.current_link(arch), |version| dist.version(arch, version).path().to_owned());
        let found = link.canonicalize().map(Layout::at).map_err(|_| {
            usage(format!("nothing has been built for {arch}: `{}` is missing\nhint: cargo xtask live --zarch {arch}", link.display()))
        })?;
        Ok(Self { current: found.clone(), build: found })
    }

    /// The log of what a tool says itself.
    pub fn log(&self, tool: &str) -> PathBuf {
        self.current.log(&format!("run-{tool}"))
    }

    /// The disk that installers install on.
    pub fn target(&self) -> PathBuf {
        self.build.target()
    }

    /// The folder of the firmware. On a tree of lf-edge/eve it is made when the last build has none.
    fn firmware(&self, ctx: &Ctx) -> Result<PathBuf> {
        let files = ctx.profile.firmware_files(ctx.knobs.image.arch);
        let is_whole = |folder: &Path| files.iter().all(|file| folder.join(file).is_file());
        let current = self.current.firmware();
        if !ctx.capabilities().machines_are_as_make_had_them() || ctx.globals.dry_run || is_whole(&current) {
            return Ok(current);
        }
        super::super::build::build(ctx, &Goal::Firmware)?;
        Ok(if is_whole(&current) { current } else { self.build.firmware() })
    }
}

/// A format that QEMU boots from.
pub fn qemu_format(ctx: &Ctx) -> Result<ImageFormat> {
    let format = ctx.knobs.image.image_format;
    if !format.row().boots_in_qemu {
        return Err(usage(format!("a {format} image is not for QEMU\nhint: --image-format qcow2, raw or vdi")));
    }
    Ok(format)
}

/// How a person wants disks to be connected.
pub fn bus(ctx: &Ctx, options: &Options) -> DiskBus {
    options.disk_bus.unwrap_or_else(|| DiskBus::usual(ctx.knobs.image.arch))
}

/// A machine with `disks`, as the knobs and the options say. `words` is how the Makefile writes such disks down.
pub fn setup(ctx: &Ctx, options: &Options, place: &Place, disks: Vec<Disk>, words: Disks) -> Result<Setup> {
    let (knobs, arch) = (&options.knobs, ctx.knobs.image.arch);
    let as_make = ctx.capabilities().machines_are_as_make_had_them().then(|| AsMake {
        root: ctx.root.clone(),
        dtb: (arch == Arch::Arm64).then(|| ctx.dist().device_tree()),
        kernel: (arch == Arch::Riscv64).then(|| place.current.part("boot/u-boot.bin")),
        disks: words,
    });
    let conf_part = knobs.conf_part.as_ref().map(|folder| ctx.root.join(folder));
    if let Some(folder) = conf_part.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(usage(format!("CONF_PART={}: there is no such folder", folder.display())));
    }
    let tpm = if as_make.is_some() { place.current.swtpm() } else { place.build.swtpm() };
    let firmware = firmware(ctx, knobs.pflash, &place.firmware(ctx)?);
    Ok(Setup {
        no_accel: knobs.no_accel,
        cpu: options.cpu.clone(),
        cpus: options.cpus,
        disks,
        conf_part,
        ssh_port: Some(knobs.port.ssh_port),
        tap: knobs.tap.clone(),
        tpm: knobs.tpm.then_some(tpm),
        serial_log: options.serial_log.as_ref().map(std::path::absolute).transpose()?,
        tool_log: Some(place.log("qemu")),
        as_make,
        ..Setup::new(arch, firmware, knobs.memory)
    })
}

/// Flash with variables, or one file for both: PFLASH says.
fn firmware(ctx: &Ctx, pflash: Option<bool>, folder: &Path) -> Firmware {
    let files = ctx.profile.firmware_files(ctx.knobs.image.arch);
    // Unless somebody says, what the tree has for the architecture: lf-edge/eve has no code for arm64, we have.
    let usual = || {
        if ctx.capabilities().machines_are_as_make_had_them() {
            ctx.knobs.image.arch == Arch::Amd64
        } else {
            files.iter().any(|file| file == "OVMF_CODE.fd")
        }
    };
    match pflash.unwrap_or_else(usual) {
        true => Firmware::Flash { code: folder.join("OVMF_CODE.fd"), vars: folder.join("OVMF_VARS.fd") },
        false => Firmware::Bios(folder.join("OVMF.fd")),
    }
}

/// Everything that the machine needs from this one, `more` besides QEMU. For the machine of lf-edge/eve no versions are asked for.
pub fn ensure_tools(ctx: &Ctx, setup: &Setup, more: &[Tool]) -> Result<()> {
    let mut tools = vec![qemu::tool(ctx.knobs.image.arch)];
    tools.extend(more);
    tools.extend(setup.tpm.is_some().then_some(Tool::Swtpm));
    if ctx.capabilities().tools_serve_in_any_version() {
        return ensure(ctx, &tools);
    }
    let needs: Vec<_> = tools.into_iter().map(child::ToolNeed::usual).collect();
    super::super::doctor::ensure(ctx, &needs)
}

/// Runs `before`, then the machine; a dry run prints both.
pub fn start(ctx: &Ctx, options: &Options, setup: Setup, before: Vec<Cmd>) -> Result<()> {
    if ctx.globals.dry_run {
        show(&before);
        show(&machine::show_commands(&ctx.tools, &setup));
        return Ok(());
    }
    let more = if before.is_empty() { vec![] } else { vec![Tool::QemuImg] };
    ensure_tools(ctx, &setup, &more)?;
    super::run_all(before)?;
    if !ctx.capabilities().machines_are_as_make_had_them() && ctx.knobs.image.arch == Arch::Arm64 && setup.tpm.is_some() {
        eprintln!(
            "the machine gets a TPM, but Debian's kernel for arm64 has no driver for one of QEMU's (tpm_tis): the guest will say tpm=no"
        );
    }
    boot(ctx, options, setup)
}

/// Runs the machine to its end.
pub fn boot(ctx: &Ctx, options: &Options, setup: Setup) -> Result<()> {
    let until = options.until.clone();
    let timeout = options.timeout.map(Duration::from_secs);
    let request = VmRequest {
        setup,
        until: until.clone(),
        timeout,
        on_terminal: std::io::stdin().is_terminal() && std::io::stdout().is_terminal(),
        echo: Some(Arc::new(echo)),
        say: &|line| eprintln!("{line}"),
    };
    let since = Instant::now();
    let outcome = run_vm(&ctx.tools, request)?;
    let seconds = since.elapsed().as_secs_f32();
    match (outcome, until) {
        (Outcome::Found, Some(text)) => eprintln!("\nthe machine printed `{text}` after {seconds:.1} s"),
        _ => eprintln!("\nthe machine ended after {seconds:.1} s"),
    }
    Ok(())
}

/// The serial port's bytes, as they are, to standard output. Somebody who has stopped reading does not stop the machine.
fn echo(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}
