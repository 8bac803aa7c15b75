//! The conformance harness, a Python program outside this repository: it runs a command in a checkout of lf-edge/eve, records the calls
//! of all tools by replacing them, and compares two recordings.

use super::{Cmd, Exit, Tool, Tools, failure::exit_of};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};

/// The harness and its working folder.
pub struct Oracle {
    tools: Tools,
    program: PathBuf,
    work: PathBuf,
}

impl Oracle {
    /// `folder` contains `oracle.py` and the recordings. The harness creates a checkout in `work` and resets it before every run.
    pub fn new(tools: &Tools, folder: &Path, work: &Path) -> Result<Self> {
        let program = folder.join("oracle.py");
        if !program.is_file() {
            bail!("`{}` contains no oracle.py, so it is no conformance harness", folder.display());
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

    /// Creates the checkout from the git repository `eve` unless it exists.
    pub fn prepare(&self, eve: &Path) -> Result<()> {
        if self.checkout().is_dir() {
            return Ok(());
        }
        self.command("making a checkout to test on".into())?.arg("prepare").arg(eve).run()
    }

    /// Runs the command `words` as the scenario `name` and records it in `out`. The scenario's preparation uses `make`.
    pub fn exec(&self, name: &str, make: &str, words: &[String], out: &Path) -> Result<()> {
        let cmd = self.command(format!("running the scenario {name}"))?.args(["exec", "2023", name, "--make", make, "--out"]);
        cmd.arg(out).arg("--").args(words).run()
    }

    /// The differences between two recordings, one per line: `missing: …` or `extra: …`.
    pub fn differences(&self, wanted: &Path, made: &Path) -> Result<Vec<String>> {
        let (mut lines, ended) = self.command("comparing two recordings".into())?.arg("calls").arg(wanted).arg(made).lines();
        // The status is not 0 if the recordings differ, which the lines say too.
        if let Err(error) = ended
            && !matches!(exit_of(&error), Some(Exit::Status(_)))
        {
            return Err(error);
        }
        if !lines.last().is_some_and(|line| line.contains("calls wanted")) {
            bail!("the harness could not compare `{}`: {}", made.display(), lines.last().map_or("it said nothing", String::as_str));
        }
        lines.retain(|line| line.starts_with("missing:") || line.starts_with("extra:"));
        // The harness pads `extra:` to the width of `missing:`.
        Ok(lines.iter().map(|line| line.replacen("extra:   ", "extra: ", 1)).collect())
    }
}
