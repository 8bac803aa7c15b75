//! The sandbox's inner half, started as `xtask __sandbox FD`: a new process that reads its order from the file descriptor FD, leaves the
//! machine's namespaces, makes the stage its root, and executes the step.

#![allow(unsafe_code)]

use super::filter;
use anyhow::{Context as _, Result, bail};
use rustix::{
    fs::{MemfdFlags, Mode, memfd_create},
    mount::{
        MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change, mount_remount, unmount,
    },
    process::{chdir, getgid, getuid, pivot_root},
    thread::{UnshareFlags, unshare_unsafe},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Seek as _, Write as _},
    os::{
        fd::{FromRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::Command,
};

/// The step to run, and its surroundings.
#[derive(Serialize, Deserialize)]
pub struct Order {
    /// The folder that becomes `/`.
    pub root: PathBuf,
    /// The step's working directory, inside the root.
    pub workdir: String,
    /// Whether the step may use the machine's network.
    pub network: bool,
    /// The step's program and arguments.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
}

impl Order {
    /// The order in memory that only the inner half gets: every user of this machine can read a process's arguments, and the step's
    /// environment may hold a password of a proxy.
    pub fn to_fd(&self) -> Result<OwnedFd> {
        let mut file = File::from(memfd_create("order", MemfdFlags::CLOEXEC).context("cannot make a file in memory")?);
        file.write_all(&serde_json::to_vec(self)?)?;
        file.rewind()?;
        Ok(file.into())
    }

    /// Reads the order from the file descriptor that the text `fd` names, and closes it.
    fn of_fd(fd: &str) -> Result<Self> {
        let fd: i32 = fd.parse().ok().filter(|fd| *fd > 2).with_context(|| format!("`{fd}` is not the number of a file descriptor"))?;
        let mut text = String::new();
        // SAFETY: this process was started with the descriptor open, and has opened none of its own yet.
        unsafe { File::from_raw_fd(fd) }.read_to_string(&mut text).context("cannot read the sandbox's order")?;
        serde_json::from_str(&text).context("the sandbox's order is not valid")
    }
}

/// Devices of the machine that the step sees.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom"];

/// Runs the step of the order in the file descriptor `fd`. Returns, in the parent process, the step's exit code.
pub fn run(fd: &str) -> Result<u8> {
    let order = Order::of_fd(fd)?;
    close_others();
    leave_namespaces(order.network)?;
    // A new process namespace starts with the next child of the process that created it.
    // SAFETY: this process has one thread, so the child may continue.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()).context("cannot fork"),
        0 => become_step(&order),
        child => wait_for(child),
    }
}

fn leave_namespaces(network: bool) -> Result<()> {
    let (uid, gid) = (getuid(), getgid());
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if !network {
        flags |= UnshareFlags::NEWNET;
    }
    // SAFETY: no file descriptor table is unshared, and this process has one thread.
    match unsafe { unshare_unsafe(flags | UnshareFlags::NEWUSER) } {
        Ok(()) => {
            fs::write("/proc/self/setgroups", "deny").context("cannot set up the user namespace")?;
            fs::write("/proc/self/uid_map", format!("0 {} 1", uid.as_raw())).context("cannot map the user")?;
            fs::write("/proc/self/gid_map", format!("0 {} 1", gid.as_raw())).context("cannot map the group")
        }
        // Some machines forbid user namespaces; root does not need one.
        // SAFETY: as above.
        Err(_) if uid.is_root() => unsafe { unshare_unsafe(flags) }.context("a build step needs namespaces, which this machine forbids even to root"),
        Err(error) => Err(error).context(
            "a build step needs namespaces, which this machine forbids to ordinary users\nhint: sysctl -w kernel.unprivileged_userns_clone=1 (or kernel.apparmor_restrict_unprivileged_userns=0), or build as root",
        ),
    }
}

/// In the child: enters the new root with its own /dev and /proc, and executes the step.
fn become_step(order: &Order) -> Result<u8> {
    // SAFETY: prctl with these arguments reads no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let root = &order.root;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).context("cannot make the mounts private")?;
    mount_bind_recursive(root, root).context("cannot mount the stage")?;
    for name in ["proc", "dev", "tmp"] {
        fs::create_dir_all(root.join(name)).with_context(|| format!("cannot make /{name} in the stage"))?;
    }
    mount_proc(&root.join("proc"))?;
    make_devices(&root.join("dev"))?;
    enter(root)?;
    let Some((program, arguments)) = order.argv.split_first() else { bail!("the step is empty") };
    let workdir = Path::new(&order.workdir);
    chdir(workdir).with_context(|| format!("cannot go to {} in the stage", order.workdir))?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    drop_capabilities()?;
    // SAFETY: prctl with these arguments reads no memory.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(std::io::Error::last_os_error()).context("cannot forbid new privileges");
    }
    filter::install()?;
    let error = Command::new(program).args(arguments).env_clear().envs(&order.env).exec();
    Err(error).with_context(|| format!("`{program}` cannot be started: the stage must contain it (by FROM or BUILD_PKGS)"))
}

