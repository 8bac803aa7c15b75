//! A running virtual machine: its own folder with firmware variables and sockets, its TPM, QEMU, and its serial port.

use super::{
    Accel, AsMake, Disk, Firmware, Net, Netboot, Serial, VmSpec, accel, argv, as_make,
    console::{Console, Echo, Search},
    qmp::Qmp,
};
use anyhow::{Context as _, Result, anyhow, bail};
use child::{Cmd, Exit, Failure, Output, Running, Tools, interrupt, qemu, swtpm};
use common::{Arch, error::usage};
use serde_json::json;
use std::{
    fs,
    io::PipeWriter,
    net::TcpListener,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;

/// What a caller chooses of a machine; the rest follows.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The guest's architecture.
    pub arch: Arch,
    /// Never ask the hardware for help.
    pub no_accel: bool,
    /// QEMU's name of the processor, when the usual one will not do.
    pub cpu: Option<String>,
    /// Number of processors, when the usual one will not do.
    pub cpus: Option<u32>,
    /// Memory in MiB.
    pub memory: u64,
    /// Code and variables; the variables are copied for each start, since they know the disk's place.
    pub firmware: Firmware,
    /// The disks.
    pub disks: Vec<Disk>,
    /// A folder that the guest sees as one more disk.
    pub conf_part: Option<PathBuf>,
    /// The port of this machine that leads to the guest's ssh.
    pub ssh_port: Option<u16>,
    /// The tap device that the first network is instead.
    pub tap: Option<String>,
    /// What the guest may boot from the first network.
    pub netboot: Option<Netboot>,
    /// A TPM whose state lies in this folder.
    pub tpm: Option<PathBuf>,
    /// A file for what the serial port prints.
    pub serial_log: Option<PathBuf>,
    /// A file for what QEMU and swtpm say themselves.
    pub tool_log: Option<PathBuf>,
    /// The machine is that of lf-edge/eve's Makefile, word for word.
    pub as_make: Option<AsMake>,
}

impl Setup {
    /// A machine for `arch` with nothing but firmware; the rest as usual.
    #[must_use]
    pub fn new(arch: Arch, firmware: Firmware, memory: u64) -> Self {
        Self {
            arch,
            no_accel: false,
            cpu: None,
            cpus: None,
            memory,
            firmware,
            disks: vec![],
            conf_part: None,
            ssh_port: None,
            tap: None,
            netboot: None,
            tpm: None,
            serial_log: None,
            tool_log: None,
            as_make: None,
        }
    }
}

/// Texts that tell that no boot will come of this.
const HOPELESS: &[&str] = &["Kernel panic - not syncing", "UEFI Interactive Shell", "grub rescue>"];

/// The time in which a line that has begun is whole.
const LINE_END: Duration = Duration::from_millis(500);

/// A machine in the background. It is killed when this is dropped, or when the thread that started it ends.
pub struct Vm {
    qemu: Running,
    tpm: Tpm,
    console: Console,
    // Nobody types, but the serial port stays connected.
    _input: PipeWriter,
    qmp_socket: PathBuf,
    /// Why it runs without help of the hardware.
    pub slow_because: Option<String>,
    // Last, so that the folder goes when nobody uses it any more.
    _dir: TempDir,
}

impl Vm {
    /// Starts the machine; `echo` gets what its serial port prints.
    pub fn start(tools: &Tools, setup: &Setup, echo: Option<Echo>) -> Result<Self> {
        let prepared = prepare(tools, setup, Serial::Pipes)?;
        let (qemu, pipes) = prepared.qemu.spawn_console()?;
        let console = Console::read(pipes.output, setup.serial_log.as_deref(), echo)?;
        Ok(Self {
            qemu,
            tpm: prepared.tpm,
            console,
            _input: pipes.input,
            qmp_socket: prepared.qmp_socket,
            slow_because: prepared.slow_because,
            _dir: prepared.dir,
        })
    }

