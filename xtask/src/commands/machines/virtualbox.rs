//! `run-live-vb`: the vdi in VirtualBox. A machine of an earlier run is switched off and deleted first.

use super::{super::Run, ensure, machine::Place, require, run_all, show};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::{Cmd, Tool, vboxmanage};
use knobs::{ImageFormat, PortKnobs, VirtualBoxKnobs};
use std::{thread, time::Duration};

/// Waits between looks whether a machine has switched itself off: half a minute in all, which a guest that listens does in.
const WAITS: [u64; 5] = [1, 2, 4, 8, 15];

/// `run-live-vb`.
#[derive(clap::Args)]
pub struct RunLiveVb {
    #[command(flatten)]
    machine: VirtualBoxKnobs,
    #[command(flatten)]
    port: PortKnobs,
}

impl Run for RunLiveVb {
    fn run(self, ctx: &Ctx) -> Result<()> {
        run_in_virtualbox(ctx, &self)
    }
}

fn run_in_virtualbox(ctx: &Ctx, asked: &RunLiveVb) -> Result<()> {
    let place = Place::find(ctx)?;
    require(ctx, &place.build.live(ImageFormat::Vdi), "live-vdi")?;
    if ctx.globals.dry_run {
        show(&[vboxmanage::list(&ctx.tools, "vms")]);
        show(&commands(ctx, &place, asked));
        return Ok(());
    }
    ensure(ctx, &[Tool::VBoxManage])?;
    remove_old(ctx, &asked.machine.name, Duration::from_secs(1))?;
    run_all(commands(ctx, &place, asked))
}

fn commands(ctx: &Ctx, place: &Place, RunLiveVb { machine, port }: &RunLiveVb) -> Vec<Cmd> {
    let folder = ctx.dist().arch(ctx.knobs.image.arch);
    let (cpus, memory) = (machine.cpus.to_string(), machine.memory.to_string());
    vboxmanage::create_and_start(&ctx.tools, &machine.name, &cpus, &memory, port.ssh_port, &place.build.live(ImageFormat::Vdi), &folder)
}

/// Removes the machine of that name, once it is off; `second` is how long a second is.
fn remove_old(ctx: &Ctx, name: &str, second: Duration) -> Result<()> {
    let tools = &ctx.tools;
    let is_in = |which: &str| anyhow::Ok(vboxmanage::parse_has(&vboxmanage::list(tools, which).stdout()?, name));
    if !is_in("vms")? {
        return Ok(());
    }
    if is_in("runningvms")? {
        eprintln!("switching off the machine {name}");
        // A guest without ACPI does not hear its button; then the plug is pulled.
        let pressed = vboxmanage::press_power(tools, name).status_ok()?;
        let mut runs = true;
        for wait in WAITS.iter().take_while(|_| pressed) {
            thread::sleep(second * u32::try_from(*wait).unwrap_or(1));
            runs = is_in("runningvms")?;
            if !runs {
                break;
            }
        }
        if runs {
            vboxmanage::power_off(tools, name).run()?;
        }
    }
    vboxmanage::detach_disk(tools, name).run().with_context(|| {
        format!(
            "there is a machine {name} that was not made here, and it is not deleted\nhint: VB_VM_NAME=… takes another name, \
             VBoxManage unregistervm {name} forgets it"
        )
    })?;
    run_all(vec![vboxmanage::delete(tools, name)])
}
