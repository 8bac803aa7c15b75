//! Shared by all verbs that run QEMU: command line options, the places of files, the setup from knobs and options, and running it.

use super::{disk_format::format_of, ensure, secure_boot, show};
use anyhow::{Result, anyhow};
use checkout::context::Ctx;
use child::{Cmd, Tool, qemu, swtpm};
use clap::{
    builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser},
    value_parser,
};
use common::{Arch, error::usage};
use knobs::{ImageFormat, RunKnobs, Subnet};
use plan::{Goal, Layout};
use std::{
    io::{IsTerminal as _, Write as _},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use vm::{
    AsMake, Disk, DiskBus, Firmware, MachineLock, Machines, NotReady, Outcome, Record, Sector, Setup, UserNetwork, VmRequest,
    as_make::Disks, as_make::OwnArguments, machine, run_vm,
};

/// The longest timeout in seconds, which does not overflow clocks.
const WEEKS: u64 = 100 * 7 * 24 * 3600;

/// The options of every machine in QEMU.
#[derive(clap::Args, Clone)]
pub struct Options {
    #[command(flatten)]
    pub knobs: RunKnobs,
    /// how disks are connected [default: ahci on amd64, else virtio]
    #[arg(long, value_name = "BUS", value_parser = parse_bus())]
    disk_bus: Option<DiskBus>,
    /// write the output of the serial console to FILE
    #[arg(long, value_name = "FILE")]
    pub serial_log: Option<PathBuf>,
    /// when the serial console prints TEXT, switch the machine off and succeed
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub until: Option<String>,
    /// fail after this many seconds
    #[arg(long, value_name = "SECS", value_parser = value_parser!(u64).range(1..=WEEKS))]
    pub timeout: Option<u64>,
    /// processor model, by QEMU's name
    #[arg(long, value_name = "MODEL")]
    cpu: Option<String>,
    /// number of processors [default: 4, or 1 without acceleration]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=255))]
    cpus: Option<u32>,
    /// Start only what the keys of SIGN_KEYS have signed. Only `run` has the option: an installer's machine has
    /// the tree's own firmware.
    #[arg(skip)]
    pub secure_boot: bool,
    /// show the machine's screen in a window, on trees whose Makefile can
    #[arg(long)]
    gui: bool,
}

/// The disk that an installer writes.
#[derive(clap::Args, Clone)]
pub struct TargetOptions {
    #[command(flatten)]
    pub options: Options,
    /// a disk of its own instead of target.img, with a TPM of its own, so that several installations can run at the same time
    #[arg(long, value_name = "FILE")]
    target: Option<PathBuf>,
    /// how target.img is connected [default: as --disk-bus]
    #[arg(long, value_name = "BUS", value_parser = parse_bus())]
    target_bus: Option<DiskBus>,
    /// size of the sectors of target.img in bytes
    #[arg(long, value_name = "BYTES", default_value = "512", value_parser = parse_sector())]
    target_sector: Sector,
    /// one more disk, which may be written, such as one for eve_persist_disk; repeat it for others [BUS: default as target.img]
    #[arg(long = "more-disk", value_name = "[BUS:]FILE", value_parser = parse_more_disk)]
    more_disks: Vec<MoreDisk>,
}

/// One more disk of the machine.
#[derive(Clone)]
pub struct MoreDisk {
    bus: Option<DiskBus>,
    path: PathBuf,
}

/// Parses `[BUS:]FILE`.
fn parse_more_disk(text: &str) -> Result<MoreDisk, std::io::Error> {
    let found = text.split_once(':').and_then(|(bus, file)| Some((bus.parse::<DiskBus>().ok()?, file)));
    let (bus, file) = found.map_or((None, text), |(bus, file)| (Some(bus), file));
    Ok(MoreDisk { bus, path: std::path::absolute(file)? })
}

impl TargetOptions {
    /// The places of files, with the target of these options.
    pub fn place(&self, ctx: &Ctx) -> Result<Place> {
        let target = self.target.as_ref().map(std::path::absolute).transpose()?;
        if target.is_some() && ctx.capabilities().machines_are_as_make_had_them() {
            return Err(usage("--target: the machine of this tree is that of its Makefile, whose disk is target.img"));
        }
        Ok(Place { target, ..Place::find(ctx)? })
    }

    /// The disks besides target.img. Their bytes tell their formats.
    pub fn more_disks(&self, ctx: &Ctx) -> Result<Vec<Disk>> {
        if !self.more_disks.is_empty() && ctx.capabilities().machines_are_as_make_had_them() {
            return Err(usage("--more-disk: the machine of this tree is that of its Makefile, which has no more disks"));
        }
        let usual = self.target_bus.unwrap_or_else(|| bus(ctx, &self.options));
        self.more_disks
            .iter()
            .map(|disk| Ok(Disk::image(&disk.path, format_of(&disk.path, "--more-disk")?, disk.bus.unwrap_or(usual))))
            .collect()
    }

    /// target.img.
    pub fn target(&self, ctx: &Ctx, place: &Place, format: &str) -> Disk {
        let bus = self.target_bus.unwrap_or_else(|| bus(ctx, &self.options));
        Disk { sector: self.target_sector, ..Disk::image(place.target(), format, bus) }
    }
}

/// Parses the size of a sector.
fn parse_sector() -> impl TypedValueParser<Value = Sector> {
    PossibleValuesParser::new(Sector::WORDS).try_map(|word| word.parse::<Sector>())
}

/// Parses a bus; the help lists them.
fn parse_bus() -> impl TypedValueParser<Value = DiskBus> {
    PossibleValuesParser::new(DiskBus::WORDS).try_map(|word| word.parse::<DiskBus>())
}

/// The folders of a machine's files. On a tree of lf-edge/eve, as with its Makefile, live images and firmware come from the last build,
/// installers and their targets from this version. On this tree all come from one version.
pub struct Place {
    /// `dist/<arch>/current`, or if that is missing the folder of this version.
    pub current: Layout,
    /// The folder of this version.
    pub build: Layout,
    /// The folder of installers and of the disk that they write.
    pub media: Layout,
    /// The name of the machine, which its disk and its TPM have too.
    pub machine: String,
    /// The disk on which installers install, if it is not `target.img`.
    pub target: Option<PathBuf>,
}

/// The name of a machine that got none.
pub const USUAL: &str = "live";

/// The option by which other commands find the machine; nothing for the usual name.
pub fn name_option(name: &str) -> String {
    if name == USUAL { String::new() } else { format!(" --name {name}") }
}

impl Place {
    /// Finds the folders; fails if nothing was built.
    pub fn find(ctx: &Ctx) -> Result<Self> {
        let arch = ctx.knobs.image.arch;
        let dist = ctx.dist();
        if ctx.capabilities().machines_are_as_make_had_them() {
            let build = ctx.layout(&ctx.tree()?);
            let current = dist.current(arch);
            let current = if current.path().is_dir() { current } else { build.clone() };
            return Ok(Self {
                media: if ctx.profile.machine.installers_of_last_build { current.clone() } else { build.clone() },
                current,
                build,
                machine: USUAL.into(),
                target: None,
            });
        }
        let version = ctx.knobs.image.rootfs_version.as_deref();
        let link = version.map_or_else(|| dist.current_link(arch), |version| dist.version(arch, version).path().to_owned());
        let found = link.canonicalize().map(Layout::at).map_err(|_| {
            usage(format!("nothing has been built for {arch}: `{}` is missing\nhint: cargo xtask live --zarch {arch}", link.display()))
        })?;
        Ok(Self { current: found.clone(), media: found.clone(), build: found, machine: USUAL.into(), target: None })
    }

    /// The state of the machine's TPM.
    pub fn swtpm(&self) -> PathBuf {
        if let Some(target) = &self.target {
            return beside(target, ".swtpm");
        }
        if self.machine == USUAL { self.build.swtpm() } else { self.build.run().join(format!("{}-swtpm", self.machine)) }
    }

    /// The log file of a tool's output.
    pub fn log(&self, tool: &str) -> PathBuf {
        self.current.log(&format!("run-{tool}"))
    }

    /// The disk on which installers install.
    pub fn target(&self) -> PathBuf {
        self.target.clone().unwrap_or_else(|| self.media.target())
    }

    /// The folder of the firmware, which is built first if the last build has none.
    fn firmware(&self, ctx: &Ctx) -> Result<PathBuf> {
        let files = ctx.profile.firmware_files(ctx.knobs.image.arch);
        let is_complete = |folder: &Path| files.iter().all(|file| folder.join(file).is_file());
        let current = self.current.firmware();
        if ctx.globals.dry_run || is_complete(&current) {
            return Ok(current);
        }
        super::super::build::build(ctx, &Goal::Firmware)?;
        // It may be that of another version than `current`.
        Ok(if is_complete(&current) { current } else { ctx.layout(&ctx.tree()?).firmware() })
    }
}

/// The image format of the knobs; fails if QEMU cannot boot it.
pub fn qemu_format(ctx: &Ctx) -> Result<ImageFormat> {
    let format = ctx.knobs.image.image_format;
    if !format.row().boots_in_qemu {
        return Err(usage(format!("QEMU cannot boot a {format} image\nhint: --image-format qcow2, raw or vdi")));
    }
    Ok(format)
}

/// How disks are connected.
pub fn bus(ctx: &Ctx, options: &Options) -> DiskBus {
    options.disk_bus.unwrap_or_else(|| DiskBus::usual(ctx.knobs.image.arch))
}

/// The machine with `disks` that knobs and options describe. `words` is the Makefile's way to write the disks.
pub fn setup(ctx: &Ctx, options: &Options, place: &Place, disks: Vec<Disk>, words: Disks) -> Result<Setup> {
    let (knobs, arch) = (&options.knobs, ctx.knobs.image.arch);
    let as_make = ctx.capabilities().machines_are_as_make_had_them().then(|| AsMake {
        root: ctx.root.clone(),
        dtb: (arch == Arch::Arm64).then(|| ctx.dist().device_tree()),
        kernel: (arch == Arch::Riscv64).then(|| place.current.part("boot/u-boot.bin")),
        disks: words,
        own: own_arguments(ctx, options),
    });
    if options.gui && as_make.as_ref().is_none_or(|make| make.own.first.is_empty()) {
        let name = &ctx.profile.tree.name;
        return Err(usage(format!("--gui: {name} has no machine with a screen: its profile has no [machine.gui] for {arch}")));
    }
    let conf_part = knobs.conf_part.as_ref().map(|folder| ctx.root.join(folder));
    if let Some(folder) = conf_part.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(usage(format!("CONF_PART={}: the folder does not exist", folder.display())));
    }
    let tpm = if as_make.is_some() { place.current.swtpm() } else { place.swtpm() };
    let firmware = match options.secure_boot {
        true if knobs.pflash == Some(false) => {
            return Err(usage("--secure-boot with PFLASH=n: the keys are in variables, and only flash memory has them"));
        }
        true => secure_boot::firmware(ctx, &place.build.run(), &place.machine)?,
        false => firmware(ctx, knobs.pflash, &place.firmware(ctx)?)?,
    };
    // Xen on arm64 starts at EL2, which KVM does not give its guests, and reads a device tree.
    let xen_on_arm = as_make.is_none() && arch == Arch::Arm64 && is_for_xen(place);
    Ok(Setup {
        no_accel: knobs.no_accel || xen_on_arm,
        cpu: options.cpu.clone(),
        cpus: options.cpus,
        disks,
        device_tree: xen_on_arm,
        protects_variables: options.secure_boot,
        conf_part,
        ssh_port: Some(knobs.port.ssh_port),
        networks: networks(knobs)?,
        tap: knobs.tap.clone(),
        tpm: knobs.tpm.then_some(tpm),
        serial_number: knobs.serial.serial_number.clone(),
        serial_log: options.serial_log.as_ref().map(std::path::absolute).transpose()?,
        tool_log: Some(place.log("qemu")),
        as_make,
        ..Setup::new(arch, firmware, knobs.memory)
    })
}

