//! The settings of the user's terminal: QEMU changes them and does not restore them when it is killed; a visit to a console changes them.

use anyhow::{Context as _, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::stdin;

/// Restores the settings when it is dropped.
pub(super) struct Terminal(Option<Termios>);

impl Terminal {
    /// The settings of standard input as they are now, if it is a terminal.
    pub(super) fn save() -> Self {
        Self(tcgetattr(stdin()).ok())
    }

    /// Passes every key unchanged from now on; none if standard input is no terminal.
    pub(super) fn raw() -> Result<Option<Self>> {
        let Ok(settings) = tcgetattr(stdin()) else { return Ok(None) };
        let mut raw = settings.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw).context("cannot change the settings of the terminal")?;
        Ok(Some(Self(Some(settings))))
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
