//! Our place on the terminal while a shell of a person's has it: a shell with job control makes itself the terminal's foreground, and one
//! in another process namespace cannot give it back.

#![allow(unsafe_code)]

use rustix::{
    process::{Pid, getpgrp},
    termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp},
};
use std::io::{IsTerminal as _, stdin, stdout};

/// Whether a person is there: standard input and output are terminals.
#[must_use]
pub fn is_there() -> bool {
    stdin().is_terminal() && stdout().is_terminal()
}

/// The terminal as it was. Dropping this makes us its foreground again, if we were, and restores its modes.
pub struct Kept {
    modes: Option<Termios>,
    foreground: Option<Pid>,
}

impl Kept {
    /// Remembers the terminal of standard input, if it is one.
    #[must_use]
    pub fn now() -> Self {
        let ours = getpgrp();
        Self { modes: tcgetattr(stdin()).ok(), foreground: tcgetpgrp(stdin()).ok().filter(|group| *group == ours) }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(ours) = self.foreground else { return };
        // Whoever is not in the foreground is stopped by SIGTTOU when it changes the terminal, unless it blocks the signal.
        without_stop(|| {
            // The terminal may be gone: then there is nothing to restore.
            let _ = tcsetpgrp(stdin(), ours);
            if let Some(modes) = &self.modes {
                let _ = tcsetattr(stdin(), OptionalActions::Drain, modes);
            }
        });
    }
}

/// Does `work` with SIGTTOU blocked in this thread.
fn without_stop(work: impl FnOnce()) {
    // SAFETY: the sets are initialized before they are read, and live as long as the calls.
    unsafe {
        let (mut stop, mut before): (libc::sigset_t, libc::sigset_t) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigemptyset(&raw mut stop);
        libc::sigaddset(&raw mut stop, libc::SIGTTOU);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const stop, &raw mut before);
        work();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
    }
}
