//! The sandbox's inner half, started as `xtask __sandbox ORDER`: a new process that leaves the machine's namespaces, makes the stage its
//! root, and executes the step.

#![allow(unsafe_code)]

use anyhow::{Context as _, Result, bail};
use rustix::{
    fs::Mode,
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
    os::unix::process::CommandExt as _,
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

/// Devices of the machine that the step sees.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom"];

/// Runs the step. Returns, in the parent process, the step's exit code.
pub fn run(order: &str) -> Result<u8> {
    let order: Order = serde_json::from_str(order).context("the sandbox's order is not valid")?;
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
    mount("proc", root.join("proc"), "proc", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)
        .context("cannot mount /proc")?;
    protect_proc(&root.join("proc"))?;
    make_devices(&root.join("dev"))?;
    enter(root)?;
    let Some((program, arguments)) = order.argv.split_first() else { bail!("the step is empty") };
    let workdir = Path::new(&order.workdir);
    chdir(workdir).with_context(|| format!("cannot go to {} in the stage", order.workdir))?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    drop_capabilities()?;
    let error = Command::new(program).args(arguments).env_clear().envs(&order.env).exec();
    Err(error).with_context(|| format!("`{program}` cannot be started: the stage must contain it (by FROM or BUILD_PKGS)"))
}

/// Parts of /proc that control the whole machine, even in a new namespace: the step may only read them.
const KERNEL: &[&str] = &["sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi"];

/// Parts of /proc that show the whole machine's memory and keys: the step cannot read them.
const MEMORY: &[&str] = &["kcore", "keys", "timer_list", "sched_debug", "latency_stats"];

/// Protects the machine's parts of /proc from the step. If root builds, root in the sandbox is root of the machine, and files in /proc
/// allow everything to it, independent of namespaces.
fn protect_proc(proc: &Path) -> Result<()> {
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    for path in KERNEL.iter().map(|name| proc.join(name)).filter(|path| path.exists()) {
        mount_bind(&path, &path)
            .and_then(|()| mount_remount(&path, flags, c""))
            .with_context(|| format!("cannot make `{}` read-only for the step", path.display()))?;
    }
    for path in MEMORY.iter().map(|name| proc.join(name)).filter(|path| path.exists()) {
        mount_bind("/dev/null", &path).with_context(|| format!("cannot hide `{}` from the step", path.display()))?;
    }
    Ok(())
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

/// Drops all other capabilities for the step and its children: with them it could undo [`protect_proc`].
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
        mount_bind(Path::new("/dev").join(name), &place).with_context(|| format!("cannot show /dev/{name} to the step"))?;
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
