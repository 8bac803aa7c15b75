//! SIGINT, SIGTERM and SIGHUP: the first one ends all children, with their process groups, before xtask ends; the second ends xtask at once.
//! Only `install` changes this process, and only `main` calls it; tests and libraries run without it.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicUsize, Ordering};

/// How many children the signal handler knows at once. Further ones still get a death signal when xtask ends.
const SLOTS: usize = 256;
/// What to pass to kill(2): a process, or a process group as a negative number. 0 is a free slot.
static CHILDREN: [AtomicI32; SLOTS] = [const { AtomicI32::new(0) }; SLOTS];
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static CAUGHT: AtomicI32 = AtomicI32::new(0);
/// When the first signal came, in milliseconds of the monotonic clock.
static SINCE: AtomicI64 = AtomicI64::new(0);

/// How many [`Hold`] values exist.
static HOLDS: AtomicUsize = AtomicUsize::new(0);

/// Seconds after the first signal for commands to fail and for temporary files to be removed.
const GRACE: u32 = 2;

/// The same while a [`Hold`] exists.
const GRACE_HELD: u32 = 10;

/// A second signal within this many milliseconds counts as the first: both the terminal and a parent such as `make` may send one.
const SAME: i64 = 500;

/// A child that the signal handler knows while this value exists.
pub(super) struct Registered(Option<&'static AtomicI32>);

impl Registered {
    /// Registers the process group that `pid` leads.
    pub(super) fn group(pid: i32) -> Self {
        Self::at_free_slot(-pid)
    }

    /// Registers a process of our own group, which is on the user's terminal.
    pub(super) fn process(pid: i32) -> Self {
        Self::at_free_slot(pid)
    }

    fn at_free_slot(target: i32) -> Self {
        let free = |slot: &&AtomicI32| slot.compare_exchange(0, target, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        Self(CHILDREN.iter().find(free))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            slot.store(0, Ordering::SeqCst);
        }
    }
}

/// While a value exists, the first signal does not end xtask even if no child runs: for work that must remove files outside `dist/`.
/// That work must check [`is_interrupted`] between its steps.
#[derive(Debug)]
pub struct Hold(());

impl Hold {
    /// Delays the end of xtask.
    #[must_use]
    pub fn new() -> Self {
        HOLDS.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Default for Hold {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        HOLDS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether one of the signals has arrived.
#[must_use]
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Installs the handlers. The first signal ends all children, so that their callers fail and clean up. xtask dies of the signal if that
/// takes over two seconds (ten with a [`Hold`]), at a second signal, or if no child is running.
#[allow(unsafe_code)]
pub fn install() {
    for (signal, handler) in
        [(libc::SIGINT, on_signal as extern "C" fn(i32)), (libc::SIGTERM, on_signal), (libc::SIGHUP, on_signal), (libc::SIGALRM, on_alarm)]
    {
        // SAFETY: the action is fully initialized, and the handlers call only async-signal-safe functions.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigemptyset(&raw mut action.sa_mask);
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

extern "C" fn on_signal(signal: i32) {
    CAUGHT.store(signal, Ordering::SeqCst);
    let now = milliseconds();
    let again = INTERRUPTED.swap(true, Ordering::SeqCst);
    if again && now - SINCE.load(Ordering::SeqCst) < SAME {
        return;
    }
    SINCE.store(now, Ordering::SeqCst);
    let children = kill_children(if again { libc::SIGKILL } else { libc::SIGTERM });
    let held = HOLDS.load(Ordering::SeqCst) > 0;
    if again || !children && !held {
        die(signal);
    }
    // SAFETY: alarm is async-signal-safe.
    #[allow(unsafe_code)]
    unsafe {
        libc::alarm(if held { GRACE_HELD } else { GRACE });
    }
}

extern "C" fn on_alarm(_: i32) {
    kill_children(libc::SIGKILL);
    die(CAUGHT.load(Ordering::SeqCst));
}

#[allow(unsafe_code)]
fn milliseconds() -> i64 {
    // SAFETY: all-zero bytes are a valid timespec, and the call is async-signal-safe.
    let time = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
        time
    };
    time.tv_sec as i64 * 1000 + time.tv_nsec as i64 / 1_000_000
}

/// Signals every registered child; returns whether there was one.
#[allow(unsafe_code)]
fn kill_children(signal: i32) -> bool {
    let mut any = false;
    for slot in &CHILDREN {
        let target = slot.load(Ordering::SeqCst);
        if target != 0 {
            any = true;
            // SAFETY: kill is async-signal-safe. It fails for a child that has just ended, which is fine.
            unsafe {
                libc::kill(target, signal);
            }
        }
    }
    any
}

/// Ends xtask as the signal that arrived would have ended it, so that a shell sees 128 and the signal's number; returns if none arrived.
/// For `main`, after everything is cleaned up.
pub fn end_if_interrupted() {
    if is_interrupted() {
        die(CAUGHT.load(Ordering::SeqCst));
    }
}

/// Ends xtask by the signal's default action, so that the shell sees the signal.
#[allow(unsafe_code)]
fn die(signal: i32) {
    // SAFETY: signal and raise are async-signal-safe.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        libc::raise(signal);
    }
}
