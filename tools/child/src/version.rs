//! Asks tools for their versions, and compares them with the least version in the table.

use super::{Exit, Tool, Tools, failure::exit_of, known_tools::Info, known_tools::Version};
use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// A tool that has not printed its version by then hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// A program: its path, size and time. One that is installed meanwhile is another one.
type Program = (PathBuf, u64, SystemTime);

/// The versions that programs have printed in this run: a program takes 10 ms to start and is asked by several steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Mutex<HashMap<Program, Version>>>);

impl Memory {
    fn get(&self, program: &Program) -> Option<Version> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(program).copied()
    }

    fn keep(&self, program: Program, version: Version) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(program, version);
    }
}

/// The result of the search for a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is not here.
    Missing,
    /// It is here, but does not start or prints no version; with the reason.
    Unknown(String),
    /// It is here and has no way to print its version.
    Present,
    /// It is here in this version.
    Version(Version),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.pad("—"),
            Self::Unknown(_) => f.pad("?"),
            Self::Present => f.pad("found"),
            Self::Version(version) => f.pad(&show(*version)),
        }
    }
}

impl Found {
    /// Whether it is here in the least version of `info`, or later.
    #[must_use]
    pub fn serves(&self, info: &Info) -> bool {
        match (self, info.minimum.and_then(|(text, _)| parse(text))) {
            (Self::Missing, _) => false,
            (Self::Version(found), Some(needed)) => *found >= needed,
            (Self::Unknown(_), Some(_)) => false,
            _ => true,
        }
    }
}

/// `7.2.22`, or `7.2` if the last number is 0.
#[must_use]
pub fn show(version: Version) -> String {
    match version {
        [major, minor, 0] => format!("{major}.{minor}"),
        [major, minor, patch] => format!("{major}.{minor}.{patch}"),
    }
}

/// The numbers at the beginning of `text`: `2.47.3.windows` is 2.47.3, `9.2p1` is 9.2.
#[must_use]
pub fn parse(text: &str) -> Option<Version> {
    let mut version = [0; 3];
    let mut rest = text;
    for (index, number) in version.iter_mut().enumerate() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        match rest[..digits].parse() {
            Ok(value) => *number = value,
            Err(_) if index > 0 => break,
            Err(_) => return None,
        }
        match rest[digits..].strip_prefix('.') {
            Some(after) => rest = after,
            None => break,
        }
    }
    Some(version)
}

/// The version in a tool's output: the numbers after the first `after` that numbers follow.
#[must_use]
pub fn parse_output(text: &str, after: &str) -> Option<Version> {
    text.match_indices(after).find_map(|(at, _)| parse(text[at + after.len()..].trim_start_matches('v')))
}

/// Asks `tool` for its version, once in a run.
#[must_use]
pub fn find(tools: &Tools, tool: Tool) -> Found {
    let program = tools.find(tool).ok().and_then(|path| {
        let now = path.metadata().ok()?;
        Some((path, now.len(), now.modified().ok()?))
    });
    if let Some(version) = program.as_ref().and_then(|program| tools.versions.get(program)) {
        return Found::Version(version);
    }
    let found = ask(tools, tool);
    if let (Some(program), Found::Version(version)) = (program, &found) {
        tools.versions.keep(program, *version);
    }
    found
}

