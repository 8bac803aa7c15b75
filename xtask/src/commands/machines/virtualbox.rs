//! `run-live-vb`: boots the vdi in VirtualBox. Switches off and deletes the machine of an earlier run first.

use super::{ensure, machine::Place, require, run_all, show};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::{Cmd, Tool, vboxmanage};
use knobs::{ImageFormat, NetKnobs, PortKnobs, SerialKnobs, Subnet, VirtualBoxKnobs};
use std::{thread, time::Duration};

/// Seconds between checks whether a machine has switched itself off, 30 in total: enough for a guest that reacts to the power button.
const WAITS: [u64; 5] = [1, 2, 4, 8, 15];

/// The machine's settings.
#[derive(clap::Args)]
pub struct RunLiveVb {
    #[command(flatten)]
    machine: VirtualBoxKnobs,
    #[command(flatten)]
    nets: NetKnobs,
    #[command(flatten)]
    serial: SerialKnobs,
    #[command(flatten)]
    port: PortKnobs,
}

/// `run-live-vb`.
pub fn run(ctx: &Ctx, asked: RunLiveVb) -> Result<()> {
    let place = Place::find(ctx)?;
    require(ctx, &place.media.live(ImageFormat::Vdi), "live-vdi")?;
    if ctx.globals.dry_run {
        show(&[vboxmanage::list(&ctx.tools, "vms"), vboxmanage::list_networks(&ctx.tools)]);
        show(&networks(ctx, &asked.nets).map(|(_, cmd)| cmd));
        show(&commands(ctx, &place, &asked));
        return Ok(());
    }
    ensure(ctx, &[Tool::VBoxManage])?;
    remove_old(ctx, &asked.machine.name)?;
    let there = vboxmanage::list_networks(&ctx.tools).stdout()?;
    let missing = networks(ctx, &asked.nets).into_iter().filter(|(name, _)| !vboxmanage::parse_has_network(&there, name));
    run_all(missing.map(|(_, cmd)| cmd).collect())?;
    run_all(commands(ctx, &place, &asked))
}

/// The machine's networks, and the command that makes each.
fn networks(ctx: &Ctx, nets: &NetKnobs) -> [(&'static str, Cmd); 2] {
    let of = |at: usize, net: Subnet| {
        let name = vboxmanage::NETWORKS[at];
        (name, vboxmanage::add_network(&ctx.tools, name, &net.to_string()))
    };
    [of(0, nets.net1), of(1, nets.net2)]
}

fn commands(ctx: &Ctx, place: &Place, asked: &RunLiveVb) -> Vec<Cmd> {
    let RunLiveVb { machine, serial, port, .. } = asked;
    let machine = vboxmanage::Machine {
        name: &machine.name,
        cpus: &machine.cpus.to_string(),
        memory: &machine.memory.to_string(),
        port: port.ssh_port,
        serial_number: &serial.serial_number,
        vdi: &place.media.live(ImageFormat::Vdi),
        folder: &ctx.dist().arch(ctx.knobs.image.arch),
    };
    vboxmanage::create_and_start(&ctx.tools, &machine)
}

/// Switches off and removes the machine of that name.
fn remove_old(ctx: &Ctx, name: &str) -> Result<()> {
    let tools = &ctx.tools;
    let is_in = |which: &str| anyhow::Ok(vboxmanage::parse_has(&vboxmanage::list(tools, which).stdout()?, name));
    if !is_in("vms")? {
        return Ok(());
    }
    if is_in("runningvms")? {
        eprintln!("switching off the machine {name}");
        // A guest without ACPI ignores the power button; then cut the power.
        let pressed = vboxmanage::press_power(tools, name).status_ok()?;
        let mut runs = true;
        for wait in WAITS.iter().take_while(|_| pressed) {
            thread::sleep(Duration::from_secs(*wait));
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
            "the machine {name} was not made by run-live-vb, so it is not deleted\nhint: VB_VM_NAME=… for another name, \
             or VBoxManage unregistervm {name}"
        )
    })?;
    run_all(vec![vboxmanage::delete(tools, name)])
}
