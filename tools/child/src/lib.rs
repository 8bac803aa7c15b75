//! Starts programs of others; no other crate starts a process (except the sandbox's inner half) or reads the environment. `cmd` is a
//! command line, `process` runs it, `known_tools` lists the tools with purpose and least version, `provide` checks and installs them, and
//! one module per tool builds its arguments and parses its output. Decides nothing about builds. Depends on `common` only.

pub mod adam;
pub mod apt;
pub mod cargo;
pub mod cmd;
pub mod curl;
pub mod curl_request;
pub mod detached;
pub mod docker;
pub mod docker_compose;
pub mod docker_credential;
pub mod docker_registry;
pub mod environment;
pub mod eve_image;
pub mod failure;
pub mod fuzzer;
pub mod gcloud;
pub mod git;
pub mod go;
pub mod go_builder;
pub mod go_sources;
pub mod gpgv;
pub mod interrupt;
pub mod itself;
pub mod known_tools;
mod lines;
pub mod linuxkit;
pub mod linuxkit_gcp;
pub mod open_files;
pub mod openssl;
pub mod oracle;
pub mod prlctl;
pub mod process;
pub mod provide;
pub mod qemu;
pub mod qemu_img;
pub mod qemu_io;
pub mod rivals;
pub mod scene;
pub mod shellcheck;
pub mod ssh;
pub mod static_binary;
pub mod swtpm;
pub mod terminal;
pub mod usage;
pub mod vboxmanage;
pub mod version;

pub use cmd::{Cmd, Meter, Output, Variables};
pub use failure::{Exit, Failure};
pub use known_tools::{For, Tool};
pub use process::Running;

