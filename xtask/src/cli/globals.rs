//! The options of all verbs, which may stand before or after the verb, and the option of verbs that build packages.

use crate::commands::Verb;
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

/// The option of verbs that build packages.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct OnFailure {
    /// where a RUN line of a Dockerfile fails, open a shell among the files that it left; the build fails when the shell ends
    #[arg(id = "shell_on_failure", long = "shell-on-failure")]
    pub shell_on_failure: bool,
}

impl OnFailure {
    /// Reads the option from `matches` of a verb that has it.
    pub fn of(verb: &Verb, matches: &ArgMatches) -> Result<Self, clap::Error> {
        if verb.packages { Self::from_arg_matches(matches) } else { Ok(Self::default()) }
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
