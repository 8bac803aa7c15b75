//! swtpm, a TPM 2 behind a socket. It gets a socket that already listens, so that no caller has to wait for its start. It starts in the
//! folder of its state: its options end at a comma, so they cannot name every folder.

use super::{Cmd, Failure, Output, Running, Tool, Tools};
use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};
use std::{
    fs, io,
    os::fd::{AsRawFd as _, OwnedFd},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
};

/// The longest path of a socket: the size of the kernel's structure.
const LONGEST_PATH: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// Starts a TPM with its state in the folder `state` (created if missing) and its control channel at `socket`. It ends when the connection
/// closes or the value is dropped.
pub fn start(tools: &Tools, state: &Path, socket: &Path, output: &Output) -> Result<Running> {
    fs::create_dir_all(state).with_context(|| format!("cannot make the TPM's folder {}", state.display()))?;
    let listener = OwnedFd::from(listen(socket)?);
    tools
        .cmd(Tool::Swtpm)?
        .step("giving the virtual machine a TPM")
        .dir(state)
        .args(["socket", "--tpm2", "--terminate", "--tpmstate", "dir=.", "--ctrl"])
        .arg(format!("type=unixio,fd={}", listener.as_raw_fd()))
        .keep_fd(listener)
        .output(output)
        .spawn()
}

/// The hash functions for which a TPM has banks of PCRs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Banks {
    /// Those of swtpm.
    All,
    /// SHA-1 alone.
    Sha1,
}

/// The file in the folder of the state that says which banks it has, as lf-edge/eve's Makefile writes it.
const BANKS: &str = ".pcr-banks";
/// Its text for [`Banks::Sha1`].
const SHA1: &str = "sha1";

/// Makes a new state in the folder `state` if the one there has other banks. Returns whether an old state was deleted.
pub fn set_banks(tools: &Tools, state: &Path, banks: Banks) -> Result<bool> {
    let mark = state.join(BANKS);
    let is_sha1 = fs::read_to_string(&mark).is_ok_and(|text| text.trim() == SHA1);
    if is_sha1 == (banks == Banks::Sha1) {
        return Ok(false);
    }
    let setup = match banks {
        Banks::All => None,
        Banks::Sha1 => {
            let setup = tools.helper("swtpm_setup");
            Some(setup.context("SHA256_BANK=n makes the TPM's state with swtpm_setup\nhint: Debian has it in the package swtpm-tools")?)
        }
    };
    fs::create_dir_all(state).with_context(|| format!("cannot make the TPM's folder {}", state.display()))?;
    let mut was_there = false;
    for entry in fs::read_dir(state).with_context(|| format!("cannot read the TPM's folder {}", state.display()))? {
        let path = entry?.path();
        was_there |= path.extension().is_some_and(|extension| extension == "permall");
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("cannot delete the TPM's old state {}", path.display()))?;
    }
    if let Some(setup) = setup {
        setup.step("making a TPM with PCRs for SHA-1 only").args(["--tpm2", "--tpmstate"]).arg(state).args(["--pcr-banks", SHA1]).run()?;
        fs::write(&mark, format!("{SHA1}\n")).with_context(|| format!("cannot write {}", mark.display()))?;
    }
    Ok(was_there)
}

/// A TPM started with `--daemon`, as lf-edge/eve's Makefile does: its socket listens when the command returns. It ends when QEMU's
/// connection closes or this value is dropped.
pub struct Daemon {
    pid_file: PathBuf,
}

/// Whether a [`Daemon`] can have its state in this folder: swtpm's options name the folder, and end at a comma.
#[must_use]
pub fn can_be_daemon(state: &Path) -> bool {
    state.to_str().is_some_and(|path| !path.contains(','))
}

/// The socket of a [`Daemon`], in the folder of its state.
#[must_use]
pub fn daemon_socket(state: &Path) -> PathBuf {
    state.join("swtpm-sock")
}

/// The command that starts a [`Daemon`].
pub fn daemon_command(tools: &Tools, state: &Path) -> Cmd {
    let (state, socket) = (state.display(), daemon_socket(state));
    tools
        .cmd_unchecked(Tool::Swtpm)
        .step("giving the virtual machine a TPM")
        .args(["socket", "--daemon", "--terminate", "--tpmstate", &format!("dir={state}")])
        .args(["--ctrl", &format!("type=unixio,path={}", socket.display())])
        .args(["--log", &format!("file={state}/swtpm.log,level=20"), "--pid", &format!("file={state}/swtpm.pid"), "--tpm2"])
}

/// Starts a [`Daemon`] with its state in the folder `state`, which is created if missing.
pub fn start_daemon(tools: &Tools, state: &Path, output: &Output) -> Result<Daemon> {
    fs::create_dir_all(state).with_context(|| format!("cannot make the TPM's folder {}", state.display()))?;
    check_length(&daemon_socket(state))?;
    daemon_command(tools, state).output(output).run().map_err(|error| match error.downcast::<Failure>() {
        Ok(failure) => advise(failure),
        Err(error) => error,
    })?;
    Ok(Daemon { pid_file: state.join("swtpm.pid") })
}

impl Daemon {
    /// Whether it runs. swtpm removes the file when it ends by itself, but not when it is killed.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.pid().is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
    }

    fn pid(&self) -> Option<Pid> {
        let pid = fs::read_to_string(&self.pid_file).ok()?.trim().parse::<i32>().ok().filter(|pid| *pid > 1)?;
        Pid::from_raw(pid)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let Some(pid) = self.pid() else { return };
        if program_of(pid).is_some_and(|name| name == "swtpm") {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
    }
}

/// The name of the program that runs as `pid`.
#[cfg(target_os = "linux")]
fn program_of(pid: Pid) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero())).ok()?.trim().to_owned())
}