    /// Waits until the serial port prints `text`, after where an earlier wait found its own. An error, with the last lines,
    /// when it does not within `within`, when the machine ends, or when a panic shows that it never will.
    pub fn wait_for(&mut self, text: &str, within: Option<Duration>) -> Result<()> {
        let mut texts = vec![text];
        texts.extend(HOPELESS);
        match self.console.search(&texts, within) {
            Search::Found(0) => Ok(()),
            // The lines that say why come with it.
            Search::Found(index) => {
                self.console.search(&[], Some(LINE_END));
                Err(self.complain(&format!("the machine printed `{}` instead of `{text}`", texts[index])))
            }
            Search::TimedOut => {
                let seconds = within.unwrap_or_default().as_secs();
                Err(self.complain(&format!("the machine did not print `{text}` within {seconds} s")))
            }
            Search::Closed => match self.wait_end(None) {
                Ok(()) => Err(self.complain(&format!("the machine was switched off before it printed `{text}`"))),
                Err(error) => Err(error),
            },
        }
    }

    /// Waits a moment for the rest of the line in which a text was found: what is wanted to know may stand there.
    pub fn read_line_end(&mut self) {
        self.console.search(&["\n"], Some(LINE_END));
    }

    /// A conversation with QEMU.
    fn qmp(&self) -> Result<Qmp> {
        Qmp::connect(&self.qmp_socket)
    }

    /// Pulls the plug; QEMU still writes out what the guest has given to the disk.
    pub fn quit(mut self) -> Result<()> {
        // It may end before it answers, and a machine that has ended already is as good.
        let _ = self.qmp().and_then(|mut qmp| qmp.execute("quit", &json!({})));
        self.wait_end(Some(Duration::from_secs(30)))
    }

    /// Waits for the guest to switch itself off. An error when it does not within `within`, or when QEMU fails.
    pub fn wait_end(&mut self, within: Option<Duration>) -> Result<()> {
        if self.console.search(&[], within) == Search::TimedOut {
            let seconds = within.unwrap_or_default().as_secs();
            return Err(self.complain(&format!("the machine did not end within {seconds} s")));
        }
        self.qemu.wait_at_most(Duration::from_secs(30)).map_err(|error| self.explain(error))?;
        if let Tpm::Ours(tpm) = &mut self.tpm {
            // It ends with QEMU's connection, after its state is written; how does not matter any more.
            let _ = tpm.wait_at_most(Duration::from_secs(10));
        }
        // Asked to end, QEMU ends as if all were well.
        if interrupt::is_interrupted() { Err(anyhow!("interrupted")) } else { Ok(()) }
    }

    /// `what`, and the last lines of the serial port.
    fn complain(&self, what: &str) -> anyhow::Error {
        let mut text = what.to_owned();
        let tail = self.console.tail();
        if tail.is_empty() {
            text.push_str("; its serial port printed nothing");
        }
        for line in tail {
            text.push_str("\n| ");
            text.push_str(&line);
        }
        anyhow!(text)
    }

    /// A failure of QEMU with its reason: where its TPM has failed, that is the reason.
    fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        if let Tpm::Ours(tpm) = &mut self.tpm
            && matches!(tpm.try_wait(), Ok(Some(exit)) if exit != Exit::Status(0))
        {
            return swtpm::advise(tpm.failure());
        }
        match error.downcast::<Failure>() {
            Ok(failure) => qemu::advise(failure),
            Err(error) => error,
        }
    }
}

/// Runs the machine on the person's terminal until it ends.
pub fn run_on_terminal(tools: &Tools, setup: &Setup, say: &dyn Fn(&str)) -> Result<()> {
    let prepared = prepare(tools, setup, Serial::Terminal(setup.serial_log.clone()))?;
    if let Some(why) = &prepared.slow_because {
        say(&format!("running without acceleration: {why}"));
    }
    say("the serial console is on this terminal; Ctrl-A X ends the machine, Ctrl-A H lists what else there is");
    if setup.as_make.is_some() && accel::guess(setup.arch, setup.no_accel).0 != Accel::Tcg {
        say("should QEMU tell of an internal error of KVM, NOACCEL=1 does without it");
    }
    // Lives as long as QEMU runs.
    let _tpm = prepared.tpm;
    let _dir = prepared.dir;
    prepared.qemu.foreground().run()
}

