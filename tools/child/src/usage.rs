//! The time and memory that a child used, as the kernel reports them at its end (getrusage(2)).

use rustix::process::Pid;
use std::{
    io,
    time::{Duration, Instant},
};

/// The resources used by a child and by the children that it waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// From its start to its end.
    pub wall: Duration,
    /// On all processors, in user and kernel mode.
    pub cpu: Duration,
    /// The peak memory of the largest of these processes, in bytes. The kernel counts from the fork, so it is at least xtask's memory
    /// at that time.
    pub memory: u64,
}

impl Usage {
    /// The sum for two children that ran one after the other.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self { wall: self.wall + next.wall, cpu: self.cpu + next.cpu, memory: self.memory.max(next.memory) }
    }
}

/// Waits for the end of the child `pid` without taking its status. duct reports no usage; on Linux waitid(2) has it in a fifth argument,
/// which libc hides. On other systems only the wall time is known.
#[allow(unsafe_code)]
pub(super) fn wait_without_reaping(pid: Pid, started: Instant) -> io::Result<Usage> {
    let (id, flags) = (pid.as_raw_pid(), libc::WEXITED | libc::WNOWAIT);
    let used = loop {
        #[cfg_attr(not(target_os = "linux"), allow(unused_mut))]
        // SAFETY: all-zero bytes are valid for both structures, and the call fills them.
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
    // ru_maxrss is in KiB on Linux.
    let memory = u64::try_from(used.ru_maxrss).unwrap_or(0) * 1024;
    Ok(Usage { wall: started.elapsed(), cpu: time(used.ru_utime) + time(used.ru_stime), memory })
}
