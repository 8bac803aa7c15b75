//! The two RUN commands that the native builder executes in process, and their detection.

use super::{ArchiveOptions, DeployOptions, Fetched, Lock, build_archive, deploy};
use crate::builder::Step;
use anyhow::{Context as _, Result};
use filetree::Tree;
use std::{collections::BTreeMap, path::PathBuf};

/// Executes deploy and archive steps, for [`BuildHost::builtin`](crate::builder::BuildHost::builtin).
pub struct Builtins<'a> {
    /// Fetches the files of a lock for a release and architecture: usually [`super::Store::fetch_all`].
    pub fetch: &'a (dyn Fn(&Lock, &str, &str) -> Result<Fetched> + Sync),
    /// Folder for temporary files; holds the unpacked packages.
    pub spool: PathBuf,
    /// Number of packages to unpack in parallel.
    pub jobs: usize,
}

impl Builtins<'_> {
    /// Executes the step if it is a builtin; returns whether it is.
    pub fn run(&self, step: &Step, stage: &mut Tree) -> Result<bool> {
        let Some((builtin, env)) = Builtin::parse(&step.command, &step.env) else { return Ok(false) };
        let mtime = step.source_date_epoch;
        let done = match builtin {
            Builtin::Deploy => deploy(stage, &step.arch, &env, &DeployOptions { spool: &self.spool, jobs: self.jobs, mtime }).map(drop),
            Builtin::Archive => build_archive(stage, &step.arch, &ArchiveOptions { fetch: &self.fetch, spool: &self.spool, mtime }),
        };
        done.with_context(|| step.place.clone())?;
        Ok(true)
    }
}

/// A step that is executed without a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// `[NAME=value …] eve-debian-deploy.sh`: see [`deploy`].
    Deploy,
    /// `[NAME=value …] eve-debian-archive.sh`: see [`build_archive`].
    Archive,
}

impl Builtin {
    /// Parses the text after RUN; returns the builtin and `env` with the assignments before the command. `None` unless it is
    /// one plain command.
    #[must_use]
    pub fn parse(command: &str, env: &BTreeMap<String, String>) -> Option<(Self, BTreeMap<String, String>)> {
        let mut words = words(command, env)?.into_iter().peekable();
        let mut env = env.clone();
        while let Some((name, value)) = words.peek().and_then(|word| word.split_once('=')) {
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return None;
            }
            env.insert(name.to_owned(), value.to_owned());
            words.next();
        }
        let command = words.next()?;
        let name = command.strip_prefix("/bin/").unwrap_or(&command);
        let builtin = match (name, words.next()) {
            ("eve-debian-deploy.sh", None) => Self::Deploy,
            ("eve-debian-archive.sh", None) => Self::Archive,
            _ => return None,
        };
        Some((builtin, env))
    }
}

/// Splits a plain command into words, with shell quotes and variables; `None` if it contains other shell syntax. A variable's
/// value is always one word, which is right only in assignments.
fn words(command: &str, env: &BTreeMap<String, String>) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = command.trim().chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            ('$', None | Some('"')) => {
                let braced = chars.next_if_eq(&'{').is_some();
                let mut name = String::new();
                while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                }
                if name.is_empty() || braced && chars.next() != Some('}') {
                    return None;
                }
                word.get_or_insert_default().push_str(env.get(&name).map_or("", String::as_str));
            }
            ('`' | '\\', None | Some('"')) | (';' | '&' | '|' | '<' | '>' | '(' | ')' | '*' | '?' | '[' | '{' | '~' | '#' | '!', None) => {
                return None;
            }
            (c, None) if c.is_ascii_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_commands_are_taken() {
        let env: BTreeMap<String, String> = [("BASE".to_owned(), "tar cpio".to_owned())].into();
        let (builtin, with) = Builtin::parse(" BUILD_PKGS=\"${BASE} kmod\" X='$BASE' eve-debian-deploy.sh ", &env).unwrap();
        assert_eq!(builtin, Builtin::Deploy);
        assert_eq!((with["BUILD_PKGS"].as_str(), with["X"].as_str()), ("tar cpio kmod", "$BASE"));
        assert_eq!(Builtin::parse("eve-debian-archive.sh", &env).unwrap().0, Builtin::Archive);
        assert_eq!(Builtin::parse("/bin/eve-debian-deploy.sh", &env).unwrap().0, Builtin::Deploy);
        for other in [
            "eve-debian-deploy.sh && rm -rf /out/etc",
            "eve-debian-deploy.sh; true",
            "eve-debian-deploy.sh extra",
            "eve-debian-archive.sh extra",
            "PKGS=$(cat list) eve-debian-deploy.sh",
            "PKGS=\"open eve-debian-deploy.sh",
            "sh -c eve-debian-deploy.sh",
            "make",
            "",
        ] {
            assert!(Builtin::parse(other, &env).is_none(), "{other}");
        }
    }
}