/// The commands that a start would run, for a person to read.
#[must_use]
pub fn show_commands(tools: &Tools, setup: &Setup) -> Vec<Cmd> {
    let mut commands = Vec::new();
    let accel = if setup.as_make.is_some() {
        accel::guess(setup.arch, setup.no_accel).0
    } else {
        choose(tools, setup).map_or(Accel::Tcg, |choice| choice.0)
    };
    let socket = |state: &PathBuf| if setup.as_make.is_some() { swtpm::daemon_socket(state) } else { state.join("sock") };
    let spec = spec(setup, accel, setup.firmware.clone(), setup.tpm.as_ref().map(socket), Serial::Terminal(None), None);
    let Some(make) = &setup.as_make else {
        return vec![qemu::command_unchecked(tools, setup.arch).args(argv::render(&spec))];
    };
    let qemu = || qemu::command_unchecked(tools, setup.arch).dir(&make.root);
    let tpm = || setup.tpm.iter().map(|state| swtpm::daemon_command(tools, state));
    if let Some(dtb) = &make.dtb {
        commands.extend(tpm());
        commands.push(qemu().args(as_make::render_dump(&spec, make, &dtb.join(DTB))));
    }
    commands.extend(tpm());
    commands.push(qemu().args(as_make::render(&spec, make)));
    commands
}

const QMP_SOCKET: &str = "qmp.sock";
const TPM_SOCKET: &str = "tpm.sock";
const DTB: &str = "eve.dtb";

/// A TPM that lives as long as the machine.
enum Tpm {
    None,
    Ours(Box<Running>),
    Daemon {
        /// Dropping it ends the daemon, so it is held until the machine ends.
        _held: swtpm::Daemon,
    },
}

struct Prepared {
    qemu: Cmd,
    tpm: Tpm,
    slow_because: Option<String>,
    qmp_socket: PathBuf,
    dir: TempDir,
}

/// Who runs the guest, and why nothing faster does. The machine of the Makefile starts with what there should be, since its first
/// start is the test of that; ours asks a tiny guest before.
fn choose(tools: &Tools, setup: &Setup) -> Result<(Accel, Option<String>)> {
    match (&setup.as_make, setup.no_accel) {
        (Some(_), off) => Ok(accel::guess(setup.arch, off)),
        (None, true) => Ok((Accel::Tcg, None)),
        (None, false) => accel::choose(tools, setup.arch),
    }
}

/// Everything up to QEMU's start, with every refusal that can be made before it.
fn prepare(tools: &Tools, setup: &Setup, serial: Serial) -> Result<Prepared> {
    check_files(setup)?;
    if let Some(port) = setup.ssh_port.filter(|_| setup.tap.is_none()) {
        check_port(port)?;
    }
    let (accel, slow_because) = choose(tools, setup)?;
    let dir = tempfile::Builder::new().prefix("xtask-vm-").tempdir().context("cannot make a folder for the virtual machine")?;
    let output = setup.tool_log.as_ref().map_or_else(Output::default, |log| Output::default().with_log(log));
    if let Some(make) = &setup.as_make {
        return prepare_as_make(tools, setup, make, accel, slow_because, &output, dir);
    }
    let firmware = match &setup.firmware {
        Firmware::Flash { code, vars } => {
            // Variables that remember another bus or disk lead into the firmware's shell.
            let own = dir.path().join("vars.fd");
            fs::copy(vars, &own).with_context(|| format!("cannot copy the firmware's variables {}", vars.display()))?;
            make_writable(&own)?;
            Firmware::Flash { code: code.clone(), vars: own }
        }
        bios @ Firmware::Bios(_) => bios.clone(),
    };
    let tpm_socket = setup.tpm.as_ref().map(|_| dir.path().join(TPM_SOCKET));
    let tpm = match (&setup.tpm, &tpm_socket) {
        (Some(state), Some(socket)) => Tpm::Ours(Box::new(swtpm::start(tools, state, socket, &output)?)),
        _ => Tpm::None,
    };
    let qmp_socket = dir.path().join(QMP_SOCKET);
    let qmp = OwnedFd::from(swtpm::listen(&qmp_socket)?);
    let spec = spec(setup, accel, firmware, tpm_socket, serial, Some(qmp.as_raw_fd()));
    let qemu = qemu::command(tools, setup.arch)?.step(step(setup)).args(argv::render(&spec)).keep_fd(qmp).output(&output);
    Ok(Prepared { qemu, tpm, slow_because, qmp_socket, dir })
}

