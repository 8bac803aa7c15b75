//! ssh into a virtual machine that runs EVE, and ssh-keygen.

use super::{Cmd, Tool, Tools};
use std::path::Path;

/// How to reach the machine's root.
pub struct Login<'l> {
    /// The machine's name or address.
    pub host: &'l str,
    /// The port of its ssh server there.
    pub port: u16,
    /// The private key; may be relative to `root`.
    pub key: &'l Path,
    /// The folder to start in.
    pub root: &'l Path,
}

/// The machine's host key changes with every build.
const NO_HOST_CHECK: [&str; 6] =
    ["-o", "StrictHostKeyChecking=no", "-o", "GlobalKnownHostsFile=/dev/null", "-o", "UserKnownHostsFile=/dev/null"];

/// Options of commands that ask nobody.
const QUIET: [&str; 6] = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"];

impl Login<'_> {
    /// The start of a command line of ssh, with `options` in front.
    fn ssh<'o>(&self, tools: &Tools, options: impl IntoIterator<Item = &'o str>) -> Cmd {
        let cmd = tools.cmd_unchecked(Tool::Ssh).args(options).arg("-i").arg(self.key).args(["-p", &self.port.to_string()]);
        cmd.args(NO_HOST_CHECK).dir(self.root)
    }

    /// The command that runs `command` there, in the shell of root. It asks nobody for a password.
    pub fn run(&self, tools: &Tools, command: &str) -> Cmd {
        self.ssh(tools, QUIET).arg(format!("root@{}", self.host)).arg(command)
    }

    /// The same, and while it runs, its connection serves others that take it by the path `socket`.
    pub fn run_and_share(&self, tools: &Tools, socket: &Path, command: &str) -> Cmd {
        // Whoever takes the connection must not wait for a machine that is gone.
        let alive = ["-o", "ControlMaster=yes", "-o", "ServerAliveInterval=5"];
        self.ssh(tools, QUIET.into_iter().chain(alive)).arg("-S").arg(socket).arg(format!("root@{}", self.host)).arg(command)
    }

    /// The same through the connection at `socket`; through one of its own if that has ended.
    pub fn run_shared(&self, tools: &Tools, socket: &Path, command: &str) -> Cmd {
        self.ssh(tools, QUIET).arg("-S").arg(socket).arg(format!("root@{}", self.host)).arg(command)
    }
}

impl Login<'_> {
    /// The command that opens the shell of root there, or runs `command` in it, with our own standard streams. With `terminal` the
    /// command gets a terminal too.
    pub fn open(&self, tools: &Tools, command: &[String], terminal: bool) -> Cmd {
        let options = if terminal { &["-o", "LogLevel=ERROR", "-t"][..] } else { &["-o", "LogLevel=ERROR"] };
        self.ssh(tools, options.iter().copied()).arg(format!("root@{}", self.host)).args(command).foreground()
    }

    /// The command that copies between here and there, folders as well; a path there starts with `:`.
    pub fn copy(&self, tools: &Tools, from: &str, to: &str) -> anyhow::Result<Cmd> {
        let place = |path: &str| path.strip_prefix(':').map_or_else(|| local(path), |path| format!("root@{}:{path}", self.host));
        let cmd = tools.helper("scp")?.named("scp").step("copying").args(["-r", "-q", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"]);
        let cmd = cmd.arg("-i").arg(self.root.join(self.key)).args(["-P", &self.port.to_string()]).args(NO_HOST_CHECK);
        Ok(cmd.args([place(from), place(to)]))
    }
}

/// A path of this machine for scp, which takes a colon before the first slash for the end of a host's name.
fn local(path: &str) -> String {
    if path.starts_with(['/', '.']) { path.to_owned() } else { format!("./{path}") }
}

/// The command that forwards ports (`forwards`: options of ssh) through the machine behind `port` of this one, until it is stopped. `key`
/// may be relative to `root`.
pub fn proxy(tools: &Tools, forwards: &str, key: &Path, port: u16, root: &Path) -> Cmd {
    let login = Login { host: "localhost", port, key, root };
    let options = forwards.split_whitespace().chain(["-N"]);
    login.ssh(tools, options).step("forwarding ports").arg("root@localhost")
}

/// The command that creates the private key `key` without a passphrase, and `key.pub` beside it.
pub fn keygen_command(tools: &Tools, key: &Path) -> anyhow::Result<Cmd> {
    Ok(tools.helper("ssh-keygen")?.named("ssh-keygen").step("making a key").args(["-P", "", "-f"]).arg(key))
}
