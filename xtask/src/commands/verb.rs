//! A verb: its name, its help, its arguments, and the function that runs.

use super::build;
use anyhow::Result;
use checkout::context::Ctx;
use child::environment::Environment;
use clap::{ArgMatches, Args, Command};
use common::error::usage;
use plan::{Capabilities, Goal, Profile};

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
    /// Whether it may build packages.
    pub packages: bool,
    /// What a tree must have so that the verb has something to work on.
    pub wants: Wants,
    /// What runs in place of the build alone, in a verb that builds a goal and has arguments of its own.
    pub instead: Option<&'static dyn RunMatches<Ctx>>,
    /// The verb that makes what this one boots or uploads.
    pub after: Option<&'static str>,
}

/// What a verb works on, besides the packages and templates that every tree has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// Nothing else.
    Nothing,
    /// The protobuf definitions of EVE's API.
    Api,
    /// The Go sources of pillar.
    Pillar,
    /// The compose file of EVE's microservices.
    Compose,
    /// The settings of a build machine.
    BuildMachine,
    /// The Dockerfile of an image with the sources.
    Sources,
}

impl Wants {
    /// What a tree with these capabilities lacks; none if it has all.
    #[must_use]
    pub const fn lacks(self, can: Capabilities) -> Option<&'static str> {
        if can.has_pillar {
            return None;
        }
        match self {
            Self::Nothing => None,
            Self::Api => Some("api/proto, the protobuf definitions that the API's sources are generated from"),
            Self::Pillar => Some("pkg/pillar, EVE's Go sources"),
            Self::Compose => Some("docker-compose.yml, which starts the services of pillar in containers"),
            Self::Sources => Some("pkg/sources, the Dockerfile of an image with the sources"),
            Self::BuildMachine => Some("build-tools/src/scripts/cloud-init.in, the settings of a GitHub runner for lf-edge/eve"),
        }
    }
}

/// A verb that sets no knobs, builds nothing, and works on what every tree has.
const fn plain(name: &'static str, about: &'static str, arguments: fn(Command) -> Command, action: Action) -> Verb {
    Verb { name, about, arguments, action, sets: &[], builds: false, packages: false, wants: Wants::Nothing, instead: None, after: None }
}

/// A verb on a tree with arguments of its own.
pub const fn verb<A: Args>(name: &'static str, about: &'static str, run: &'static Run<Ctx, A>) -> Verb {
    plain(name, about, A::augment_args, Action::OnTree(run))
}

/// A verb that needs no tree.
pub const fn anywhere<A: Args>(name: &'static str, about: &'static str, run: &'static Run<Environment, A>) -> Verb {
    plain(name, about, A::augment_args, Action::Anywhere(run))
}

/// A verb that builds a goal and has no arguments of its own.
pub const fn target(name: &'static str, about: &'static str, goal: fn(&Ctx) -> Result<Goal>) -> Verb {
    plain(name, about, no_arguments, Action::Builds(goal)).building()
}

/// A verb that builds a goal, and with its own arguments does something with the artifact.
pub const fn target_and<A: Args>(
    name: &'static str,
    about: &'static str,
    goal: fn(&Ctx) -> Result<Goal>,
    run: &'static Run<Ctx, A>,
) -> Verb {
    Verb { arguments: A::augment_args, instead: Some(run), ..target(name, about, goal) }
}

/// A verb on a tree without arguments of its own.
pub const fn simple(name: &'static str, about: &'static str, run: fn(&Ctx) -> Result<()>) -> Verb {
    plain(name, about, no_arguments, Action::Simple(run))
}

impl Verb {
    /// The same verb with knobs that its name sets.
    pub const fn sets(self, sets: &'static [(&'static str, &'static str)]) -> Self {
        Self { sets, ..self }
    }

    /// The same verb, which builds, packages too: its help shows the knobs of a build.
    pub const fn building(self) -> Self {
        Self { builds: true, packages: true, ..self }
    }

    /// The same verb, which builds no package.
    pub const fn without_packages(self) -> Self {
        Self { packages: false, ..self }
    }

    /// The same verb, which works on `wants`.
    pub const fn on(self, wants: Wants) -> Self {
        Self { wants, ..self }
    }

    /// The same verb, which boots or uploads what the verb `name` makes.
    pub const fn after(self, name: &'static str) -> Self {
        Self { after: Some(name), ..self }
    }

    /// Why the tree has nothing for the verb to work on; none if it has.
    #[must_use]
    pub fn pointless(&self, profile: &Profile, can: Capabilities) -> Option<String> {
        self.wants.lacks(can).map(|what| format!("`{}` has nothing to do in {}: it has no {what}", self.name, profile.tree.name))
    }

    /// Runs it on a tree, with the arguments in `matches`.
    pub fn run(&self, ctx: &Ctx, matches: &ArgMatches) -> Result<()> {
        if let Some(why) = self.pointless(&ctx.profile, ctx.capabilities()) {
            return Err(usage(format!("{why}\nhint: a checkout of lf-edge/eve has it: cargo xtask --root DIR {}", self.name)));
        }
        match self.action {
            Action::OnTree(run) => run.run(ctx, matches),
            Action::Simple(run) => run(ctx),
            Action::Builds(goal) => match self.instead {
                Some(run) => run.run(ctx, matches),
                None => build::build(ctx, &goal(ctx)?),
            },
            Action::Anywhere(run) => run.run(&ctx.environment, matches),
        }
    }
}

fn no_arguments(command: Command) -> Command {
    command
}
