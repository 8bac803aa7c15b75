//! A verb: its name, its help, its arguments, and the function that runs.

use super::build;
use anyhow::Result;
use checkout::context::Ctx;
use child::environment::Environment;
use clap::{ArgMatches, Args, Command};
use plan::Goal;

/// The function of a verb, which takes the verb's arguments as the struct `A`. `C` is [`Ctx`], or [`Environment`] for a verb that
/// needs no tree.
pub struct Run<C, A>(pub fn(&C, A) -> Result<()>);

/// A [`Run`] whose arguments are still clap's matches.
pub trait RunMatches<C> {
    /// Reads the arguments and calls the function.
    fn run(&self, context: &C, matches: &ArgMatches) -> Result<()>;
}

impl<C, A: Args> RunMatches<C> for Run<C, A> {
    fn run(&self, context: &C, matches: &ArgMatches) -> Result<()> {
        (self.0)(context, A::from_arg_matches(matches)?)
    }
}

/// How a verb runs.
#[derive(Clone, Copy)]
pub enum Action {
    /// On a tree, with arguments of its own.
    OnTree(&'static dyn RunMatches<Ctx>),
    /// On a tree, without arguments of its own.
    Simple(fn(&Ctx) -> Result<()>),
    /// Builds a goal of the tree.
    Builds(fn(&Ctx) -> Result<Goal>),
    /// Without a tree.
    Anywhere(&'static dyn RunMatches<Environment>),
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
    /// How it runs.
    pub action: Action,
    /// Knobs that the verb's name sets, with their values: `live-gcp` is `live` with `IMAGE_FORMAT=gcp`.
    pub sets: &'static [(&'static str, &'static str)],
    /// Whether the verb builds, so that its help shows the knobs of a build.
    pub builds: bool,
}

/// A verb on a tree with arguments of its own.
pub const fn verb<A: Args>(name: &'static str, about: &'static str, run: &'static Run<Ctx, A>) -> Verb {
    Verb { name, about, arguments: A::augment_args, action: Action::OnTree(run), sets: &[], builds: false }
}

/// A verb that needs no tree.
pub const fn anywhere<A: Args>(name: &'static str, about: &'static str, run: &'static Run<Environment, A>) -> Verb {
    Verb { name, about, arguments: A::augment_args, action: Action::Anywhere(run), sets: &[], builds: false }
}

/// A verb that builds a goal and has no arguments of its own.
pub const fn target(name: &'static str, about: &'static str, goal: fn(&Ctx) -> Result<Goal>) -> Verb {
    Verb { name, about, arguments: no_arguments, action: Action::Builds(goal), sets: &[], builds: true }
}

/// A verb on a tree without arguments of its own.
pub const fn simple(name: &'static str, about: &'static str, run: fn(&Ctx) -> Result<()>) -> Verb {
    Verb { name, about, arguments: no_arguments, action: Action::Simple(run), sets: &[], builds: false }
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

    /// Runs it on a tree, with the arguments in `matches`.
    pub fn run(&self, ctx: &Ctx, matches: &ArgMatches) -> Result<()> {
        match self.action {
            Action::OnTree(run) => run.run(ctx, matches),
            Action::Simple(run) => run(ctx),
            Action::Builds(goal) => build::build(ctx, &goal(ctx)?),
            Action::Anywhere(run) => run.run(&ctx.environment, matches),
        }
    }
}

fn no_arguments(command: Command) -> Command {
    command
}
