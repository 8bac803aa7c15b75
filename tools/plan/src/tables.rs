//! Tables of a profile that describe what the tree's own Makefile does beside building: its machine in QEMU, and its targets that only call
//! containers and scripts.

use knobs::PackageKnobs;
use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf};

/// A program that patches YAML. They differ where a list is missing: `.none[]` is an error of jq, and nothing for yq.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PatchLanguage {
    /// jq.
    #[default]
    Jq,
    /// yq, the one written in Go.
    Yq,
}

/// `[machine]`: what QEMU gets on this tree besides the arguments that all Makefiles of lf-edge/eve give it. `{pid_file}` is QEMU_PID_FILE.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineTable {
    /// The number of processors.
    pub processors: Option<u32>,
    /// Arguments before all others, without a screen.
    #[serde(default)]
    pub first: Vec<String>,
    /// The same with a screen, by architecture.
    #[serde(default)]
    pub gui: BTreeMap<String, Vec<String>>,
    /// Arguments after the number of processors.
    #[serde(default)]
    pub after_processors: Vec<String>,
    /// Arguments after the firmware.
    #[serde(default)]
    pub after_firmware: Vec<String>,
    /// Arguments after the QMP socket.
    #[serde(default)]
    pub after_qmp: Vec<String>,
    /// Arguments after the processor's model, without acceleration.
    #[serde(default)]
    pub emulated: Vec<String>,
    /// `run-installer-*` takes the installers of the last build, not those of this version, and makes target.img beside them.
    #[serde(default)]
    pub installers_of_last_build: bool,
    /// The folder of a version to which `run-installer-net` unpacks installer.net, if it is not that of the installer's parts.
    pub netboot: Option<PathBuf>,
}

/// A build argument of a package: it is `NAME=y` if the knob of its name is on. The image's tag has its name too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs, reason = "the knobs say what they are")]
pub enum BuildArgument {
    ImmProfiling,
    ArtificialLeak,
    Cover,
    FaultInjection,
}

impl BuildArgument {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ImmProfiling => "IMM_PROFILING",
            Self::ArtificialLeak => "ARTIFICIAL_LEAK",
            Self::Cover => "COVER",
            Self::FaultInjection => "FAULT_INJECTION",
        }
    }

    /// Whether its knob is on.
    #[must_use]
    pub const fn is_on(self, knobs: &PackageKnobs) -> bool {
        match self {
            Self::ImmProfiling => knobs.imm_profiling,
            Self::ArtificialLeak => knobs.artificial_leak,
            Self::Cover => knobs.cover,
            Self::FaultInjection => knobs.fault_injection,
        }
    }
}

/// `[targets.NAME]`: a target that only calls containers and scripts. NAME may end in `*`. In texts, `{ROOT}`, `{DIST}`, `{HV}`,
/// `{ZARCH}`, `{*}` and the names in `variables` in braces are replaced by their values, and `{NAME?a:b}` by `a` if NAME has a value, else by `b`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetTable {
    /// One line of help.
    pub about: String,
    /// Packages that are built first.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Targets that run first.
    #[serde(default)]
    pub after: Vec<String>,
    /// Variables that it reads, from the command line or the environment, with their defaults.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// Besides `variables`, every variable of the command line goes into the commands' environment.
    #[serde(default)]
    pub any_variable: bool,
    /// The commands, in order.
    #[serde(default)]
    pub run: Vec<TargetCommand>,
}

impl TargetTable {
    /// Whether the target reads the variable `name`.
    #[must_use]
    pub fn takes(&self, name: &str) -> bool {
        self.any_variable || self.variables.contains_key(name)
    }
}

/// A command of a target.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetCommand {
    /// The program and its arguments. A program with a `/` is a path below the root. A word `{?NAME}word` is left out unless NAME has a value.
    pub words: Vec<String>,
    /// The folder in which it runs, relative to the root.
    pub dir: Option<PathBuf>,
    /// Variables of its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}
