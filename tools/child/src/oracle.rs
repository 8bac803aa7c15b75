//! The conformance harness, a Python program outside this repository: it runs a command in a checkout of lf-edge/eve, records the calls
//! of all tools by replacing them.

use super::{Cmd, Tool, Tools};
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
}
