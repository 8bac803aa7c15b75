//! What a child has used: the kernel's own account of it (getrusage(2)), taken with its status.

use std::{io, os::unix::process::ExitStatusExt as _, process::ExitStatus, time::Duration};

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

/// Takes the status of the child `pid`, and waits for its end if it must. The wall time is left for the caller to fill in.
#[allow(unsafe_code)]
pub(super) fn wait(pid: u32) -> io::Result<(ExitStatus, Usage)> {
    let mut status = 0;
    // SAFETY: the usage is a plain structure that the call fills.
    let used = loop {
        let (result, used) = unsafe {
            let mut used: libc::rusage = std::mem::zeroed();
            (libc::wait4(pid.cast_signed(), &raw mut status, 0, &raw mut used), used)
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
    // Linux counts in KiB, the BSDs in bytes.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    let memory = u64::try_from(used.ru_maxrss).unwrap_or(0) * unit;
    Ok((ExitStatus::from_raw(status), Usage { wall: Duration::ZERO, cpu: time(used.ru_utime) + time(used.ru_stime), memory }))
}