/// The same for the machine of lf-edge/eve's Makefile: its files are where the Makefile has them.
fn prepare_as_make(
    tools: &Tools,
    setup: &Setup,
    make: &AsMake,
    accel: Accel,
    slow_because: Option<String>,
    output: &Output,
    dir: TempDir,
) -> Result<Prepared> {
    let spec = spec(setup, accel, setup.firmware.clone(), setup.tpm.as_deref().map(swtpm::daemon_socket), Serial::Pipes, None);
    let start_tpm = || match &setup.tpm {
        Some(state) => swtpm::start_daemon(tools, state, output).map(|daemon| Tpm::Daemon { _held: daemon }),
        None => Ok(Tpm::None),
    };
    let qemu = |step: String| anyhow::Ok(qemu::command(tools, setup.arch)?.step(step).dir(&make.root).output(output));
    if let Some(folder) = &make.dtb {
        dump_device_tree(&spec, make, folder, &start_tpm, &qemu)?;
    }
    let tpm = start_tpm()?;
    let qmp_socket = make.qmp_socket();
    swtpm::check_length(&qmp_socket)?;
    let qemu = qemu(step(setup))?.args(as_make::render(&spec, make));
    Ok(Prepared { qemu, tpm, slow_because, qmp_socket, dir })
}

/// Has QEMU write the machine's device tree for the guest's GRUB, unless it did for the same machine before.
fn dump_device_tree(
    spec: &VmSpec,
    make: &AsMake,
    folder: &Path,
    start_tpm: &dyn Fn() -> Result<Tpm>,
    qemu: &dyn Fn(String) -> Result<Cmd>,
) -> Result<()> {
    let dtb = folder.join(DTB);
    let words = as_make::render_dump(spec, make, &dtb);
    // Not in the folder itself, which the guest sees.
    let note = folder.with_extension("made-by");
    let text = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join("\n");
    if dtb.is_file() && fs::read_to_string(&note).is_ok_and(|known| known == text) {
        return Ok(());
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let tpm = start_tpm()?;
    qemu("writing the machine's device tree".to_owned())?.args(words).run().map_err(|error| match error.downcast::<Failure>() {
        Ok(failure) => qemu::advise(failure),
        Err(error) => error,
    })?;
    drop(tpm);
    if !dtb.is_file() {
        bail!("QEMU ended well, but wrote no {}", dtb.display());
    }
    fs::write(&note, text).with_context(|| format!("cannot write {}", note.display()))
}

fn step(setup: &Setup) -> String {
    match setup.disks.first() {
        Some(disk) => format!("running {}", disk.path.display()),
        None => "running a machine without a disk".to_owned(),
    }
}

fn spec(setup: &Setup, accel: Accel, firmware: Firmware, tpm: Option<PathBuf>, serial: Serial, qmp: Option<i32>) -> VmSpec {
    let mut nets = Net::usual_pair(setup.ssh_port);
    nets[0].tap.clone_from(&setup.tap);
    nets[0].netboot.clone_from(&setup.netboot);
    VmSpec {
        arch: setup.arch,
        accel,
        cpu: setup.cpu.clone(),
        cpus: setup.cpus,
        memory: setup.memory,
        firmware,
        disks: setup.disks.clone(),
        conf_part: setup.conf_part.clone(),
        nets,
        tpm,
        serial,
        qmp,
    }
}

fn check_files(setup: &Setup) -> Result<()> {
    let firmware: Vec<&Path> = match &setup.firmware {
        Firmware::Flash { code, vars } => vec![code, vars],
        Firmware::Bios(path) => vec![path],
    };
    let kernel = setup.as_make.iter().filter_map(|make| make.kernel.as_deref());
    let files = firmware.into_iter().chain(kernel).chain(setup.disks.iter().map(|disk| disk.path.as_path()));
    let missing: Vec<String> = files.filter(|path| !path.exists()).map(|path| path.display().to_string()).collect();
    if !missing.is_empty() {
        bail!("there is nothing to run: {} is missing\nhint: cargo xtask live", missing.join(" and "));
    }
    Ok(())
}

/// QEMU's own words for it come late and name no knob.
fn check_port(port: u16) -> Result<()> {
    TcpListener::bind(("127.0.0.1", port)).map(drop).map_err(|error| {
        usage(format!(
            "port {port} of this machine, which is to lead to the guest's ssh, cannot be had: {error}\nhint: is another virtual machine running? \
             --ssh-port N, or SSH_PORT=N, takes another port"
        ))
    })
}

fn make_writable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).with_context(|| format!("cannot make {} writable", path.display()))
}
