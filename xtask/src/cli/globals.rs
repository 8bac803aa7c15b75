//! The options of all verbs, which may stand before or after the verb.

use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::path::PathBuf;

/// The options of all verbs.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// build the tree in DIR instead of this one
    #[arg(id = "root", long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// build in this process (native), or with docker and linuxkit; default: the tree's profile
    #[arg(id = "engine", long, value_name = "ENGINE", value_parser = ["native", "linuxkit"])]
    pub engine: Option<String>,
    /// print the plan and why each step is due; build nothing
    #[arg(id = "dry_run", long = "dry-run", short = 'n')]
    pub dry_run: bool,
    /// never use the network
    #[arg(id = "offline", long)]
    pub offline: bool,
    /// number of parallel steps [default: the number of processors]
    #[arg(id = "jobs", short = 'j', value_name = "N", num_args = 0..=1, default_missing_value = "0")]
    pub jobs: Option<usize>,
    /// show the output of tools while they run, after the name of their step
    #[arg(id = "verbose", long, short = 'v')]
    pub verbose: bool,
    /// print results as JSON, if the verb has results
    #[arg(id = "json", long)]
    pub json: bool,
}

impl Options {
    /// Merges these options with `later`, which take precedence.
    #[must_use]
    pub fn and(self, later: Self) -> Self {
        Self {
            root: later.root.or(self.root),
            engine: later.engine.or(self.engine),
            dry_run: self.dry_run || later.dry_run,
            offline: self.offline || later.offline,
            jobs: later.jobs.or(self.jobs),
            verbose: self.verbose || later.verbose,
            json: self.json || later.json,
        }
    }

    /// Reads the options from `matches`.
    pub fn of(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Self::from_arg_matches(matches)
    }
}

/// Adds the arguments of `A` to `command`; with `hide`, hides them in the help. If the command already has an option of that name, the
/// added one becomes `--xtask-NAME`.
pub fn add<A: Args>(mut command: Command, hide: bool) -> Command {
    for arg in A::augment_args(Command::new("more")).get_arguments() {
        let mut arg = arg.clone().hide(hide);
        if command.get_arguments().any(|own| own.get_id() == arg.get_id()) {
            continue;
        }
        if command.get_arguments().any(|own| own.get_long().is_some() && own.get_long() == arg.get_long()) {
            let other = format!("xtask-{}", arg.get_id());
            arg = arg.long(other).hide(true);
        }
        if command.get_arguments().any(|own| own.get_short().is_some() && own.get_short() == arg.get_short()) {
            arg = arg.short(None);
        }
        command = command.arg(arg);
    }
    command
}

/// The index of the verb in `words`: after the options and their values.
#[must_use]
pub fn verb_at(words: &[String]) -> usize {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let takes_value = matches!(word.as_str(), "--root" | "--engine")
            || word == "-j" && words.get(at + 1).is_some_and(|next| next.parse::<usize>().is_ok());
        match word.starts_with('-') {
            true if takes_value => at += 2,
            true => at += 1,
            false => break,
        }
    }
    at.min(words.len())
}

/// The last value of the option `--NAME` in `words` before `--`, for options that we need before clap parses.
#[must_use]
pub fn value_of<'w>(words: &'w [String], name: &str) -> Option<&'w str> {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let option = format!("--{name}");
    let mut found = None;
    for (at, word) in words[..end].iter().enumerate() {
        match word.strip_prefix(&option) {
            Some("") => found = words[..end].get(at + 1).map(String::as_str).or(found),
            Some(value) if value.starts_with('=') => found = Some(&value[1..]),
            _ => {}
        }
    }
    found
}

/// Replaces a `-j` without a number by `-j0` (one step per processor), so that clap does not take the next word as its number.
pub fn close_jobs(words: &mut [String]) {
    for at in 0..words.len() {
        let is_alone = words.get(at + 1).is_none_or(|next| next.parse::<usize>().is_err());
        if words[at] == "-j" && is_alone {
            "-j0".clone_into(&mut words[at]);
        }
    }
}
