//! Switches a machine on: its TPM, and QEMU with its sockets. An emulated machine is switched on anew whenever its guest restarts it. A QEMU
//! that restarts its machine itself was seen to hang in the firmware or the boot loader, which a new QEMU then started.

use super::{
    Accel, AsMake, Firmware, MachineLock, Serial, VmSpec, accel, argv, as_make,
    ending::Ending,
    setup::{self, Setup},
    tpm::Tpm,
};
use anyhow::{Context as _, Result, bail};
use child::{Cmd, Failure, Output, Tools, qemu, swtpm};
use common::owned_folder::OwnedFolder;
use std::{
    fs,
    os::fd::{AsRawFd as _, OwnedFd},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

const QMP_SOCKET: &str = "qmp.sock";
const EVENTS_SOCKET: &str = "events.sock";
const TPM_SOCKET: &str = "tpm.sock";
/// The device tree of the Makefile's machine.
pub(super) const DTB: &str = "eve.dtb";

/// A machine that can be switched on.
pub(super) struct Switch<'s> {
    tools: &'s Tools,
    locks: &'s [MachineLock],
    /// Without QEMU's file descriptors, which are new at each start.
    spec: VmSpec,
    output: Output,
    /// Where QEMU answers.
    pub(super) qmp_socket: PathBuf,
    /// Why it runs without acceleration.
    pub(super) slow_because: Option<String>,
    /// The firmware's variables and the sockets, until this is dropped.
    pub(super) folder: OwnedFolder,
}

/// A machine that is switched on as soon as `qemu` starts.
pub(super) struct On {
    pub(super) qemu: Cmd,
    pub(super) tpm: Tpm,
    events: Option<UnixStream>,
}

impl On {
    /// What tells whether the machine starts again after QEMU's end; none if QEMU restarts it itself. Has `kept` until QEMU's end.
    pub(super) fn ending<T: Send + 'static>(&mut self, kept: T) -> Option<Ending<T>> {
        self.events.take().map(|events| Ending::watch(events, kept))
    }
}

impl<'s> Switch<'s> {
    /// Looks at the setup, and prepares what all starts of the machine share.
    pub(super) fn new(tools: &'s Tools, setup: &Setup, locks: &'s [MachineLock], serial: Serial) -> Result<Self> {
        setup::check(setup)?;
        let (accel, slow_because) = choose(tools, setup)?;
        let folder = OwnedFolder::new(&std::env::temp_dir(), "xtask-vm-")?;
        let output = setup.tool_log.as_ref().map_or_else(Output::default, |log| Output::default().with_log(log));
        let socket = |state: &PathBuf| match setup.as_make {
            Some(_) => swtpm::daemon_socket(state),
            None => folder.path().join(TPM_SOCKET),
        };
        let tpm_socket = setup.tpm.as_ref().map(socket);
        let qmp_socket = setup.as_make.as_ref().map_or_else(|| folder.path().join(QMP_SOCKET), AsMake::qmp_socket);
        let spec = VmSpec { setup: setup.clone(), accel, tpm_socket, serial, qmp: None, events: None };
        let mut switch = Self { tools, locks, spec, output, qmp_socket, slow_because, folder };
        match &setup.as_make {
            Some(make) => switch.dump_device_tree(make)?,
            None => switch.spec.setup.firmware = switch.own_firmware()?,
        }
        Ok(switch)
    }

    /// The firmware with a copy of its variables: those that store another bus or disk make the firmware start its shell.
    fn own_firmware(&self) -> Result<Firmware> {
        let Firmware::Flash { code, vars } = &self.spec.setup.firmware else { return Ok(self.spec.setup.firmware.clone()) };
        let own = self.folder.path().join("vars.fd");
        fs::copy(vars, &own).with_context(|| format!("cannot copy the firmware's variables {}", vars.display()))?;
        make_writable(&own)?;
        Ok(Firmware::Flash { code: code.clone(), vars: own })
    }

    /// Starts the TPM, and makes QEMU's command.
    pub(super) fn on(&self) -> Result<On> {
        let mut on = match &self.spec.setup.as_make {
            Some(make) => self.on_as_make(make)?,
            None => self.on_as_ours()?,
        };
        for lock in self.locks {
            on.qemu = on.qemu.keep_fd(lock.fd()?);
        }
        Ok(on)
    }

