//! The system calls that a step cannot make: those that reach the machine's kernel past namespaces and capabilities. A seccomp filter,
//! seccomp(2), written as classic BPF; all other calls pass.

#![allow(unsafe_code)]

use anyhow::{Context as _, Result};
use libc::{c_long, sock_filter};

/// Calls that fail with EPERM: keys of the machine's user (keyrings have no namespace); programs, counters and modules in the kernel; its
/// log; files by their handle. No package needs one of them, and their users go on without. io_uring makes calls that no filter sees.
const REFUSED: &[c_long] = &[
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_syslog,
    libc::SYS_open_by_handle_at,
];

/// ioctl(2) requests that fail with EPERM: they type into the terminal of whoever opened a shell in the sandbox.
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;

/// The architecture of this program's calls: AUDIT_ARCH_… of linux/audit.h. Elsewhere there is no filter.
const ARCH: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else if cfg!(target_arch = "riscv64") {
    Some(0xc000_00f3)
} else {
    None
};

/// Offsets in `struct seccomp_data` (linux/seccomp.h); the low half of an argument is first on the architectures above.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const SECOND_ARGUMENT: u32 = 24;

/// Numbers from here on are calls of the x32 interface.
const X32: u32 = 0x4000_0000;

/// Sets the filter for this process and its children. They must have `no_new_privs`.
pub(super) fn install() -> Result<()> {
    let Some(arch) = ARCH else { return Ok(()) };
    let mut program = program(arch);
    let header = libc::sock_fprog { len: u16::try_from(program.len())?, filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies the program, which lives as long as the call.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const header) } {
        0 => Ok(()),
        // A kernel without seccomp: namespaces and capabilities remain.
        _ if std::io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) => Ok(()),
        _ => Err(std::io::Error::last_os_error()).context("cannot filter the step's system calls"),
    }
}

fn program(arch: u32) -> Vec<sock_filter> {
    let refuse = |errno: i32| ret(libc::SECCOMP_RET_ERRNO | errno.cast_unsigned());
    // A call of another architecture has other numbers, which would pass: programs of 32 bits do not run.
    let mut program = vec![load(ARCHITECTURE), skip_if(libc::BPF_JEQ, arch, 1), refuse(libc::ENOSYS), load(NUMBER)];
    program.extend([skip_unless(libc::BPF_JGE, X32, 1), refuse(libc::ENOSYS)]);
    for number in REFUSED {
        program.extend([skip_unless(libc::BPF_JEQ, *number as u32, 1), refuse(libc::EPERM)]);
    }
    program.extend([skip_unless(libc::BPF_JEQ, libc::SYS_ioctl as u32, 4), load(SECOND_ARGUMENT)]);
    program.extend([skip_if(libc::BPF_JEQ, TIOCSTI, 1), skip_unless(libc::BPF_JEQ, TIOCLINUX, 1), refuse(libc::EPERM)]);
    program.push(ret(libc::SECCOMP_RET_ALLOW));
    program
}

fn load(offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0)
}

/// Skips the next `count` instructions if the loaded value compares with `value`.
fn skip_if(comparison: u32, value: u32, count: u8) -> sock_filter {
    instruction(libc::BPF_JMP | comparison | libc::BPF_K, value, count, 0)
}

fn skip_unless(comparison: u32, value: u32, count: u8) -> sock_filter {
    instruction(libc::BPF_JMP | comparison | libc::BPF_K, value, 0, count)
}

fn ret(action: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, action, 0, 0)
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The error number of a call; 0 if it succeeded.
    fn errno(number: c_long, arguments: [c_long; 2]) -> i32 {
        // SAFETY: the calls below get numbers only, and none of them is valid.
        match unsafe { libc::syscall(number, arguments[0], arguments[1], 0, 0, 0) } {
            -1 => std::io::Error::last_os_error().raw_os_error().unwrap(),
            _ => 0,
        }
    }

    #[test]
    fn calls_past_the_namespaces_fail_and_others_pass() {
        // A filter belongs to its thread.
        let answers = std::thread::spawn(|| {
            // SAFETY: prctl with these arguments reads no memory.
            assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
            let ioctls = || [0x5412, 0x541c, 0x5413, 0x1_0000_5412].map(|request| errno(libc::SYS_ioctl, [-1, request]));
            let before = (errno(libc::SYS_keyctl, [-1, 0]), ioctls());
            install().unwrap();
            (before, REFUSED.iter().map(|number| errno(*number, [-1, 0])).collect::<Vec<_>>(), ioctls(), errno(libc::SYS_getpid, [0, 0]))
        });
        let (before, refused, ioctls, other) = answers.join().unwrap();
        assert!(before.0 != libc::EPERM && before.1 == [libc::EBADF; 4], "{before:?}");
        assert!(refused.iter().all(|errno| *errno == libc::EPERM), "{refused:?}");
        // The kernel takes 32 bits of a request, too.
        assert_eq!(ioctls, [libc::EPERM, libc::EPERM, libc::EBADF, libc::EPERM]);
        assert_eq!(other, 0);
    }
}
