//! prlctl and prlsrvctl: commands for machines of Parallels Desktop, and the parser of its list.

use super::{Cmd, Tool, Tools};
use std::path::Path;

/// The settings of a new machine.
pub struct Machine<'m> {
    /// Its name.
    pub name: &'m str,
    /// Its processors.
    pub cpus: &'m str,
    /// Its memory in MiB.
    pub memory: &'m str,
    /// The bundle with its disk.
    pub bundle: &'m Path,
}

/// The state of a machine that Parallels knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineState {
    /// Its files are gone or broken.
    Invalid,
    /// Running, starting or suspended.
    Active,
    /// Switched off.
    Stopped,
}

fn prlctl(tools: &Tools, verb: &str, name: &str) -> Cmd {
    tools.cmd_unchecked(Tool::Prlctl).step(format!("telling Parallels Desktop to {verb} {name}")).args([verb, name])
}

/// The command that lists all machines.
pub fn list(tools: &Tools) -> Cmd {
    tools.cmd_unchecked(Tool::Prlctl).step("looking for machines").args(["list", "-a"])
}

/// The state of the machine `name` in the output of [`list`]: id, state, address and name, which may contain blanks.
#[must_use]
pub fn parse_state(text: &str, name: &str) -> Option<MachineState> {
    text.lines().find_map(|line| {
        let (_, rest) = cut(line)?;
        let (state, rest) = cut(rest)?;
        let (_, found) = cut(rest)?;
        (found.trim_end() == name).then_some(match state {
            "invalid" => MachineState::Invalid,
            "stopped" => MachineState::Stopped,
            _ => MachineState::Active,
        })
    })
}

/// The first word, and what follows its blanks.
fn cut(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.trim_start().split_once(char::is_whitespace)?;
    Some((word, rest.trim_start()))
}

/// The command that removes a machine from Parallels' list.
pub fn unregister(tools: &Tools, name: &str) -> Cmd {
    prlctl(tools, "unregister", name)
}

/// The command that switches it off at once.
pub fn kill(tools: &Tools, name: &str) -> Cmd {
    prlctl(tools, "stop", name).arg("--kill")
}

/// The command that starts it.
pub fn start(tools: &Tools, name: &str) -> Cmd {
    prlctl(tools, "start", name)
}

/// The command that creates one without a disk below `folder`.
pub fn create(tools: &Tools, name: &str, folder: &Path) -> Cmd {
    let mut folder = folder.as_os_str().to_owned();
    folder.push("/");
    prlctl(tools, "create", name).args(["--distribution", "ubuntu", "--no-hdd", "--dst"]).arg(folder)
}

/// The command that sets a machine's disk, processors and memory. `disk` are prlctl's options before the disk.
pub fn set_up(tools: &Tools, machine: &Machine<'_>, disk: [&str; 2]) -> Cmd {
    prlctl(tools, "set", machine.name)
        .args(disk)
        .arg("--image")
        .arg(machine.bundle)
        .args(["--nested-virt", "on", "--adaptive-hypervisor", "on", "--hypervisor-type", "parallels"])
        .args(["--cpus", machine.cpus, "--memsize", machine.memory])
}

/// The commands that give a new machine EVE's two networks and forward `port` of this machine to its ssh.
pub fn set_networks(tools: &Tools, name: &str, port: u16) -> Vec<Cmd> {
    let net = |network: &str| {
        let cmd = prlctl(tools, "set", name).args(["--device-add", "net", "--type", "shared", "--adapter-type", "virtio"]);
        cmd.args(["--ipadd", network, "--dhcp", "yes"])
    };
    let forward = tools.cmd_unchecked(Tool::Prlsrvctl).step(format!("forwarding port {port} to {name}"));
    vec![
        prlctl(tools, "set", name).args(["--device-del", "net0"]),
        net("192.168.1.0/24"),
        net("192.168.2.0/24"),
        forward.args(["net", "set", "Shared", "--nat-tcp-add"]).arg(format!("ssh,{port},{name},22")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_found_by_its_whole_name() {
        let text = "UUID                                    STATUS       IP_ADDR         NAME\n\
                    {3b1f29f1-9cd5-4c0a-8a73-4a8a6c1d2b7e}  running      10.211.55.3     EVE_Live 2\n\
                    {a54ee92e-2e2f-4e2b-9c39-0a5c2f0f5d11}  stopped      -               EVE_Live\n\
                    {0000}  invalid  -  Gone\n";
        assert_eq!(parse_state(text, "EVE_Live"), Some(MachineState::Stopped));
        assert_eq!(parse_state(text, "EVE_Live 2"), Some(MachineState::Active));
        assert_eq!(parse_state(text, "Gone"), Some(MachineState::Invalid));
        assert_eq!(parse_state(text, "EVE"), None);
        assert_eq!(parse_state("", "EVE"), None);
    }
}