/// The name of the program that runs as `pid`.
#[cfg(not(target_os = "linux"))]
fn program_of(pid: Pid) -> Option<String> {
    let path = super::Cmd::new("/bin/ps", &super::Variables::default()).args(["-o", "comm=", "-p", &pid.to_string()]).stdout().ok()?;
    Some(Path::new(&path).file_name()?.to_str()?.to_owned())
}

/// An error if the path of a socket is longer than the kernel allows.
pub fn check_length(path: &Path) -> Result<()> {
    let length = path.as_os_str().len();
    if length > LONGEST_PATH {
        bail!(
            "cannot make a socket at {}: its path has {length} bytes, the limit is {LONGEST_PATH}\nhint: a shorter TMPDIR, or a tree with a shorter path",
            path.display()
        );
    }
    Ok(())
}

/// A listening socket at `path`, in the place of that of an earlier start.
pub fn listen(path: &Path) -> Result<UnixListener> {
    check_length(path)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove the socket {}", path.display()));
        }
        _ => {}
    }
    UnixListener::bind(path).with_context(|| format!("cannot listen at {}", path.display()))
}

/// Adds advice to a known failure.
#[must_use]
pub fn advise(failure: Failure) -> anyhow::Error {
    let denied = failure.said("Permission denied") || failure.said("Operation not permitted");
    let error = anyhow::Error::from(failure);
    if denied {
        return error.context(
            "swtpm may not access its folder\nhint: if AppArmor forbids it: ln -s /etc/apparmor.d/usr.bin.swtpm /etc/apparmor.d/disable/ && \
             apparmor_parser -R /etc/apparmor.d/usr.bin.swtpm",
        );
    }
    error
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::{
        ffi::OsStr,
        io::{Read as _, Write as _},
        os::unix::{ffi::OsStrExt as _, net::UnixStream},
        time::Duration,
    };

    #[test]
    fn a_daemon_that_nobody_came_to_ends_with_its_value() {
        let tools = Tools::only_in("/usr/bin:/usr/local/bin:/opt/homebrew/bin");
        if tools.find(Tool::Swtpm).is_err() || !Path::new("/proc/self/comm").exists() {
            skips::missing("swtpm or /proc", "swtpm");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let daemon = start_daemon(&tools, &state, &Output::default()).unwrap();
        assert!(daemon_socket(&state).exists());
        let pid = fs::read_to_string(state.join("swtpm.pid")).unwrap();
        drop(daemon);
        let is_gone = || !Path::new("/proc").join(pid.trim()).exists();
        assert!((0..500).any(|_| is_gone() || {
            std::thread::sleep(Duration::from_millis(10));
            false
        }));
    }

    #[test]
    fn a_real_tpm_answers_the_socket_that_it_was_handed_and_keeps_its_state() {
        let tools = Tools::only_in("/usr/bin:/usr/local/bin:/opt/homebrew/bin");
        if tools.find(Tool::Swtpm).is_err() {
            skips::missing("swtpm", "swtpm");
            return;
        }
        // Neither a comma nor a byte that is no UTF-8 can be in swtpm's options.
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join(OsStr::from_bytes(b"a,b \xff"));
        let socket = dir.path().join("sock");
        let mut tpm = start(&tools, &state, &socket, &Output::default()).unwrap();
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // CMD_GET_CAPABILITY of the control channel: answers a result and the capabilities.
        stream.write_all(&1_u32.to_be_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer[..8]).unwrap();
        assert_ne!(&answer[..8], [0; 8], "no capabilities");
        assert_eq!(tpm.try_wait().unwrap(), None);
        // CMD_INIT, without flags: swtpm makes its state.
        stream.write_all(&[0, 0, 0, 2, 0, 0, 0, 0]).unwrap();
        let mut result = [0xff; 4];
        stream.read_exact(&mut answer[..0]).unwrap();
        stream.read_exact(&mut result).unwrap();
        assert_eq!(result, [0; 4]);
        tpm.kill();
        assert!(state.join("tpm2-00.permall").is_file());
    }

    #[test]
    fn a_state_with_other_banks_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (bin, state) = (dir.path().join("bin"), dir.path().join("state"));
        fs::create_dir_all(&bin).unwrap();
        let program = bin.join("swtpm_setup");
        fs::write(&program, "#!/bin/sh\n[ $1 = --tpm2 ] && [ $5 = sha1 ] && echo $4 > $3/tpm2-00.permall\n").unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let tools = Tools::only_in(&bin);
        let set = |banks| set_banks(&tools, &state, banks).unwrap();
        assert!(!set(Banks::All) && !state.exists(), "nothing to do");
        assert!(!set(Banks::Sha1), "there was no state");
        assert_eq!(fs::read_to_string(state.join("tpm2-00.permall")).unwrap(), "--pcr-banks\n");
        fs::write(state.join("tpm2-00.permall"), "used").unwrap();
        assert!(!set(Banks::Sha1));
        assert_eq!(fs::read_to_string(state.join("tpm2-00.permall")).unwrap(), "used");
        assert!(set(Banks::All), "the old state is gone");
        assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
        let missing = set_banks(&Tools::only_in("/nowhere"), &state, Banks::Sha1).unwrap_err().to_string();
        assert!(missing.contains("hint: Debian has it in the package swtpm-tools"), "{missing}");
    }

    #[test]
    fn a_long_path_is_refused_with_its_numbers() {
        let path = Path::new("/tmp").join("x".repeat(200));
        let error = listen(&path).unwrap_err().to_string();
        assert!(error.contains("its path has 205 bytes, ") && error.contains("hint: a shorter TMPDIR"), "{error}");
    }
}
