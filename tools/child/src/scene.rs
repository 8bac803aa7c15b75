//! Commands whose end and words are wanted and not judged: make, or this program, while `conformance` records it. Knows no scenario.

use super::{
    Tools, Variables,
    cmd::{Cmd, Output},
    failure::{Exit, exit_of},
};
use anyhow::{Context as _, Result};
use std::{
    ffi::OsString,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Passes the output on until every process that holds it has ended, also those in the background.
const TO_THE_END: &str = r#""$@" | cat; exit "${PIPESTATUS[0]}""#;

/// How a command ended.
#[derive(Debug)]
pub struct Played {
    /// The exit status; none after the time limit.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs `words` in `folder` with `variables` and nothing else.
pub fn play(tools: &Tools, words: &[OsString], folder: &Path, variables: &Variables, limit: Duration) -> Result<Played> {
    let bash =
        which::which_in("bash", tools.environment().get(std::ffi::OsStr::new("PATH")), "/").context("`bash` is not on this machine")?;
    let said = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&said);
    let errors = Output::to(move |line| {
        let mut text = sink.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(line);
        text.push('\n');
    });
    let cmd = Cmd::new(bash, variables).args(["-c", TO_THE_END, "scene"]).args(words).dir(folder).timeout(limit).output(&errors);
    let mut stdout = Vec::new();
    let ended = cmd.read_with(|output| {
        output.read_to_end(&mut stdout)?;
        Ok(())
    });
    let status = match ended {
        Ok(()) => Some(0),
        Err(error) => match exit_of(&error) {
            Some(Exit::Status(status)) => Some(status),
            Some(Exit::TimedOut(_)) => None,
            _ => return Err(error),
        },
    };
    let stderr = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Played { status, stdout: String::from_utf8_lossy(&stdout).into_owned(), stderr })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn status_and_words_are_those_of_the_command_and_of_its_children() {
        let tools = Tools::only_in(std::env::var_os("PATH").unwrap());
        let words = ["bash", "-c", "(sleep 0.2; echo late) & echo now; echo no >&2; exit 3"].map(OsString::from);
        let outcome = play(&tools, &words, Path::new("/"), tools.environment(), Duration::from_secs(60)).unwrap();
        assert_eq!((outcome.status, outcome.stdout.as_str(), outcome.stderr.as_str()), (Some(3), "now\nlate\n", "no\n"));
    }
}