    /// Our machine, whose sockets are in `folder`.
    fn on_as_ours(&self) -> Result<On> {
        let tpm = match (&self.spec.setup.tpm, &self.spec.tpm_socket) {
            (Some(state), Some(socket)) => Tpm::start(self.tools, state, socket, &self.output)?,
            _ => Tpm::None,
        };
        let qmp = OwnedFd::from(swtpm::listen(&self.qmp_socket)?);
        let events_socket = self.folder.path().join(EVENTS_SOCKET);
        let listener = self.is_switched_on_anew().then(|| swtpm::listen(&events_socket).map(OwnedFd::from)).transpose()?;
        let events = listener.as_ref().map(|_| UnixStream::connect(&events_socket).context("cannot connect to QEMU")).transpose()?;
        let spec = VmSpec { qmp: Some(qmp.as_raw_fd()), events: listener.as_ref().map(OwnedFd::as_raw_fd), ..self.spec.clone() };
        let qemu = self.qemu(step(&spec.setup))?.args(argv::render(&spec)).keep_fd(qmp);
        let qemu = listener.into_iter().fold(qemu, Cmd::keep_fd);
        Ok(On { qemu, tpm, events })
    }

    /// The Makefile's machine, whose sockets have fixed places.
    fn on_as_make(&self, make: &AsMake) -> Result<On> {
        let tpm = self.start_tpm_as_make()?;
        swtpm::check_length(&self.qmp_socket)?;
        let qemu = self.qemu(step(&self.spec.setup))?.dir(&make.root).args(as_make::render(&self.spec, make));
        Ok(On { qemu, tpm, events: None })
    }

    /// Whether a restart by the guest ends QEMU. Writes that QEMU would discard at its end stay until the guest's own end.
    fn is_switched_on_anew(&self) -> bool {
        self.spec.accel == Accel::Tcg && !self.spec.setup.disks.iter().any(|disk| disk.discard_writes)
    }

    fn start_tpm_as_make(&self) -> Result<Tpm> {
        self.spec.setup.tpm.as_ref().map_or(Ok(Tpm::None), |state| Tpm::start_as_make(self.tools, state, &self.output))
    }

    fn qemu(&self, step: String) -> Result<Cmd> {
        Ok(qemu::command(self.tools, self.spec.setup.arch)?.step(step).output(&self.output))
    }

    /// Runs QEMU to write the machine's device tree for the guest's GRUB if `make` wants it, unless it was already written for the same
    /// machine.
    fn dump_device_tree(&self, make: &AsMake) -> Result<()> {
        let Some(folder) = &make.dtb else { return Ok(()) };
        let dtb = folder.join(DTB);
        let words = as_make::render_dump(&self.spec, make, &dtb);
        // Beside the folder: the guest sees the folder itself.
        let note = folder.with_extension("made-by");
        let text = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join("\n");
        if dtb.is_file() && fs::read_to_string(&note).is_ok_and(|known| known == text) {
            return Ok(());
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let tpm = self.start_tpm_as_make()?;
        self.qemu("writing the machine's device tree".to_owned())?.dir(&make.root).args(words).run().map_err(advise)?;
        drop(tpm);
        if !dtb.is_file() {
            bail!("QEMU succeeded, but wrote no {}", dtb.display());
        }
        fs::write(&note, text).with_context(|| format!("cannot write {}", note.display()))
    }
}

/// The acceleration, and why nothing faster works. The Makefile's machine starts with the expected acceleration and falls back if that
/// fails (see `session`); ours runs a probe first.
pub(super) fn choose(tools: &Tools, setup: &Setup) -> Result<(Accel, Option<String>)> {
    match (&setup.as_make, setup.no_accel) {
        (Some(_), off) => Ok(accel::guess(setup.arch, off)),
        (None, true) => Ok((Accel::Tcg, None)),
        (None, false) => accel::choose(tools, setup.arch),
    }
}

/// Adds QEMU's advice to a failure of QEMU.
pub(super) fn advise(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Failure>() {
        Ok(failure) => qemu::advise(failure),
        Err(error) => error,
    }
}

fn step(setup: &Setup) -> String {
    match setup.disks.first() {
        Some(disk) => format!("running {}", disk.path.display()),
        None => "running a machine without a disk".to_owned(),
    }
}

fn make_writable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).with_context(|| format!("cannot make {} writable", path.display()))
}
