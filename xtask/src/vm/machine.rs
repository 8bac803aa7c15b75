//! A running virtual machine: its own folder with firmware variables and sockets, its TPM, QEMU, and its serial port.

use super::{
    Accel, Disk, Firmware, Net, Serial, VmSpec, accel, argv,
    console::{Console, Echo, Search},
    qmp::Qmp,
};
use crate::{
    error::usage,
    knobs::Arch,
    tools::{Cmd, Exit, Failure, Output, Running, Tools, interrupt, qemu, swtpm},
};
use anyhow::{Context as _, Result, anyhow, bail};
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
    /// The port of this machine that leads to the guest's ssh.
    pub ssh_port: Option<u16>,
    /// A TPM whose state lies in this folder.
    pub tpm: Option<PathBuf>,
    /// A file for what the serial port prints.
    pub serial_log: Option<PathBuf>,
    /// A file for what QEMU and swtpm say themselves.
    pub tool_log: Option<PathBuf>,
}

/// Texts that tell that no boot will come of this.
const HOPELESS: &[&str] = &["Kernel panic - not syncing", "UEFI Interactive Shell", "grub rescue>"];

/// The time in which a line that has begun is whole.
const LINE_END: Duration = Duration::from_millis(500);

/// A machine in the background. It is killed when this is dropped, or when the thread that started it ends.
pub struct Vm {
    qemu: Running,
    tpm: Option<Running>,
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
            qmp_socket: prepared.dir.path().join(QMP_SOCKET),
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
        if let Some(tpm) = &mut self.tpm {
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
        if let Some(tpm) = &mut self.tpm
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
    // Lives as long as QEMU runs.
    let _tpm = prepared.tpm;
    let _dir = prepared.dir;
    prepared.qemu.foreground().run()
}

/// The command that `run` would start, for a person to read.
pub fn show_command(tools: &Tools, setup: &Setup) -> Result<String> {
    let accel = if setup.no_accel { Accel::Tcg } else { accel::choose(tools, setup.arch)?.0 };
    let spec =
        spec(setup, accel, setup.firmware.clone(), setup.tpm.as_ref().map(|folder| folder.join("sock")), Serial::Terminal(None), None);
    Ok(qemu::command(tools, setup.arch)?.args(argv::render(&spec)).to_string())
}

const QMP_SOCKET: &str = "qmp.sock";
const TPM_SOCKET: &str = "tpm.sock";

struct Prepared {
    qemu: Cmd,
    tpm: Option<Running>,
    slow_because: Option<String>,
    dir: TempDir,
}

/// Everything up to QEMU's start, with every refusal that can be made before it.
fn prepare(tools: &Tools, setup: &Setup, serial: Serial) -> Result<Prepared> {
    check_files(setup)?;
    if let Some(port) = setup.ssh_port {
        check_port(port)?;
    }
    let (accel, slow_because) = if setup.no_accel { (Accel::Tcg, None) } else { accel::choose(tools, setup.arch)? };
    let dir = tempfile::Builder::new().prefix("xtask-vm-").tempdir().context("cannot make a folder for the virtual machine")?;
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
    let output = setup.tool_log.as_ref().map_or_else(Output::default, |log| Output::default().with_log(log));
    let tpm_socket = setup.tpm.as_ref().map(|_| dir.path().join(TPM_SOCKET));
    let tpm = match (&setup.tpm, &tpm_socket) {
        (Some(state), Some(socket)) => Some(swtpm::start(tools, state, socket, &output)?),
        _ => None,
    };
    let qmp = OwnedFd::from(swtpm::listen(&dir.path().join(QMP_SOCKET))?);
    let spec = spec(setup, accel, firmware, tpm_socket, serial, Some(qmp.as_raw_fd()));
    let step = match setup.disks.first() {
        Some(disk) => format!("running {}", disk.path.display()),
        None => "running a machine without a disk".to_owned(),
    };
    let qemu = qemu::command(tools, setup.arch)?.step(step).args(argv::render(&spec)).keep_fd(qmp).output(&output);
    Ok(Prepared { qemu, tpm, slow_because, dir })
}

fn spec(setup: &Setup, accel: Accel, firmware: Firmware, tpm: Option<PathBuf>, serial: Serial, qmp: Option<i32>) -> VmSpec {
    VmSpec {
        arch: setup.arch,
        accel,
        cpu: setup.cpu.clone(),
        cpus: setup.cpus,
        memory: setup.memory,
        firmware,
        disks: setup.disks.clone(),
        nets: Net::usual_pair(setup.ssh_port),
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
    let files = firmware.into_iter().chain(setup.disks.iter().map(|disk| disk.path.as_path()));
    let missing: Vec<String> = files.filter(|path| !path.is_file()).map(|path| path.display().to_string()).collect();
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