fn ask(tools: &Tools, tool: Tool) -> Found {
    let info = tool.info();
    let Ok(cmd) = tools.cmd(tool) else { return Found::Missing };
    if info.version_args.is_empty() {
        return Found::Present;
    }
    // Some tools print it on standard error, and some exit with status 1.
    let (lines, ended) = cmd.args(info.version_args).timeout(PATIENCE).lines();
    match (parse_output(&lines.join("\n"), info.version_after), ended) {
        (Some(version), _) => Found::Version(version),
        (None, Err(error)) if !matches!(exit_of(&error), Some(Exit::Status(_))) => Found::Unknown(error.to_string()),
        _ => Found::Unknown(format!("`{}` prints no version: {}", info.name, lines.first().map_or("nothing", String::as_str))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fake;

    #[test]
    fn versions_are_read_from_what_the_tools_print() {
        // Captured on Debian 12; for docker and linuxkit from their releases.
        for (tool, text, version) in [
            (Tool::Git, "git version 2.47.3\n", [2, 47, 3]),
            (Tool::Git, "git version 2.39.3 (Apple Git-146)\n", [2, 39, 3]),
            (Tool::QemuImg, "qemu-img version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright (c) 2003-2022", [7, 2, 22]),
            (Tool::QemuAmd64, "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)\n", [10, 0, 2]),
            (Tool::Swtpm, "TPM emulator version 0.7.1, Copyright (c) 2014-2021 IBM Corp.\n", [0, 7, 1]),
            (Tool::Ssh, "OpenSSH_9.2p1 Debian-2+deb12u6, OpenSSL 3.0.19 27 Jan 2026\n", [9, 2, 0]),
            (Tool::Unshare, "unshare from util-linux 2.38.1\n", [2, 38, 1]),
            (Tool::Sgdisk, "GPT fdisk (sgdisk) version 1.0.9\n\n", [1, 0, 9]),
            (Tool::Mcopy, "mcopy (GNU mtools) 4.0.32\nconfigured with the following options:", [4, 0, 32]),
            (Tool::Unsquashfs, "unsquashfs version 4.5.1 (2022/03/17)\n", [4, 5, 1]),
            (Tool::Mksquashfs, "mksquashfs version 4.5.1 (2022/03/17)\n", [4, 5, 1]),
            (Tool::E2fsck, "e2fsck 1.47.0 (5-Feb-2023)\n\tUsing EXT2FS Library version 1.47.0, 5-Feb-2023\n", [1, 47, 0]),
            (Tool::Xorriso, "xorriso 1.5.4 : RockRidge filesystem manipulator, libburnia project.\n", [1, 5, 4]),
            (Tool::Genimage, "16\n", [16, 0, 0]),
            (Tool::Shellcheck, "ShellCheck - shell script analysis tool\nversion: 0.9.0\n", [0, 9, 0]),
            (Tool::Docker, "Docker version 28.2.2, build e6534b4\n", [28, 2, 2]),
            (Tool::Cargo, "cargo 1.95.0 (f2d3ce0bd 2026-03-21)\n", [1, 95, 0]),
            (Tool::Linuxkit, "linuxkit version v1.2.0\n", [1, 2, 0]),
        ] {
            assert_eq!(parse_output(text, tool.info().version_after), Some(version), "{tool:?}");
        }
    }

    #[test]
    fn a_tool_is_asked_once_and_another_program_again() {
        let dir = tempfile::tempdir().unwrap();
        let count = || std::fs::read_to_string(dir.path().join("asked")).unwrap().len();
        let script = |version: &str| format!("printf x >>{}/asked; echo qemu-img version {version}", dir.path().display());
        fake::tool(dir.path(), Tool::QemuImg, &script("7.2.1"));
        let tools = fake::tools(dir.path());
        assert_eq!([(); 3].map(|()| find(&tools.clone(), Tool::QemuImg)), [(); 3].map(|()| Found::Version([7, 2, 1])));
        assert_eq!(count(), 1);
        fake::tool(dir.path(), Tool::QemuImg, &script("10.0.12"));
        assert_eq!(find(&tools, Tool::QemuImg), Found::Version([10, 0, 12]));
        assert_eq!(count(), 2);
        fake::tool(dir.path(), Tool::QemuImg, "exit 1");
        assert!(matches!(find(&tools, Tool::QemuImg), Found::Unknown(_)));
    }

    #[test]
    fn old_broken_and_missing_tools_do_not_serve() {
        let dir = tempfile::tempdir().unwrap();
        fake::tool(dir.path(), Tool::QemuImg, "echo qemu-img version 4.2.1");
        fake::tool(dir.path(), Tool::Git, "echo gurgle >&2; exit 1");
        fake::tool(dir.path(), Tool::Swtpm, "kill -SEGV $$");
        fake::tool(dir.path(), Tool::Ssh, "echo OpenSSH_9.2p1 >&2");
        let tools = fake::tools(dir.path());
        let state = |tool: Tool| {
            let found = find(&tools, tool);
            (found.serves(tool.info()), found)
        };
        assert_eq!(state(Tool::QemuImg), (false, Found::Version([4, 2, 1])));
        assert_eq!(state(Tool::Git), (false, Found::Unknown("`git` prints no version: gurgle".into())));
        assert_eq!(state(Tool::Xorriso), (false, Found::Missing));
        assert_eq!(state(Tool::Ssh), (true, Found::Version([9, 2, 0])));
        let killed = state(Tool::Swtpm);
        assert!(matches!(&killed, (false, Found::Unknown(why)) if why.contains("killed by signal 11, SIGSEGV")), "{killed:?}");
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(parse("10.0") > parse("7.2.22") && parse("5") == Some([5, 0, 0]) && parse("x").is_none());
    }
}