/// Parts of /proc that show the whole machine's memory and keys: the step cannot read them.
const MEMORY: &[&str] = &["kcore", "keys", "timer_list", "sched_debug", "latency_stats"];

/// Mounts /proc for the step, which may only read it. If root builds, root in the sandbox is the machine's root, and files in /proc obey
/// it independently of namespaces: they set the machine's kernel, and even their modes are the same for every process of the machine.
fn mount_proc(proc: &Path) -> Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", proc, "proc", flags, None).context("cannot mount /proc")?;
    for path in MEMORY.iter().map(|name| proc.join(name)).filter(|path| path.exists()) {
        bind_device("null", &path).with_context(|| format!("cannot hide `{}` from the step", path.display()))?;
    }
    // The mount, not the file system: a read-only file system would be refused where the machine's own /proc is writable and locked.
    mount_remount(proc, flags | MountFlags::BIND | MountFlags::RDONLY, c"").context("cannot make /proc read-only for the step")
}

/// Shows the machine's device `name` at `place`. The mount is read-only: the device itself can be written, but root cannot change the
/// mode, owner and times of the node, which are the machine's.
fn bind_device(name: &str, place: &Path) -> rustix::io::Result<()> {
    mount_bind(Path::new("/dev").join(name), place)?;
    mount_remount(place, MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NOEXEC, c"")
}

/// Closes every file descriptor after the standard streams: a step must not get one that a caller of xtask left open. Linux before 5.9
/// does not have the call; there, `child` has marked all but the order to be closed.
fn close_others() {
    // SAFETY: plain numbers; this process uses no descriptor of these.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}

/// The capabilities of root in a step: to own, read and write files, and to switch users. Source of the numbers: capabilities(7).
const CAPABILITIES: &[libc::c_ulong] = &[
    0,  // CHOWN
    1,  // DAC_OVERRIDE
    3,  // FOWNER
    4,  // FSETID
    5,  // KILL
    6,  // SETGID
    7,  // SETUID
    8,  // SETPCAP
    10, // NET_BIND_SERVICE
    18, // SYS_CHROOT
    31, // SETFCAP
];

/// Drops all other capabilities for the step and its children: with them it could undo [`mount_proc`] and [`bind_device`].
fn drop_capabilities() -> Result<()> {
    for capability in (0..64).filter(|capability| !CAPABILITIES.contains(capability)) {
        // SAFETY: prctl with these arguments reads no memory.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } == 0 {
            continue;
        }
        let error = std::io::Error::last_os_error();
        // The kernel has no capability of this or a higher number.
        if error.raw_os_error() == Some(libc::EINVAL) {
            break;
        }
        return Err(error).context("cannot drop capabilities");
    }
    Ok(())
}

fn make_devices(dev: &Path) -> Result<()> {
    mount("tmpfs", dev, "tmpfs", MountFlags::NOSUID, Some(c"mode=0755")).context("cannot mount /dev")?;
    for name in DEVICES {
        let place = dev.join(name);
        File::create(&place)?;
        bind_device(name, &place).with_context(|| format!("cannot show /dev/{name} to the step"))?;
    }
    fs::create_dir(dev.join("shm"))?;
    for (link, target) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        std::os::unix::fs::symlink(target, dev.join(link))?;
    }
    Ok(())
}

/// Makes `root` the root and unmounts the machine's root.
fn enter(root: &Path) -> Result<()> {
    chdir(root)?;
    pivot_root(".", ".").context("cannot make the stage the root")?;
    unmount(".", UnmountFlags::DETACH).context("cannot unmount the machine's root")?;
    chdir("/")?;
    Ok(())
}

fn wait_for(child: libc::pid_t) -> Result<u8> {
    let mut status = 0;
    loop {
        // SAFETY: `status` lives as long as the call.
        let got = unsafe { libc::waitpid(child, &raw mut status, 0) };
        if got == child {
            break;
        }
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error).context("cannot wait for the step");
        }
    }
    if libc::WIFEXITED(status) {
        return Ok(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(1));
    }
    bail!("the step was killed by signal {}", libc::WTERMSIG(status))
}
