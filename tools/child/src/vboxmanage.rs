//! VBoxManage: commands for machines of VirtualBox, and the parser of its list.

use super::{Cmd, Tool, Tools};
use std::path::Path;

/// The controller of our machines' disk.
const CONTROLLER: &str = "SATA Controller";
/// The setting of a machine's serial number.
const SERIAL_NUMBER: &str = "VBoxInternal/Devices/pcbios/0/Config/DmiSystemSerial";

fn manage(tools: &Tools, step: &str, verb: &str, name: &str) -> Cmd {
    tools.cmd_unchecked(Tool::VBoxManage).step(format!("{step} the machine {name}")).args([verb, name])
}

/// The command that lists machines: `vms` for all, `runningvms` for those that run.
pub fn list(tools: &Tools, which: &str) -> Cmd {
    tools.cmd_unchecked(Tool::VBoxManage).step("looking for machines").args(["list", which])
}

/// Whether the output of [`list`] contains the machine: each line is a name in quotes and an id in braces.
#[must_use]
pub fn parse_has(text: &str, name: &str) -> bool {
    text.lines().filter_map(|line| line.trim_end().strip_prefix('"')?.rsplit_once("\" {")).any(|(found, _)| found == name)
}

/// The command that presses its power button.
pub fn press_power(tools: &Tools, name: &str) -> Cmd {
    manage(tools, "switching off", "controlvm", name).arg("acpipowerbutton")
}

/// The command that switches it off at once.
pub fn power_off(tools: &Tools, name: &str) -> Cmd {
    manage(tools, "switching off", "controlvm", name).arg("poweroff")
}

/// The command that detaches its disk, because deleting a machine deletes attached disks.
pub fn detach_disk(tools: &Tools, name: &str) -> Cmd {
    let place = ["--storagectl", CONTROLLER, "--port", "0", "--device", "0", "--medium", "none"];
    manage(tools, "taking the disk out of", "storageattach", name).args(place)
}

/// The command that deletes it and its folder.
pub fn delete(tools: &Tools, name: &str) -> Cmd {
    manage(tools, "deleting", "unregistervm", name).arg("--delete")
}

/// The networks to which a machine's cards are connected, by their names in VirtualBox.
pub const NETWORKS: [&str; 2] = ["natnet1", "natnet2"];

/// The command that lists VirtualBox's NAT networks.
pub fn list_networks(tools: &Tools) -> Cmd {
    tools.cmd_unchecked(Tool::VBoxManage).step("looking for networks").args(["list", "natnets"])
}

/// Whether the output of [`list_networks`] contains the network: versions call the line with its name `NetworkName` or `Name`.
#[must_use]
pub fn parse_has_network(text: &str, name: &str) -> bool {
    let value = |line: &str| {
        line.split_once(':').filter(|(key, _)| ["NetworkName", "Name"].contains(&key.trim())).map(|(_, value)| value.trim() == name)
    };
    text.lines().filter_map(value).any(|is_it| is_it)
}

/// The command that makes the NAT network `name`.
pub fn add_network(tools: &Tools, name: &str, network: &str) -> Cmd {
    let cmd = tools.cmd_unchecked(Tool::VBoxManage).step(format!("making the network {name}"));
    cmd.args(["natnetwork", "add", "--netname", name, "--network", network, "--enable"])
}

/// A machine to create.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'m> {
    /// Its name.
    pub name: &'m str,
    /// The number of its processors.
    pub cpus: &'m str,
    /// Its memory in MiB.
    pub memory: &'m str,
    /// The port of this machine that leads to its ssh server.
    pub port: u16,
    /// Its serial number.
    pub serial_number: &'m str,
    /// Its disk.
    pub vdi: &'m Path,
    /// The folder for its own.
    pub folder: &'m Path,
}

/// The commands that create a machine, and start it.
pub fn create_and_start(tools: &Tools, machine: &Machine<'_>) -> Vec<Cmd> {
    let Machine { name, cpus, memory, port, serial_number, vdi, folder } = *machine;
    let modify = || manage(tools, "setting up", "modifyvm", name);
    let mut base = folder.as_os_str().to_owned();
    base.push("/");
    let create = tools.cmd_unchecked(Tool::VBoxManage).step(format!("making the machine {name}"));
    let disk = ["--port", "0", "--device", "0", "--type", "hdd", "--medium"];
    vec![
        create.args(["createvm", "--name", name, "--register", "--basefolder"]).arg(base),
        modify().args(["--cpus", cpus, "--memory", memory, "--vram", "16", "--nested-hw-virt", "on", "--ostype", "Ubuntu_64"]).args([
            "--mouse",
            "usbtablet",
            "--graphicscontroller",
            "vmsvga",
            "--boot1",
            "disk",
            "--boot2",
            "net",
        ]),
        manage(tools, "giving a controller to", "storagectl", name).args([
            "--name",
            CONTROLLER,
            "--add",
            "SATA",
            "--controller",
            "IntelAhci",
            "--bootable",
            "on",
            "--hostiocache",
            "on",
        ]),
        manage(tools, "giving the disk to", "storageattach", name).args(["--storagectl", CONTROLLER]).args(disk).arg(vdi),
        modify()
            .args(["--nic1", "natnetwork", "--nat-network1", NETWORKS[0], "--cableconnected1", "on", "--natpf1"])
            .arg(format!("ssh,tcp,,{port},,22")),
        modify().args(["--nic2", "natnetwork", "--nat-network2", NETWORKS[1], "--cableconnected2", "on"]),
        manage(tools, "giving a serial number to", "setextradata", name).arg(SERIAL_NUMBER).arg(serial_number),
        manage(tools, "switching on", "startvm", name),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_found_by_its_whole_name() {
        let text = "\"EVE_Live\" {00000000-0000-0000-0000-000000000000}\n\"a \"b\" {c}\" {1}\r\n";
        assert!(parse_has(text, "EVE_Live"));
        assert!(parse_has(text, "a \"b\" {c}"));
        assert!(!parse_has(text, "EVE"));
        assert!(!parse_has("", "EVE_Live"));
    }

    #[test]
    fn networks_are_found_in_the_lists_of_old_and_new_versions() {
        let old = "NetworkName:    natnet1\nIP:             192.168.1.1\nNetwork:        192.168.1.0/24\nloopback mappings (ipv4)\n        127.0.0.1=2\n";
        let new = "Name:         natnet2\nNetwork:      192.168.2.0/24\nGateway:      192.168.2.1\n";
        for (text, name, has) in [
            (old, "natnet1", true),
            (old, "natnet2", false),
            (new, "natnet2", true),
            (new, "192.168.2.0/24", false),
            ("", "natnet1", false),
        ] {
            assert_eq!(parse_has_network(text, name), has, "{name} in {text}");
        }
    }
}
