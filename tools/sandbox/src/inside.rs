//! The sandbox's inner half: a fresh process that leaves the machine's namespaces, makes the stage its root and becomes the
//! step. It is started as `xtask __sandbox ORDER` and never returns on success.

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

/// What to run, and in which root.
#[derive(Serialize, Deserialize)]
pub struct Order {
    /// The folder that becomes `/`.
    pub root: PathBuf,
    /// Where the step starts, inside.
    pub workdir: String,
    /// Whether the machine's network is left in reach.
    pub network: bool,
    /// The step.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
}

/// Devices that programs expect; everything else of the machine's /dev stays outside.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom"];

/// Becomes the step. Gives the exit code of the step when it had to stay behind as its parent.
pub fn run(order: &str) -> Result<u8> {
    let order: Order = serde_json::from_str(order).context("the sandbox's order is not valid")?;
    leave_namespaces(order.network)?;
    // A process that asked for a new process namespace stays in the old one; its next child is the first of the new.
    // SAFETY: this process has one thread, so the child may go on as it is.
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
        // Some machines forbid user namespaces; root can do without one.
        // SAFETY: as above.
        Err(_) if uid.is_root() => unsafe { unshare_unsafe(flags) }.context("this machine allows root no namespaces, which a build step needs"),
        Err(error) => Err(error).context(
            "this machine allows ordinary users no namespaces, which a build step needs\nhint: sysctl -w kernel.unprivileged_userns_clone=1 (or kernel.apparmor_restrict_unprivileged_userns=0), or build as root",
        ),
    }
}

/// The step's half: new root, own /dev and /proc, then the step itself.
fn become_step(order: &Order) -> Result<u8> {
    // SAFETY: prctl with these arguments reads no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let root = &order.root;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).context("cannot take the mounts apart")?;
    mount_bind_recursive(root, root).context("cannot mount the stage")?;
    for name in ["proc", "dev", "tmp"] {
        fs::create_dir_all(root.join(name)).with_context(|| format!("cannot make /{name} in the stage"))?;
    }
    mount("proc", root.join("proc"), "proc", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)
        .context("cannot mount /proc")?;
    shut(&root.join("proc"))?;
    make_devices(&root.join("dev"))?;
    enter(root)?;
    let Some((program, arguments)) = order.argv.split_first() else { bail!("the step is empty") };
    let workdir = Path::new(&order.workdir);
    chdir(workdir).with_context(|| format!("cannot go to {} in the stage", order.workdir))?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    drop_capabilities()?;
    let error = Command::new(program).args(arguments).env_clear().envs(&order.env).exec();
    Err(error).with_context(|| format!("`{program}` cannot be started in the stage: it must be in it (a FROM or BUILD_PKGS brings it)"))
}

/// Parts of /proc that are the whole machine's, whoever mounts it: they can be read only.
const KERNEL: &[&str] = &["sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi"];

/// Parts of /proc that tell of the whole machine's memory and keys.
const MEMORY: &[&str] = &["kcore", "keys", "timer_list", "sched_debug", "latency_stats"];

/// Takes from the step what in its /proc is the machine's: root in the sandbox is root of the machine where root builds, and a file
/// there obeys its owner whatever the namespaces are.
fn shut(proc: &Path) -> Result<()> {
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    for path in KERNEL.iter().map(|name| proc.join(name)).filter(|path| path.exists()) {
        mount_bind(&path, &path)
            .and_then(|()| mount_remount(&path, flags, c""))
            .with_context(|| format!("cannot keep the step from `{}`", path.display()))?;
    }
    for path in MEMORY.iter().map(|name| proc.join(name)).filter(|path| path.exists()) {
        mount_bind("/dev/null", &path).with_context(|| format!("cannot hide `{}` from the step", path.display()))?;
    }
    Ok(())
}

/// What root may do in a step: to own, to read and to write files, and to be another user. Source of the numbers: capabilities(7).
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

/// Lets go of all other capabilities, for this process's next program and all that it starts. What was shut could be opened with them.
fn drop_capabilities() -> Result<()> {
    for capability in (0..64).filter(|capability| !CAPABILITIES.contains(capability)) {
        // SAFETY: prctl with these arguments reads no memory.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } == 0 {
            continue;
        }
        let error = std::io::Error::last_os_error();
        // The kernel knows no capability of this number, nor one of a higher.
        if error.raw_os_error() == Some(libc::EINVAL) {
            break;
        }
        return Err(error).context("cannot let go of capabilities");
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

/// Swaps the root and lets go of the old one, so that nothing of the machine can be reached.
fn enter(root: &Path) -> Result<()> {
    chdir(root)?;
    pivot_root(".", ".").context("cannot make the stage the root")?;
    unmount(".", UnmountFlags::DETACH).context("cannot let go of the machine's root")?;
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