/// The networks of the knobs; fails if an address is in none.
fn networks(knobs: &RunKnobs) -> Result<[UserNetwork; 2]> {
    let of = |number: u8, network: Subnet, first: Option<Ipv4Addr>| {
        let first = first.unwrap_or_else(|| network.tenth());
        if network.contains(first) {
            return Ok(UserNetwork { network: network.to_string(), first_address: first.to_string() });
        }
        let tenth = network.tenth();
        Err(usage(format!(
            "IPS_NET{number}_FIRST_IP={first} is not in the network IPS_NET{number}={network}\nhint: IPS_NET{number}_FIRST_IP={tenth}"
        )))
    };
    Ok([of(1, knobs.nets.net1, knobs.first_address1)?, of(2, knobs.nets.net2, knobs.first_address2)?])
}

/// The arguments that only this tree's Makefile has.
fn own_arguments(ctx: &Ctx, options: &Options) -> OwnArguments {
    let table = &ctx.profile.machine;
    let pid_file = options.knobs.pid_file.as_ref().map_or_else(|| ctx.root.join("qemu.pid"), |path| ctx.root.join(path));
    let fill = |words: &[String]| words.iter().map(|word| word.replace("{pid_file}", &pid_file.display().to_string())).collect();
    let gui = || table.gui.get(ctx.knobs.image.arch.as_str()).map_or(&[][..], Vec::as_slice);
    OwnArguments {
        processors: table.processors,
        first: fill(if options.gui { gui() } else { &table.first }),
        after_processors: fill(&table.after_processors),
        after_firmware: fill(&table.after_firmware),
        after_qmp: fill(&table.after_qmp),
        emulated: fill(&table.emulated),
    }
}