use anyhow::Result;
use common::error::missing_tool;
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Variables that children inherit. All others are hidden from builds.
const INHERITED: &[&[&str]] = &[
    &["PATH", "HOME", "USER", "LOGNAME", "TERM", "TMPDIR"],
    &["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"],
    &["SSH_AUTH_SOCK", "SSL_CERT_DIR", "SSL_CERT_FILE"],
    &["DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_HOST"],
    &["CARGO_HOME", "CARGO_TARGET_DIR", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"],
    &["http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"],
];

/// Folders of system tools that are missing from an ordinary user's PATH on Debian.
const SYSTEM_DIRS: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// Prefix of the variables that replace a tool's program: `XTASK_TOOL_QEMU_IMG=/opt/bin/qemu-img`.
const OVERRIDE: &str = "XTASK_TOOL_";

/// Finds the tools and holds the environment in which they start.
#[derive(Clone, Debug)]
pub struct Tools {
    overrides: BTreeMap<Tool, PathBuf>,
    search: OsString,
    base: Variables,
    versions: version::Memory,
}

impl Tools {
    /// From the variables of this process: PATH, the inherited ones, and `XTASK_TOOL_<NAME>` for single tools. With `all`, children
    /// inherit every variable except those that `hide` selects: the settings of docker, linuxkit and the clouds' tools are too many to list.
    #[must_use]
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>, all: bool, hide: &dyn Fn(&str) -> bool) -> Self {
        let mut base = BTreeMap::from([("LANG".into(), "C.UTF-8".into()), ("TZ".into(), "UTC".into())]);
        let mut overrides = BTreeMap::new();
        for (name, value) in variables {
            let text = name.to_string_lossy();
            if let Some(tool) = text.strip_prefix(OVERRIDE).and_then(Tool::from_variable) {
                overrides.insert(tool, PathBuf::from(value));
            } else if INHERITED.concat().contains(&text.as_ref())
                || all && !hide(&text) && !["LANG", "TZ", "LC_ALL"].contains(&text.as_ref())
            {
                base.insert(name, value);
            }
        }
        let mut search = base.get(OsStr::new("PATH")).cloned().unwrap_or_default();
        if !search.is_empty() {
            search.push(":");
            search.push(SYSTEM_DIRS);
        }
        Self { overrides, search, base: Arc::new(base), versions: version::Memory::default() }
    }

    /// Finds tools only in `path`, a list as in PATH: for tests that must not use this machine's tools.
    #[must_use]
    pub fn only_in(path: impl Into<OsString>) -> Self {
        let path = path.into();
        let base = BTreeMap::from([("LANG".into(), "C.UTF-8".into()), ("PATH".into(), path.clone())]);
        Self { overrides: BTreeMap::new(), search: path, base: Arc::new(base), versions: version::Memory::default() }
    }

    /// Uses `program` as `tool`.
    #[must_use]
    pub fn with(mut self, tool: Tool, program: impl Into<PathBuf>) -> Self {
        self.overrides.insert(tool, program.into());
        self
    }

    /// Uses `program` as `tool`, unless the environment names another program.
    #[must_use]
    pub fn prefer(mut self, tool: Tool, program: impl Into<PathBuf>) -> Self {
        self.overrides.entry(tool).or_insert_with(|| program.into());
        self
    }

    /// The environment in which children start.
    #[must_use]
    pub fn environment(&self) -> &Variables {
        &self.base
    }

    /// The path of the program of `tool`.
    pub fn find(&self, tool: Tool) -> Result<PathBuf, Missing> {
        let place = self.overrides.get(&tool);
        let program = place.map_or(Path::new(tool.info().binary), PathBuf::as_path);
        let missing = |file| Missing { tool, place: place.cloned(), file };
        let found = which::which_in(program, Some(&self.search), "/").map_err(|_| missing(None))?;
        match lacks(tool, Path::is_file) {
            Some(file) if place.is_none() => Err(missing(Some(file))),
            _ => Ok(found),
        }
    }

    /// A command that runs `tool`, even if it is missing: a dry run prints command lines on machines without the tool.
    pub fn cmd_unchecked(&self, tool: Tool) -> Cmd {
        let program = self.find(tool).unwrap_or_else(|_| PathBuf::from(tool.info().binary));
        Cmd::new(program, &self.base).named(tool.info().name)
    }

    /// A command that runs a program of the system that is not in the table of tools, such as a package manager.
    pub fn helper(&self, program: &str) -> Result<Cmd> {
        let found = which::which_in(program, Some(&self.search), "/");
        found.map(|path| Cmd::new(path, &self.base)).map_err(|_| missing_tool(format!("`{program}` is not on this machine")))
    }

    /// A command that runs `tool`; an error if it is missing.
    pub fn cmd(&self, tool: Tool) -> Result<Cmd> {
        let program = self.find(tool).map_err(|missing| missing_tool(missing.to_string()))?;
        Ok(Cmd::new(program, &self.base).named(tool.info().name))
    }
}

/// The file that `tool` is of no use without, if it is not there.
fn lacks(tool: Tool, is_there: impl Fn(&Path) -> bool) -> Option<&'static str> {
    tool.info().file.filter(|file| !is_there(Path::new(file)))
}

/// A tool that a later step will start, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolNeed {
    /// The tool.
    pub tool: Tool,
    /// A phrase that begins with "to": `to convert the disk to qcow2`.
    pub purpose: String,
}

impl ToolNeed {
    /// `tool` is needed `purpose`.
    pub fn new(tool: Tool, purpose: impl Into<String>) -> Self {
        Self { tool, purpose: purpose.into() }
    }

    /// `tool` for the purpose in its row.
    #[must_use]
    pub fn usual(tool: Tool) -> Self {
        Self::new(tool, format!("to {}", tool.info().purpose))
    }
}

/// A tool that is not on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The tool.
    pub tool: Tool,
    /// The path that an `XTASK_TOOL_…` variable gives for it.
    pub place: Option<PathBuf>,
    /// The file beside it that is missing, if the program itself is there.
    pub file: Option<&'static str>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.tool.info();
        write!(f, "`{}` is needed to {}, and ", info.name, info.purpose)?;
        match &self.place {
            Some(place) => write!(f, "{}{} says {}, which is not a program", OVERRIDE, self.tool.variable(), place.display())?,
            None => match self.file {
                Some(file) => write!(f, "`{file}`, which belongs to it, is not on this machine")?,
                None => f.write_str("it is not on this machine")?,
            },
        }
        if let Some((version, why)) = info.minimum {
            write!(f, "\nneeded: version {version} or later, {why}")?;
        }
        write!(f, "\nhint: {}", apt::install_hint(&[self.tool]))
    }
}

