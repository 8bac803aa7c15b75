//! git: reads facts of a checkout, clones and fetches, and changes a checkout for the commands that are meant to.

use super::cmd::{Cmd, Variables};
use anyhow::{Context as _, Result};
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// git in one checkout.
#[derive(Clone, Debug)]
pub struct Git {
    program: PathBuf,
    base: Variables,
    root: PathBuf,
}

impl Git {
    /// The git at `program`, in the checkout at `root`.
    #[must_use]
    pub fn new(program: PathBuf, base: &Variables, root: PathBuf) -> Self {
        Self { program, base: base.clone(), root }
    }

    fn command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Cmd {
        // Without optional locks `git status` does not rewrite the index, so it cannot disturb another git process.
        Cmd::new(&self.program, &self.base).named("git").dir(&self.root).env("GIT_OPTIONAL_LOCKS", "0").env("LC_ALL", "C").args(args)
    }

    /// The output of a command that only reads.
    pub fn look(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Vec<u8>> {
        let output = self.command(args).stdout_bytes();
        output.with_context(|| format!("cannot read git's facts of `{}`\nhint: a tree is built from a git checkout", self.root.display()))
    }

    /// Whether a command that only reads exits with status 0.
    pub fn finds(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<bool> {
        self.command(args).status_ok()
    }

    /// Clones the repository at `url` as a bare one into the new `folder`; returns git in that folder.
    pub fn clone_history(program: PathBuf, base: &Variables, url: &str, folder: &Path) -> Result<Self> {
        Self::clone_command(&program, base, url, folder).run()?;
        Ok(Self::new(program, base, folder.to_owned()))
    }

    /// The command of [`clone_history`](Self::clone_history).
    pub fn clone_command(program: &Path, base: &Variables, url: &str, folder: &Path) -> Cmd {
        let cmd = Cmd::new(program, base).named("git").step(format!("copying the history of {url}"));
        cmd.args(["clone", "--quiet", "--bare", "--", url]).arg(folder)
    }

    /// Creates a repository in this folder, fetches one commit of `url` without its history, and checks it out.
    pub fn fetch_commit(&self, url: &str, commit: &str) -> Result<()> {
        self.change("making a repository", ["init", "-q"])?;
        self.change(&format!("fetching {commit} of {url}"), ["fetch", "-q", "--depth", "1", url, commit])?;
        self.change(&format!("checking {commit} out"), ["checkout", "-q", "FETCH_HEAD"])
    }

    /// Runs a command that changes the checkout. git may ask for the passphrase of a signing key on our terminal.
    pub fn change(&self, step: &str, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<()> {
        Cmd::new(&self.program, &self.base).named("git").step(step).dir(&self.root).args(args).run()
    }

    /// [`look`](Self::look) as text, without white space at the end.
    pub fn look_text(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<String> {
        text(self.look(args)?)
    }

    /// [`look`](Self::look) for several commands, which run in parallel.
    pub fn look_at_once<const N: usize>(&self, commands: [&[&str]; N]) -> [Result<Vec<u8>>; N] {
        std::thread::scope(|scope| {
            let running = commands.map(|args| scope.spawn(move || self.look(args)));
            running.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }
}

/// The text of git's output, without white space at the end.
pub fn text(output: Vec<u8>) -> Result<String> {
    let text = String::from_utf8(output).context("git printed something that is not UTF-8")?;
    Ok(text.trim_end().to_owned())
}