/// Whether the last build's root file system is for Xen, by the version in it.
fn is_for_xen(place: &Place) -> bool {
    std::fs::read_to_string(place.build.part("eve_version")).is_ok_and(|version| version.contains("-xen-"))
}

/// U-Boot if the tree has that, else the firmware by PFLASH: flash with separate variables, or one file with both.
fn firmware(ctx: &Ctx, pflash: Option<bool>, folder: &Path) -> Result<Firmware> {
    let files = ctx.profile.firmware_files(ctx.knobs.image.arch);
    if files.iter().any(|file| file == U_BOOT) {
        return match pflash {
            Some(true) => Err(usage(format!("PFLASH=y: a {} machine starts U-Boot, which is in no flash", ctx.knobs.image.arch))),
            _ => Ok(Firmware::UBoot { opensbi: folder.join("opensbi.bin"), u_boot: folder.join(U_BOOT) }),
        };
    }
    // The default depends on what the tree has for the architecture: lf-edge/eve has no OVMF_CODE.fd for arm64, this tree has.
    let usual = || {
        if ctx.capabilities().machines_are_as_make_had_them() {
            ctx.knobs.image.arch == Arch::Amd64
        } else {
            files.iter().any(|file| file == "OVMF_CODE.fd")
        }
    };
    Ok(match pflash.unwrap_or_else(usual) {
        true => Firmware::Flash { code: folder.join("OVMF_CODE.fd"), vars: folder.join("OVMF_VARS.fd") },
        false => Firmware::Bios(folder.join("OVMF.fd")),
    })
}

