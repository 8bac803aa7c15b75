//! VBoxManage: commands for machines of VirtualBox, and the parser of its list.

use super::{Cmd, Tool, Tools};
use std::path::Path;

/// The controller of our machines' disk.
const CONTROLLER: &str = "SATA Controller";

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

/// The commands that create a machine with the disk `vdi` below `folder`, and start it.
pub fn create_and_start(tools: &Tools, name: &str, cpus: &str, memory: &str, port: u16, vdi: &Path, folder: &Path) -> Vec<Cmd> {
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
            .args(["--nic1", "natnetwork", "--nat-network1", "natnet1", "--cableconnected1", "on", "--natpf1"])
            .arg(format!("ssh,tcp,,{port},,22")),
        modify().args(["--nic2", "natnetwork", "--nat-network2", "natnet2", "--cableconnected2", "on"]),
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
}
