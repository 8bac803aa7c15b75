//! The conformance harness: a Python program outside of this repository that runs a command under recording stand-ins for all tools
//! on a checkout of lf-edge/eve, and compares two recordings.

use super::{Cmd, Output, Tool, Tools};
use anyhow::{Context as _, Result, bail};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// The harness, with a folder of its own to work in.
pub struct Oracle {
    tools: Tools,
    program: PathBuf,
    work: PathBuf,
}

impl Oracle {
    /// `folder` holds `oracle.py` and the recordings; `work` gets the checkout that is reset before every run.
    pub fn new(tools: &Tools, folder: &Path, work: &Path) -> Result<Self> {
        let program = folder.join("oracle.py");
        if !program.is_file() {
            bail!("there is no harness in `{}`: it has no oracle.py", folder.display());
        }
        std::fs::create_dir_all(work).with_context(|| format!("cannot make the folder `{}`", work.display()))?;
        Ok(Self { tools: tools.clone(), program, work: work.to_owned() })
    }

    fn command(&self, step: String) -> Result<Cmd> {
        Ok(self.tools.cmd(Tool::Python)?.step(step).env("EVE_CONFORMANCE_WORK", &self.work).arg(&self.program))
    }

    /// The checkout.
    #[must_use]
    pub fn checkout(&self) -> PathBuf {
        self.work.join("eve2023")
    }

    /// Makes the checkout from the git repository `eve` unless it is there.
    pub fn prepare(&self, eve: &Path) -> Result<()> {
        if self.checkout().is_dir() {
            return Ok(());
        }
        self.command("making a checkout to test on".into())?.arg("prepare").arg(eve).run()
    }

    /// Runs `words` as the scenario `name` has it, with `make` for the make of its preparation, and records it in `out`.
    pub fn exec(&self, name: &str, make: &str, words: &[String], out: &Path) -> Result<()> {
        let cmd = self.command(format!("running the scenario {name}"))?.args(["exec", "2023", name, "--make", make, "--out"]);
        cmd.arg(out).arg("--").args(words).run()
    }

    /// The differences between two recordings, a line each: `missing: …` and `extra: …`.
    pub fn differences(&self, wanted: &Path, made: &Path) -> Result<Vec<String>> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&lines);
        let sink = Output::to(move |line| seen.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned()));
        // Its status says whether they differ, which its lines say too.
        self.command("comparing two recordings".into())?.arg("calls").arg(wanted).arg(made).output(&sink).status_ok()?;
        let mut lines = std::mem::take(&mut *lines.lock().unwrap_or_else(PoisonError::into_inner));
        if !lines.last().is_some_and(|line| line.contains("calls wanted")) {
            bail!("the harness could not compare `{}`: {}", made.display(), lines.last().map_or("it said nothing", String::as_str));
        }
        lines.retain(|line| line.starts_with("missing:") || line.starts_with("extra:"));
        // The harness pads the shorter word.
        Ok(lines.iter().map(|line| line.replacen("extra:   ", "extra: ", 1)).collect())
    }
}
