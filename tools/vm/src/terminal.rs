//! The settings of the user's terminal, which QEMU changes and does not restore when it is killed.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::stdin;

/// Restores the settings when it is dropped.
pub(super) struct Terminal(Option<Termios>);

impl Terminal {
    /// The settings of standard input as they are now, if it is a terminal.
    pub(super) fn save() -> Self {
        Self(tcgetattr(stdin()).ok())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(settings) = &self.0 {
            // Fails if the terminal is gone.
            let _ = tcsetattr(stdin(), OptionalActions::Now, settings);
        }
    }
}
