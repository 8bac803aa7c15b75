//! `run-live-parallels`: the bundle in Parallels Desktop.

use super::{machine::Place, require, run_all, show};
use anyhow::Result;
use checkout::context::Ctx;
use child::{Cmd, Tool, prlctl, prlctl::Machine, prlctl::State};
use clap::ArgMatches;
use common::error::usage;
use knobs::ImageFormat;

/// `run-live-parallels`.
pub fn run(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    let place = Place::find(ctx)?;
    let bundle = place.build.live(ImageFormat::Parallels);
    require(ctx, &bundle, "live-parallels")?;
    let list = prlctl::list(&ctx.tools);
    let name = ctx.knobs.text("PARALLELS_VM_NAME");
    if ctx.globals.dry_run {
        show(&[list]);
        show(&commands(ctx, &place, None));
        return Ok(());
    }
    for tool in [Tool::Prlctl, Tool::Prlsrvctl] {
        if ctx.tools.find(tool).is_err() {
            return Err(usage(format!("`{}` comes with Parallels Desktop, which is not on this machine", tool.info().name)));
        }
    }
    let state = prlctl::parse_state(&list.stdout()?, name);
    run_all(commands(ctx, &place, state))
}

/// What brings the machine from `state` to running on the bundle.
fn commands(ctx: &Ctx, place: &Place, state: Option<State>) -> Vec<Cmd> {
    let (tools, knobs) = (&ctx.tools, &ctx.knobs);
    let bundle = place.build.live(ImageFormat::Parallels);
    let name = knobs.text("PARALLELS_VM_NAME");
    let machine = Machine { name, cpus: knobs.text("PARALLELS_CPUS"), memory: knobs.text("PARALLELS_MEMORY"), bundle: &bundle };
    let mut commands = Vec::new();
    if state == Some(State::Invalid) {
        commands.push(prlctl::unregister(tools, name));
    }
    match state {
        Some(State::Active | State::Stopped) => {
            // What does not run cannot be stopped.
            commands.extend((state == Some(State::Active)).then(|| prlctl::kill(tools, name)));
            commands.push(prlctl::set_up(tools, &machine, ["--device-set", "hdd0"]));
        }
        Some(State::Invalid) | None => {
            commands.push(prlctl::create(tools, name, &ctx.dist().arch(knobs.arch)));
            commands.push(prlctl::set_up(tools, &machine, ["--device-add", "hdd"]));
            commands.extend(prlctl::set_networks(tools, name, knobs.ssh_port));
        }
    }
    commands.push(prlctl::start(tools, name));
    commands
}
