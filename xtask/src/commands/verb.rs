//! What a verb is: its name, its help, its arguments as a struct, and what runs.

use super::build;
use anyhow::Result;
use checkout::context::Ctx;
use child::environment::Environment;
use clap::{ArgMatches, Args, Command};
use plan::Goal;

/// The arguments of a verb, and what it does with them.
pub trait Run: Args {
    /// Runs the verb on the tree of `ctx`.
    fn run(self, ctx: &Ctx) -> Result<()>;
}

/// The same for a verb that needs no tree.
pub trait RunAnywhere: Args {
    /// Runs the verb.
    fn run(self, environment: &Environment) -> Result<()>;
}

/// How a verb runs.
#[derive(Clone, Copy)]
pub enum Action {
    /// On a tree, with its own arguments.
    OnTree(fn(&Ctx, &ArgMatches) -> Result<()>),
    /// On a tree, without arguments of its own.
    Simple(fn(&Ctx) -> Result<()>),
    /// Builds a goal of the tree.
    Builds(fn(&Ctx) -> Result<Goal>),
    /// Anywhere.
    Anywhere(fn(&Environment, &ArgMatches) -> Result<()>),
}

/// A verb of the command line.
#[derive(Clone, Copy)]
pub struct Verb {
    /// The word that a person types.
    pub name: &'static str,
    /// One line of help.
    pub about: &'static str,
    /// Adds the verb's own arguments to a command.
    pub arguments: fn(Command) -> Command,
    /// What runs.
    pub action: Action,
    /// Knobs that the verb's name sets, with their values: `live-gcp` is `live` with `IMAGE_FORMAT=gcp`.
    pub sets: &'static [(&'static str, &'static str)],
    /// Whether the verb builds, so that its help shows the knobs of a build.
    pub builds: bool,
}

/// A verb whose arguments are the fields of `T`.
pub const fn verb<T: Run>(name: &'static str, about: &'static str) -> Verb {
    Verb { name, about, arguments: T::augment_args, action: Action::OnTree(run::<T>), sets: &[], builds: false }
}

/// A verb without a tree, whose arguments are the fields of `T`.
pub const fn anywhere<T: RunAnywhere>(name: &'static str, about: &'static str) -> Verb {
    Verb { name, about, arguments: T::augment_args, action: Action::Anywhere(run_anywhere::<T>), sets: &[], builds: false }
}

/// A verb that builds a goal and has no arguments of its own.
pub const fn target(name: &'static str, about: &'static str, goal: fn(&Ctx) -> Result<Goal>) -> Verb {
    Verb { name, about, arguments: same, action: Action::Builds(goal), sets: &[], builds: true }
}

/// A verb that has no arguments of its own.
pub const fn simple(name: &'static str, about: &'static str, run: fn(&Ctx) -> Result<()>) -> Verb {
    Verb { name, about, arguments: same, action: Action::Simple(run), sets: &[], builds: false }
}

impl Verb {
    /// The same verb with knobs that its name sets.
    pub const fn sets(self, sets: &'static [(&'static str, &'static str)]) -> Self {
        Self { sets, ..self }
    }

    /// The same verb, whose help shows the knobs of a build.
    pub const fn building(self) -> Self {
        Self { builds: true, ..self }
    }

    /// Runs it on a tree, with the arguments among `matches`.
    pub fn run(&self, ctx: &Ctx, matches: &ArgMatches) -> Result<()> {
        match self.action {
            Action::OnTree(run) => run(ctx, matches),
            Action::Simple(run) => run(ctx),
            Action::Builds(goal) => build::build(ctx, &goal(ctx)?),
            Action::Anywhere(run) => run(&ctx.environment, matches),
        }
    }
}

fn same(command: Command) -> Command {
    command
}

fn run<T: Run>(ctx: &Ctx, matches: &ArgMatches) -> Result<()> {
    T::from_arg_matches(matches)?.run(ctx)
}

fn run_anywhere<T: RunAnywhere>(environment: &Environment, matches: &ArgMatches) -> Result<()> {
    T::from_arg_matches(matches)?.run(environment)
}