impl std::error::Error for Missing {}

pub mod fake {
    //! Scripts that stand in for tools, for tests.
    #![allow(clippy::unwrap_used)]
    use super::{Tool, Tools};
    use std::{fs, path::Path, process::Command};

    /// Writes `#!/bin/sh` and `script` as the program of `tool` into `dir`.
    pub fn tool(dir: &Path, tool: Tool, script: &str) {
        program(dir, tool.info().binary, script);
    }

    /// Writes `#!/bin/sh` and `script` as `name` into `dir`.
    pub fn program(dir: &Path, name: &str, script: &str) {
        executable(&dir.join(name), format!("#!/bin/sh\n{script}\n"));
    }

    /// Writes a file that can be run. Another process writes it: if this one had it open for writing, a child that another thread starts at
    /// that moment would have it open too, and the kernel refuses to run such a file (ETXTBSY).
    pub fn executable(path: &Path, bytes: impl AsRef<[u8]>) {
        let draft = tempfile::NamedTempFile::new().unwrap();
        fs::write(draft.path(), bytes).unwrap();
        let status = Command::new("install").args(["-m", "755"]).args([draft.path(), path]).status().unwrap();
        assert!(status.success(), "install {}: {status}", path.display());
    }

    /// The tools in `dir`, with a PATH on which shell scripts find the usual commands.
    pub fn tools(dir: &Path) -> Tools {
        let mut tools = Tools::only_in(dir);
        let base = std::sync::Arc::make_mut(&mut tools.base);
        base.insert("PATH".into(), format!("{}:/usr/bin:/bin", dir.display()).into());
        tools
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_tool_without_the_file_that_belongs_to_it_is_missing() {
        if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            let file = lacks(Tool::Sbverify, |_| false);
            let text = Missing { tool: Tool::Sbverify, place: None, file }.to_string();
            assert!(
                text.contains("and `/usr/lib/systemd/boot/efi/linuxx64.efi.stub`, which belongs to it, is not on this machine"),
                "{text}"
            );
        }
        assert_eq!((lacks(Tool::Sbverify, |_| true), lacks(Tool::Git, |_| false)), (None, None));
    }

    #[test]
    fn a_missing_tool_says_what_it_is_for_and_how_to_get_it() {
        let dir = tempfile::tempdir().unwrap();
        let error = common::error::render(&Tools::only_in(dir.path()).cmd(Tool::Swtpm).err().unwrap());
        assert!(
            error.starts_with("error: `swtpm` is needed to give the virtual machine a TPM, and it is not on this machine\n"),
            "{error}"
        );
        assert!(error.contains("needed: version 0.1 or later, ") && error.contains("hint: cargo xtask doctor --install"), "{error}");
    }

    #[test]
    fn an_override_stands_for_one_tool_and_errors_keep_the_tools_name() {
        let dir = tempfile::tempdir().unwrap();
        fake::program(dir.path(), "my-img", "echo broken; exit 7");
        let variables = [("XTASK_TOOL_QEMU_IMG", dir.path().join("my-img")), ("PATH", "/usr/bin".into()), ("LD_PRELOAD", "x".into())];
        let tools = Tools::new(variables.map(|(name, value)| (name.into(), value.into())), false, &|_| false);
        let error = tools.cmd(Tool::QemuImg).unwrap().step("converting").run().unwrap_err().to_string();
        assert!(error.starts_with("`qemu-img` failed while converting: exit status 7\n| broken\ncommand: "), "{error}");
        assert!(!tools.environment().contains_key(OsStr::new("LD_PRELOAD")));
        let gone = tools.with(Tool::QemuImg, "/nowhere").cmd(Tool::QemuImg).err().unwrap().to_string();
        assert!(gone.contains("XTASK_TOOL_QEMU_IMG says /nowhere, which is not a program"), "{gone}");
    }
}