/// The file that makes a firmware one of U-Boot.
const U_BOOT: &str = "u-boot.bin";

/// Fails if a tool that the machine needs is missing; `more` are tools besides QEMU and swtpm. For a tree of lf-edge/eve any version
/// will do.
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

/// Looks whether the machine could start, then locks what it writes: the state of its TPM (also to delete that, if `fresh`), and `file`,
/// which the caller will change or make. A running machine's files may not be touched before.
pub fn claim(setup: &Setup, place: &Place, file: Option<&Path>, fresh: bool) -> Result<Vec<MachineLock>> {
    let is_there = |disk: &&Disk| Some(disk.path.as_path()) != file;
    vm::setup::check(&Setup { disks: setup.disks.iter().filter(is_there).cloned().collect(), ..setup.clone() })?;
    let ours = place.swtpm();
    let tpm = setup.tpm.as_deref().or(fresh.then_some(ours.as_path()));
    file.into_iter().chain(tpm).map(|path| MachineLock::take(&lock_file(path), path)).collect()
}

/// The lock file of a disk, a folder or a TPM, beside it.
fn lock_file(path: &Path) -> PathBuf {
    beside(path, ".lock")
}

/// The path with `end` after its name.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Runs a machine that needs no preparation; with `--dry-run` prints it.
pub fn start(ctx: &Ctx, options: &Options, place: &Place, setup: Setup) -> Result<()> {
    if ctx.globals.dry_run {
        return dry_run(ctx, &setup, &[]);
    }
    ensure_tools(ctx, &setup, &[])?;
    let locks = claim(&setup, place, None, false)?;
    boot(ctx, options, setup, locks)
}

