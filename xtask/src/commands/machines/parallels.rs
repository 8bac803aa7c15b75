//! `run-live-parallels`: boots the bundle of live-parallels in Parallels Desktop.

use super::{machine::Place, require, run_all, show};
use anyhow::Result;
use checkout::context::Ctx;
use child::{Cmd, Tool, prlctl, prlctl::Machine, prlctl::MachineState};
use common::error::usage;
use knobs::{ImageFormat, ParallelsKnobs, PortKnobs};

/// The machine's settings.
#[derive(clap::Args)]
pub struct RunLiveParallels {
    #[command(flatten)]
    machine: ParallelsKnobs,
    #[command(flatten)]
    port: PortKnobs,
}

/// `run-live-parallels`.
pub fn run(ctx: &Ctx, asked: RunLiveParallels) -> Result<()> {
    let place = Place::find(ctx)?;
    let bundle = place.build.live(ImageFormat::Parallels);
    require(ctx, &bundle, "live-parallels")?;
    let list = prlctl::list(&ctx.tools);
    let name = &asked.machine.name;
    if ctx.globals.dry_run {
        show(&[list]);
        show(&commands(ctx, &place, &asked, None));
        return Ok(());
    }
    for tool in [Tool::Prlctl, Tool::Prlsrvctl] {
        if ctx.tools.find(tool).is_err() {
            return Err(usage(format!("`{}` is missing: it is part of Parallels Desktop", tool.info().name)));
        }
    }
    let state = prlctl::parse_state(&list.stdout()?, name);
    run_all(commands(ctx, &place, &asked, state))
}

/// The commands that bring the machine from `state` to running on the bundle.
fn commands(ctx: &Ctx, place: &Place, asked: &RunLiveParallels, state: Option<MachineState>) -> Vec<Cmd> {
    let tools = &ctx.tools;
    let bundle = place.build.live(ImageFormat::Parallels);
    let ParallelsKnobs { name, cpus, memory } = &asked.machine;
    let (cpus, memory) = (cpus.to_string(), memory.to_string());
    let machine = Machine { name, cpus: &cpus, memory: &memory, bundle: &bundle };
    let mut commands = Vec::new();
    if state == Some(MachineState::Invalid) {
        commands.push(prlctl::unregister(tools, name));
    }
    match state {
        Some(MachineState::Active | MachineState::Stopped) => {
            // `prlctl stop` fails on a stopped machine.
            commands.extend((state == Some(MachineState::Active)).then(|| prlctl::kill(tools, name)));
            commands.push(prlctl::set_up(tools, &machine, ["--device-set", "hdd0"]));
        }
        Some(MachineState::Invalid) | None => {
            commands.push(prlctl::create(tools, name, &ctx.dist().arch(ctx.knobs.image.arch)));
            commands.push(prlctl::set_up(tools, &machine, ["--device-add", "hdd"]));
            commands.extend(prlctl::set_networks(tools, name, asked.port.ssh_port));
        }
    }
    commands.push(prlctl::start(tools, name));
    commands
}
