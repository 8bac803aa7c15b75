//! Runs one machine from start to end, for the `run` verbs and the boot tests.

use super::{
    Accel, Echo, MachineLock, Machines, Record, accel,
    machine::{self, Vm},
    setup::Setup,
    share::Clients,
};
use anyhow::Result;
use child::{Failure, Tools, interrupt};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

/// How to run a machine.
pub struct VmRequest<'r> {
    /// The machine.
    pub setup: Setup,
    /// What no other machine may use while this one runs.
    pub locks: Vec<MachineLock>,
    /// The text on the serial port after which to switch the machine off and succeed. If none, the machine runs until it ends.
    pub until: Option<String>,
    /// The longest run.
    pub timeout: Option<Duration>,
    /// Whether the serial port may be the user's terminal. It is only without `until` and `timeout`.
    pub on_terminal: bool,
    /// Gets the output of the serial port if that is not the terminal.
    pub echo: Option<Echo>,
    /// Lists the machine while it runs. The caller has claimed its name.
    pub listed: Option<(Machines, Record)>,
    /// Shares the serial port with other commands, instead of `echo`.
    pub shared: bool,
    /// Shows a line to the user.
    pub say: &'r dyn Fn(&str),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The serial port printed the text.
    Found,
    /// The guest or the user switched the machine off.
    Ended,
}

/// A failure sooner than this may be one of the acceleration.
const AT_ONCE: Duration = Duration::from_secs(15);

/// Runs a machine as `request` says. The Makefile's machine starts without a probe of the acceleration; if it fails at once and the probe
/// fails too, runs it again without acceleration.
pub fn run_vm(tools: &Tools, mut request: VmRequest<'_>) -> Result<Outcome> {
    // A signal must leave time to remove the machine's folder.
    let _hold = interrupt::Hold::new();
    let since = Instant::now();
    let error = match attempt(tools, &request) {
        Err(error) if request.setup.as_make.is_some() && since.elapsed() < AT_ONCE && !interrupt::is_interrupted() => error,
        outcome => return outcome,
    };
    let is_accelerated = accel::guess(request.setup.arch, request.setup.no_accel).0 != Accel::Tcg;
    if !is_accelerated || error.chain().all(|cause| cause.downcast_ref::<Failure>().is_none()) {
        return Err(error);
    }
    match accel::choose(tools, request.setup.arch) {
        Ok((Accel::Tcg, Some(why))) => {
            (request.say)(&format!("starting again without acceleration: {why}"));
            request.setup.no_accel = true;
            attempt(tools, &request)
        }
        _ => Err(error),
    }
}

fn attempt(tools: &Tools, request: &VmRequest<'_>) -> Result<Outcome> {
    // The Makefile's arguments have no log file for the serial port, so we must read the port and write the log.
    let keeps_log = request.setup.as_make.is_some() && request.setup.serial_log.is_some();
    if request.on_terminal && request.until.is_none() && request.timeout.is_none() && !keeps_log {
        let _listed = Listed::new(request, None)?;
        machine::run_on_terminal(tools, &request.setup, &request.locks, request.say)?;
        return Ok(Outcome::Ended);
    }
    let clients = request.shared.then(Clients::default);
    let echo = clients.as_ref().map_or_else(|| request.echo.clone(), |clients| Some(clients.echo()));
    let mut vm = Vm::start(tools, &request.setup, &request.locks, echo, request.say)?;
    let console = clients.map(|clients| vm.share(&clients)).transpose()?;
    let _listed = Listed::new(request, console)?;
    if let Some(why) = vm.slow_because() {
        (request.say)(&format!("running without acceleration: {why}"));
    }
    match &request.until {
        Some(text) => {
            vm.wait_for(text, request.timeout)?;
            vm.read_line_end();
            vm.quit()?;
            Ok(Outcome::Found)
        }
        None => {
            vm.wait_end(request.timeout)?;
            Ok(Outcome::Ended)
        }
    }
}

/// Lists a machine until this is dropped.
struct Listed<'r>(Option<&'r (Machines, Record)>);

