//! git: reads facts of a checkout, clones and fetches, and changes a checkout for the commands that are meant to.

use super::{
    cmd::{Cmd, Variables},
    environment::Environment,
    failure::said,
};
use anyhow::{Context as _, Result};
use common::display::public_url;
use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Settings of a person or a machine that change what git prints but not what is so. A command that only looks gets git's
/// own defaults in their place.
const PRINTS: &[&str] = &[
    "color.ui=false",
    "column.ui=never",
    // The number of digits depends on the repository alone.
    "core.abbrev=auto",
    // A monitor that misses a change would hide it.
    "core.fsmonitor=false",
    "core.warnAmbiguousRefs=true",
    // `none` hides no change of a submodule, which is the default of `git status`.
    "diff.ignoreSubmodules=none",
    // `git status` fails where the file is missing.
    "diff.orderFile=/dev/null",
    "i18n.logOutputEncoding=UTF-8",
    "log.date=default",
    "log.follow=false",
    // Else gpg's words, or its absence, stand before the commit.
    "log.showSignature=false",
    "status.showUntrackedFiles=normal",
    "tag.sort=refname",
];

/// Variables that configure git besides its files. Containers declare `safe.directory` by them.
#[must_use]
pub fn is_setting(name: &str) -> bool {
    const NAMES: &[&str] = &["GLOBAL", "SYSTEM", "NOSYSTEM", "COUNT", "PARAMETERS"];
    name.strip_prefix("GIT_CONFIG_").is_some_and(|rest| NAMES.contains(&rest) || rest.starts_with("KEY_") || rest.starts_with("VALUE_"))
}

/// Variables that say who commits.
fn is_identity(name: &str) -> bool {
    ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"].contains(&name)
}

/// `base` and git's own settings of the environment. They stay out of printed command lines: a value may be a password.
fn with_settings<'e>(base: &Variables, environment: impl IntoIterator<Item = (&'e str, &'e str)>) -> Variables {
    let mut variables = (**base).clone();
    for (name, value) in environment.into_iter().filter(|(name, _)| is_setting(name) || is_identity(name)) {
        variables.entry(OsString::from(name)).or_insert_with(|| value.into());
    }
    Arc::new(variables)
}

/// git in one checkout.
#[derive(Clone, Debug)]
pub struct Git {
    program: PathBuf,
    base: Variables,
    root: PathBuf,
}

impl Git {
    /// The git at `program`, in the checkout at `root`, with `base` and the settings of git in `environment`.
    #[must_use]
    pub fn new(program: PathBuf, base: &Variables, environment: &Environment, root: PathBuf) -> Self {
        Self { program, base: with_settings(base, environment.all()), root }
    }

    fn command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Cmd {
        // Without optional locks `git status` does not rewrite the index, so it cannot disturb another git process.
        let cmd = Cmd::new(&self.program, &self.base).named("git").dir(&self.root).env("GIT_OPTIONAL_LOCKS", "0").env("LC_ALL", "C");
        cmd.args(PRINTS.iter().flat_map(|setting| ["-c", setting])).args(args)
    }

    /// The output of a command that only reads.
    pub fn look(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Vec<u8>> {
        self.command(args).stdout_bytes().map_err(|error| {
            let hint = match said(&error, "Not a valid object name HEAD") || said(&error, "does not have any commits yet") {
                true => "its branch has no commit yet: git add --all && git commit",
                false => "a tree is built from a git checkout",
            };
            error.context(format!("cannot read git's facts of `{}`\nhint: {hint}", self.root.display()))
        })
    }

    /// Whether a command that only reads exits with status 0.
    pub fn finds(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<bool> {
        self.command(args).status_ok()
    }

    /// Clones the repository at `url` as a bare one into the new `folder`; returns git in that folder.
    pub fn clone_history(program: PathBuf, base: &Variables, environment: &Environment, url: &str, folder: &Path) -> Result<Self> {
        Self::clone_command(&program, base, environment, url, folder).run()?;
        Ok(Self::new(program, base, environment, folder.to_owned()))
    }

    /// The command of [`clone_history`](Self::clone_history).
    pub fn clone_command(program: &Path, base: &Variables, environment: &Environment, url: &str, folder: &Path) -> Cmd {
        let base = with_settings(base, environment.all());
        let cmd = Cmd::new(program, &base).named("git").step(format!("copying the history of {}", public_url(url)));
        cmd.args(["clone", "--quiet", "--bare", "--", url]).arg(folder)
    }

    /// Creates a repository in this folder, fetches one commit of `url` without its history, and checks it out.
    pub fn fetch_commit(&self, url: &str, commit: &str) -> Result<()> {
        self.change("making a repository", ["init", "-q"])?;
        self.change(&format!("fetching {commit} of {}", public_url(url)), ["fetch", "-q", "--depth", "1", url, commit])?;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Tool, fake};

    #[test]
    fn git_alone_gets_its_settings_and_no_command_line_shows_them() {
        let dir = tempfile::tempdir().unwrap();
        fake::tool(dir.path(), Tool::Git, "echo $GIT_CONFIG_COUNT $GIT_CONFIG_KEY_0 $GIT_CONFIG_VALUE_0 $GIT_CONFIG_GLOBAL; ");
        let tools = fake::tools(dir.path());
        let all = [
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "safe.directory"),
            ("GIT_CONFIG_VALUE_0", "s3cret"),
            ("GIT_CONFIG_GLOBAL", "/g"),
            ("GIT_DIR", "/elsewhere"),
            ("LD_PRELOAD", "x"),
        ];
        let base = with_settings(tools.environment(), all);
        assert_eq!(base.len(), tools.environment().len() + 4);
        let git = Git::new(tools.find(Tool::Git).unwrap(), &base, &Environment::default(), dir.path().to_owned());
        assert_eq!(git.look_text(["status"]).unwrap(), "1 safe.directory s3cret /g");
        assert!(!git.command(["status"]).to_string().contains("s3cret"));
    }
}