/// Prints the commands `before`, and those of the machine.
pub fn dry_run(ctx: &Ctx, setup: &Setup, before: &[Cmd]) -> Result<()> {
    show(before);
    show(&machine::show_commands(&ctx.tools, setup));
    Ok(())
}

/// Runs the machine until it ends.
pub fn boot(ctx: &Ctx, options: &Options, setup: Setup, locks: Vec<MachineLock>) -> Result<()> {
    boot_as(ctx, options, setup, locks, Role::default())
}

/// How other commands see a machine.
#[derive(Default)]
pub struct Role {
    /// Its entry in the list of machines that run.
    pub listed: Option<(Machines, Record)>,
    /// Whether this process keeps it in the background: `console` has the serial port, and who started it waits for `--until`.
    pub is_kept: bool,
}

/// Runs the machine until it ends.
pub fn boot_as(ctx: &Ctx, options: &Options, setup: Setup, locks: Vec<MachineLock>, role: Role) -> Result<()> {
    let arch = ctx.knobs.image.arch;
    if !ctx.capabilities().machines_are_as_make_had_them() && arch != Arch::Amd64 && setup.tpm.is_some() {
        eprintln!("note: the guest will report tpm=no: Debian's kernel for {arch} has no driver (tpm_tis) for QEMU's TPM");
    }
    prepare_tpm(ctx, &setup, options.knobs.sha256_bank)?;
    let until = options.until.clone().filter(|_| !role.is_kept);
    let timeout = options.timeout.filter(|_| !role.is_kept || options.until.is_none()).map(Duration::from_secs);
    let request = VmRequest {
        setup,
        locks,
        until: until.clone(),
        timeout,
        on_terminal: std::io::stdin().is_terminal() && std::io::stdout().is_terminal(),
        echo: Some(Arc::new(echo)),
        listed: role.listed,
        shared: role.is_kept,
        say: &|line| eprintln!("{line}"),
    };
    let since = Instant::now();
    let again = request.listed.as_ref().map(|(_, record)| name_option(&record.name));
    // The console may have left its last line open.
    let outcome = run_vm(&ctx.tools, request).inspect_err(|_| eprintln!("")).map_err(|error| advise(ctx, error, again))?;
    let seconds = since.elapsed().as_secs_f32();
    match (outcome, until) {
        (Outcome::Found, Some(text)) => eprintln!("\nthe machine printed `{text}` after {seconds:.1} s"),
        _ => eprintln!("\nthe machine ended after {seconds:.1} s"),
    }
    Ok(())
}

/// Adds to the error of a guest that has given up how to look into it: the machine of this process is off. `name` is the option for its
/// name, if it can run in the background.
fn advise(ctx: &Ctx, error: anyhow::Error, name: Option<String>) -> anyhow::Error {
    let (place, Some(name)) = (&ctx.globals.place, name) else { return error };
    if !error.is::<NotReady>() {
        return error;
    }
    anyhow!("{error}\nhint: cargo xtask{place} run{name} --background starts it again and keeps it; then cargo xtask{place} console{name}")
}

/// Gives the machine's TPM the banks of PCRs that SHA256_BANK asks for. The caller has locked the TPM's state.
fn prepare_tpm(ctx: &Ctx, setup: &Setup, has_sha256: bool) -> Result<()> {
    let Some(state) = &setup.tpm else { return Ok(()) };
    let banks = if has_sha256 { swtpm::Banks::All } else { swtpm::Banks::Sha1 };
    if swtpm::set_banks(&ctx.tools, state, banks)? {
        eprintln!("warning: SHA256_BANK has changed: the machine has a new TPM, without the state of the old one");
    }
    Ok(())
}

/// Writes the serial port's bytes unchanged to standard output. Ignores errors: a closed pipe must not stop the machine.
fn echo(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}
