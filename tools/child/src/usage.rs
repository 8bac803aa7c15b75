//! What a child has used: the kernel's own account of it (getrusage(2)), read at its end.

use rustix::process::Pid;
use std::{
    io,
    time::{Duration, Instant},
};

/// What a child and the children that it waited for have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// From its start to its end.
    pub wall: Duration,
    /// On all processors, for it and in the kernel for it.
    pub cpu: Duration,
    /// Bytes of memory that the largest of them had at a time. The kernel counts from the fork, so it is never less than
    /// what this program had then.
    pub memory: u64,
}

impl Usage {
    /// Both, one after the other.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self { wall: self.wall + next.wall, cpu: self.cpu + next.cpu, memory: self.memory.max(next.memory) }
    }
}

/// Waits for the end of the child `pid`, which `started` then, and leaves its status to be taken. duct has no usage, so this
/// asks the kernel: waitid(2) of Linux has it in a fifth argument, which libc hides. Elsewhere only the wall time is known.
#[allow(unsafe_code)]
pub(super) fn wait_without_reaping(pid: Pid, started: Instant) -> io::Result<Usage> {
    let (id, flags) = (pid.as_raw_pid(), libc::WEXITED | libc::WNOWAIT);
    let used = loop {
        // SAFETY: both structures are plain and the call fills them.
        let (result, used) = unsafe {
            let (mut info, mut used): (libc::siginfo_t, libc::rusage) = std::mem::zeroed();
            #[cfg(target_os = "linux")]
            let result = libc::syscall(libc::SYS_waitid, libc::P_PID, id, &raw mut info, flags, &raw mut used);
            #[cfg(not(target_os = "linux"))]
            let result = libc::waitid(libc::P_PID, id.cast_unsigned(), &raw mut info, flags);
            (result, used)
        };
        match io::Error::last_os_error() {
            _ if result >= 0 => break used,
            error if error.kind() == io::ErrorKind::Interrupted => {}
            error => return Err(error),
        }
    };
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.try_into().unwrap_or(0)) + Duration::from_micros(time.tv_usec.try_into().unwrap_or(0))
    };
    // Linux counts in KiB.
    let memory = u64::try_from(used.ru_maxrss).unwrap_or(0) * 1024;
    Ok(Usage { wall: started.elapsed(), cpu: time(used.ru_utime) + time(used.ru_stime), memory })
}