impl<'r> Listed<'r> {
    fn new(request: &'r VmRequest<'_>, console: Option<PathBuf>) -> Result<Self> {
        if let Some((machines, record)) = &request.listed {
            machines.save(&Record { console, ..record.clone() })?;
        }
        Ok(Self(request.listed.as_ref()))
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        if let Some((machines, record)) = self.0 {
            machines.forget(&record.name);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{AsMake, Disk, DiskBus, Firmware, as_make::Disks, as_make::OwnArguments};
    use child::{Tool, fake, qemu};
    use common::{Arch, error::render};
    use std::{
        ffi::OsStr,
        fs,
        net::TcpListener,
        os::unix::ffi::OsStrExt as _,
        path::Path,
        sync::{Arc, Mutex},
    };

    fn setup(dir: &Path) -> Setup {
        for name in ["code.fd", "vars.fd", "disk.raw"] {
            fs::write(dir.join(name), [0; 512]).unwrap();
        }
        Setup {
            no_accel: true,
            disks: vec![Disk::image(dir.join("disk.raw"), "raw", DiskBus::Virtio)],
            ..Setup::new(Arch::Amd64, Firmware::Flash { code: dir.join("code.fd"), vars: dir.join("vars.fd") }, 64)
        }
    }

    fn request(setup: Setup, until: &str, seconds: u64) -> VmRequest<'static> {
        let timeout = Some(Duration::from_secs(seconds));
        VmRequest {
            setup,
            locks: vec![],
            until: Some(until.to_owned()),
            timeout,
            on_terminal: false,
            echo: None,
            listed: None,
            shared: false,
            say: &|_| {},
        }
    }

    /// The error of `run_vm` if QEMU is `script`.
    fn refusal(script: &str, change: impl FnOnce(&mut Setup)) -> String {
        let dir = tempfile::tempdir().unwrap();
        fake::tool(dir.path(), Tool::QemuAmd64, script);
        let mut setup = setup(dir.path());
        change(&mut setup);
        render(&run_vm(&fake::tools(dir.path()), request(setup, "READY", 5)).unwrap_err()).replace(&dir.path().display().to_string(), "DIR")
    }

    #[test]
    fn every_failure_shows_the_last_lines() {
        let late = refusal("echo one; printf 'two\\r\\n'; sleep 60", |_| {});
        assert_eq!(late, "error: the machine did not print `READY` within 5 s\n  | one\n  | two\n");
        let panic = refusal("echo '[ 1.0] Kernel panic - not syncing: no init'; sleep 60", |_| {});
        assert!(
            panic.starts_with("error: the machine printed `Kernel panic - not syncing` instead of `READY`\n  | [ 1.0] Kernel"),
            "{panic}"
        );
        let off = refusal("echo bye", |_| {});
        assert_eq!(off, "error: the machine was switched off before it printed `READY`\n  | bye\n");
        let port = refusal("echo \"qemu: -netdev: Could not set up host forwarding rule 'tcp::2222-:22'\" >&2; exit 1", |_| {});
        assert!(port.starts_with("error: another program uses the port for ssh on this machine\n  cause: `qemu-system-x86_64` failed while running DIR/disk.raw: exit status 1\n"), "{port}");
        assert!(port.ends_with("hint: --ssh-port N, or SSH_PORT=N\n"), "{port}");
        let gone = refusal("exit 0", |setup| setup.disks[0].path = "/nowhere/live.qcow2".into());
        assert_eq!(gone, "error: cannot run the machine: /nowhere/live.qcow2 is missing\nhint: cargo xtask live\n");
        let tpm = refusal("exit 0", |setup| setup.tpm = Some("/nowhere".into()));
        assert!(tpm.contains("swtpm") || tpm.contains("TPM"), "{tpm}");
    }

    #[test]
    fn a_guest_that_gives_up_ends_the_wait_with_its_own_words() {
        let since = Instant::now();
        let script =
            "echo one; printf 'eve login: EVE-FAILED network: no lease\\r\\nEVE-FAILED service a: not running\\r\\n'; exec sleep 60";
        let dir = tempfile::tempdir().unwrap();
        fake::tool(dir.path(), Tool::QemuAmd64, script);
        let run = |script: &str, until: &str, seconds| {
            fake::tool(dir.path(), Tool::QemuAmd64, script);
            run_vm(&fake::tools(dir.path()), request(setup(dir.path()), until, seconds))
        };
        let error = run(script, "EVE-READY", 50).unwrap_err();
        assert!(error.is::<crate::NotReady>());
        let wanted =
            "error: the machine is not ready: network: no lease; service a: not running\n  | one\n  | eve login: EVE-FAILED network";
        assert!(render(&error).starts_with(wanted), "{error}");
        assert!(since.elapsed() < Duration::from_secs(40), "it waited on");
        // A text that may still come, and a machine that starts again by itself.
        let error = run(script, "login of a person", 4).unwrap_err().to_string();
        assert!(error.starts_with("the machine did not print `login of a person` within 4 s"), "{error}");
        let again = "echo 'EVE-FAILED network: no lease'; echo 'EVE-FAILED slot: late; this was a trial'; sleep 4; echo EVE-READY";
        assert_eq!(run(again, "EVE-READY", 50).unwrap(), Outcome::Found);
        // After an onboot container the boot goes on, and only its end tells; a limit does not wait for that.
        let onboot = "echo 'EVE-FAILED onboot 000-x: exit status 1'; sleep 6; ";
        let trial = format!("{onboot}echo 'EVE-FAILED slot: late; this was a trial'; sleep 1; echo EVE-READY");
        assert_eq!(run(&trial, "EVE-READY", 50).unwrap(), Outcome::Found);
        let error = render(&run(&format!("{onboot}exec sleep 60"), "EVE-READY", 8).unwrap_err());
        assert!(error.starts_with("error: the machine is not ready: onboot 000-x: exit status 1\n"), "{error}");
    }

    #[test]
    fn a_tpm_that_dies_is_an_error_and_not_silence() {
        let dir = tempfile::tempdir().unwrap();
        fake::tool(dir.path(), Tool::QemuAmd64, "echo one; sleep 60");
        fake::tool(dir.path(), Tool::Swtpm, "case $1 in --version) echo TPM emulator version 0.7.1;; *) echo 'no key' >&2; exit 5;; esac");
        let mut setup = setup(dir.path());
        setup.tpm = Some(dir.path().join("tpm"));
        let text = render(&run_vm(&fake::tools(dir.path()), request(setup, "READY", 60)).unwrap_err());
        let wanted = "error: `swtpm` failed while giving the virtual machine a TPM: exit status 5\n";
        assert!(text.starts_with(wanted) && text.contains("no key"), "{text}");
    }

    #[test]
    fn a_serial_log_that_nobody_reads_is_refused_at_once() {
        let fifo = |setup: &mut Setup| {
            let log = setup.disks[0].path.with_file_name("fifo");
            rustix::fs::mknodat(rustix::fs::CWD, &log, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
            setup.serial_log = Some(log);
        };
        let text = refusal("echo READY", fifo);
        assert!(text.starts_with("error: nobody reads the FIFO DIR/fifo, the serial log\nhint: "), "{text}");
    }

    #[test]
    fn a_port_in_use_is_refused_before_anything_starts() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let text = refusal("echo started; exit 1", |setup| setup.ssh_port = Some(port));
        assert!(text.starts_with(&format!("error: cannot use port {port} of this machine for the guest's ssh: ")), "{text}");
        assert!(text.contains("\nhint: is another virtual machine running? --ssh-port N or SSH_PORT=N chooses another port\n"), "{text}");
    }

    fn as_make(setup: &mut Setup, dir: &Path) {
        setup.as_make =
            Some(AsMake { root: dir.to_owned(), dtb: None, kernel: None, disks: Disks::LastNamed, own: OwnArguments::default() });
        setup.no_accel = false;
    }

    #[test]
    fn where_the_acceleration_fails_at_once_the_machine_is_started_again_without() {
        let dir = tempfile::tempdir().unwrap();
        let arch = Arch::host().unwrap();
        let script = "case \"$*\" in *accel=*) echo 'failed to initialize kvm' >&2; exit 1;; esac; echo READY";
        fake::tool(dir.path(), qemu::tool(arch), script);
        let mut setup = setup(dir.path());
        setup.arch = arch;
        as_make(&mut setup, dir.path());
        let said = Mutex::new(Vec::new());
        let say = |line: &str| said.lock().unwrap().push(line.to_owned());
        let request = VmRequest { say: &say, ..request(setup, "READY", 20) };
        assert_eq!(run_vm(&fake::tools(dir.path()), request).unwrap(), Outcome::Found);
        assert!(said.lock().unwrap().iter().any(|line| line.starts_with("starting again without acceleration: ")), "{said:?}");
    }

    #[test]
    fn a_device_tree_is_written_once_for_one_machine() {
        let dir = tempfile::tempdir().unwrap();
        let script = "for word in \"$@\"; do case $word in dumpdtb=*) echo tree > ${word#dumpdtb=}; echo dump >> calls; exit 0;; esac; done; echo run >> calls; echo READY";
        fake::tool(dir.path(), Tool::QemuArm64, script);
        for (memory, calls) in [(64, "dump\nrun\n"), (64, "dump\nrun\nrun\n"), (65, "dump\nrun\nrun\ndump\nrun\n")] {
            let mut setup = setup(dir.path());
            as_make(&mut setup, dir.path());
            (setup.arch, setup.no_accel, setup.memory) = (Arch::Arm64, true, memory);
            setup.as_make.as_mut().unwrap().dtb = Some(dir.path().join("dtb"));
            run_vm(&fake::tools(dir.path()), request(setup, "READY", 20)).unwrap();
            assert_eq!(fs::read_to_string(dir.path().join("calls")).unwrap(), calls);
            assert_eq!(fs::read_dir(dir.path().join("dtb")).unwrap().count(), 1);
        }
    }

    fn free_port() -> u16 {
        TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
    }

    /// A ROM that prints `text` on the serial port and then rests.
    fn rom(text: &str) -> Vec<u8> {
        let mut rom = vec![0; 64 << 10];
        // mov si, 0xff40; next: cs lodsb; test al, al; jz rest; mov dx, 0x3f8; out dx, al; jmp next; rest: hlt; jmp rest
        let code = [0xbe, 0x40, 0xff, 0x2e, 0xac, 0x84, 0xc0, 0x74, 0x06, 0xba, 0xf8, 0x03, 0xee, 0xeb, 0xf4, 0xf4, 0xeb, 0xfd];
        rom[0xff00..0xff00 + code.len()].copy_from_slice(&code);
        rom[0xff40..0xff40 + text.len()].copy_from_slice(text.as_bytes());
        // The reset vector: jmp 0xff00.
        rom[0xfff0..0xfff3].copy_from_slice(&[0xe9, 0x0d, 0xff]);
        rom
    }

    #[test]
    fn a_real_machine_with_all_devices_and_a_tpm_starts_prints_and_is_switched_off() {
        let tools = Tools::only_in("/usr/bin:/usr/local/bin:/opt/homebrew/bin");
        if tools.find(Tool::QemuAmd64).is_err() || tools.find(Tool::Swtpm).is_err() {
            skips::missing("qemu-system-x86_64 and swtpm", "qemu-system-x86 swtpm");
            return;
        }
        for &bus in DiskBus::ALL {
            // A comma ends a value of QEMU and of swtpm.
            let parent = tempfile::tempdir().unwrap();
            let dir = parent.path().join(OsStr::from_bytes(b"a,b:c \xff"));
            fs::create_dir(&dir).unwrap();
            let mut setup = setup(&dir);
            fs::write(dir.join("rom"), rom("\x1b[1mHELLO\r\nlogin: ")).unwrap();
            setup.firmware = Firmware::Bios(dir.join("rom"));
            setup.disks[0].bus = bus;
            setup.ssh_port = Some(free_port());
            setup.tpm = Some(dir.join("tpm"));
            setup.serial_log = Some(dir.join("serial.log"));
            setup.tool_log = Some(dir.join("tools.log"));
            let echoed = Arc::new(Mutex::new(Vec::<u8>::new()));
            let sink = Arc::clone(&echoed);
            let mut request = request(setup, "login:", 60);
            request.echo = Some(Arc::new(move |bytes| sink.lock().unwrap().extend(bytes)));
            assert_eq!(run_vm(&tools, request).unwrap(), Outcome::Found, "{bus}");
            let log = fs::read_to_string(dir.join("serial.log")).unwrap();
            assert!(log.contains("HELLO\r\nlogin:"), "{log:?}");
            assert_eq!(*echoed.lock().unwrap(), log.as_bytes());
            let said = fs::read_to_string(dir.join("tools.log")).unwrap();
            let words: Vec<&str> = said.lines().filter(|line| !line.starts_with("$ ")).collect();
            assert!(words.is_empty(), "{bus}: {words:?}");
        }
    }

    /// A BIOS that prints `text` and restarts the machine, again and again.
    fn restarting_rom(text: &str) -> Vec<u8> {
        let mut rom = rom(text);
        // rest: mov dx, 0xcf9; mov al, 6; out dx, al; the chipset's reset register.
        rom[0xff0f..0xff15].copy_from_slice(&[0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee]);
        rom
    }

    #[test]
    fn an_emulated_machine_that_restarts_is_switched_on_anew_unless_it_would_forget() {
        let tools = Tools::only_in("/usr/bin:/usr/local/bin:/opt/homebrew/bin");
        if tools.find(Tool::QemuAmd64).is_err() || tools.find(Tool::Swtpm).is_err() {
            skips::missing("qemu-system-x86_64 and swtpm", "qemu-system-x86 swtpm");
            return;
        }
        for (discard_writes, starts) in [(false, 3), (true, 1)] {
            let dir = tempfile::tempdir().unwrap();
            let mut setup = setup(dir.path());
            fs::write(dir.path().join("rom"), restarting_rom("HELLO.")).unwrap();
            setup.firmware = Firmware::Bios(dir.path().join("rom"));
            setup.disks[0].discard_writes = discard_writes;
            setup.ssh_port = Some(free_port());
            setup.tpm = Some(dir.path().join("tpm"));
            setup.tool_log = Some(dir.path().join("tools.log"));
            assert_eq!(run_vm(&tools, request(setup, "HELLO.HELLO.HELLO.", 60)).unwrap(), Outcome::Found);
            let log = fs::read_to_string(dir.path().join("tools.log")).unwrap();
            let count = |tool: &str| log.lines().filter(|line| line.starts_with("$ ") && line.contains(tool)).count();
            assert!(count("qemu-system-x86_64 ") >= starts && count("swtpm socket ") >= starts, "{log}");
            assert!(!discard_writes || count("qemu-system-x86_64 ") == 1, "{log}");
        }
    }
}
