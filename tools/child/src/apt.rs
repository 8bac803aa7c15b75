//! This machine's package manager: finds it, builds its install command for tools, and runs that command.

use super::{Cmd, Output, Tool, Tools, failure, known_tools::Packages};
use anyhow::{Context as _, Result, bail};
use std::{collections::BTreeSet, path::Path};

/// A package manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// Debian's and Ubuntu's.
    Apt,
    /// Fedora's.
    Dnf,
    /// Homebrew.
    Brew,
}

impl Manager {
    /// The first package manager whose program `tools` finds.
    #[must_use]
    pub fn find(tools: &Tools) -> Option<Self> {
        [Self::Apt, Self::Dnf, Self::Brew].into_iter().find(|manager| tools.helper(manager.program()).is_ok())
    }

    /// The name of its program.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Apt => "apt-get",
            Self::Dnf => "dnf",
            Self::Brew => "brew",
        }
    }

    /// Whether only root may install with it.
    #[must_use]
    pub const fn needs_root(self) -> bool {
        !matches!(self, Self::Brew)
    }

    const fn words(self) -> &'static [&'static str] {
        match self {
            Self::Apt => &["install", "-y", "--no-install-recommends", "--no-remove"],
            Self::Dnf => &["install", "-y", "--setopt=install_weak_deps=False"],
            Self::Brew => &["install"],
        }
    }

    /// The packages that contain `tools`, sorted, without duplicates.
    #[must_use]
    pub fn packages(self, tools: &[Tool]) -> Vec<&'static str> {
        let names = |packages: &Packages| match self {
            Self::Apt => packages.debian,
            Self::Dnf => packages.fedora,
            Self::Brew => packages.brew,
        };
        let mut packages: BTreeSet<&str> = tools.iter().flat_map(|tool| names(&tool.info().packages)).copied().collect();
        // qemu packages of two Debian releases conflict: apt would remove an installed qemu-utils unless both are requested.
        if self == Self::Apt && packages.iter().any(|package| package.starts_with("qemu-")) && packages.contains("qemu-system-x86") {
            packages.insert("qemu-utils");
        }
        packages.into_iter().collect()
    }

    /// The shell command that installs `packages`, for hints.
    #[must_use]
    pub fn command_line(self, packages: &[&str], root: bool) -> String {
        let words = match self {
            // Without --no-remove: a person who types the command sees what apt would remove.
            Self::Apt => "install -y --no-install-recommends".to_owned(),
            _ => self.words().join(" "),
        };
        let sudo = if self.needs_root() && !root { "sudo " } else { "" };
        format!("{sudo}{} {words} {}", self.program(), packages.join(" "))
    }
}

/// The hint of an error that says how to install `tools` here. Chooses the package manager by files that exist, because it has no `Tools`.
#[must_use]
pub fn install_hint(tools: &[Tool]) -> String {
    let manager = [("/usr/bin/apt-get", Manager::Apt), ("/usr/bin/dnf", Manager::Dnf)]
        .into_iter()
        .find(|(program, _)| Path::new(program).exists())
        .map_or(if cfg!(target_os = "macos") { Manager::Brew } else { Manager::Apt }, |(_, manager)| manager);
    let packages = manager.packages(tools);
    if tools.contains(&Tool::Linuxkit) {
        let first = if packages.is_empty() { String::new() } else { format!("{}; then ", manager.command_line(&packages, is_root())) };
        return format!(
            "{first}cargo xtask build-tools, which builds the linuxkit that the tree pins (put --root DIR before build-tools if you used it here)"
        );
    }
    if packages.is_empty() {
        return "install it by hand, no package of this system has it".to_owned();
    }
    format!("cargo xtask doctor --install, or: {}", manager.command_line(&packages, is_root()))
}

/// Whether this process runs as root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Installs `packages` in one transaction and removes no other package. If an installed package that is in no archive (qemu-utils of a
/// backport) conflicts, replaces it with the archive's version and prints that.
pub fn install(tools: &Tools, manager: Manager, packages: &[&str], output: &Output) -> Result<()> {
    if manager.needs_root() && !is_root() {
        bail!("only root may install packages\nhint: {}", manager.command_line(packages, false));
    }
    let step = format!("installing {}", packages.join(" "));
    let cmd = || tools.helper(manager.program()).map(|cmd| cmd.step(&step).output(output));
    if manager != Manager::Apt {
        return cmd()?.args(manager.words()).args(packages).run();
    }
    let apt = |extra: &[&str], wanted: &[String]| -> Result<Cmd> {
        let cmd = cmd()?.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=300"]);
        Ok(cmd.args(manager.words()).args(extra).args(wanted))
    };
    let mut wanted: Vec<String> = packages.iter().map(|&package| package.to_owned()).collect();
    let mut extra = Vec::new();
    if !apt(&["--simulate"], &wanted)?.output(&Output::default()).status_ok()? {
        tools.helper("apt-get")?.arg("update").step("updating apt's lists").output(output).run()?;
        if !apt(&["--simulate"], &wanted)?.output(&Output::default()).status_ok()? {
            wanted = pin_to_archive(tools, packages, output)?;
            extra.push("--allow-downgrades");
        }
    }
    match apt(&extra, &wanted)?.run() {
        // apt's lists may be older than the archive and name files that it has deleted.
        Err(error) if ["404  Not Found", "Unable to fetch some archives"].iter().any(|text| failure::said(&error, text)) => {
            tools.helper("apt-get")?.arg("update").step("updating apt's lists").output(output).run()?;
            apt(&extra, &wanted)?.run()
        }
        result => result,
    }
}

/// `packages`, with `=VERSION` of the archive for each that is installed in a version that no archive has.
fn pin_to_archive(tools: &Tools, packages: &[&str], output: &Output) -> Result<Vec<String>> {
    let mut wanted = Vec::new();
    for &package in packages {
        let query = tools.helper("dpkg-query")?.args(["-W", "-f", "${db:Status-Status} ${Version}", package]);
        let installed = query.stdout().unwrap_or_default();
        let listed = tools.helper("apt-cache")?.args(["madison", package]).stdout().context("cannot ask apt for versions")?;
        let versions = parse_madison(&listed);
        wanted.push(match (installed.strip_prefix("installed "), versions.first()) {
            (Some(here), Some(version)) if !versions.contains(&here) => {
                if let Some(sink) = &output.sink {
                    sink(&format!("{package} {here} is in no archive of this machine and conflicts: replacing it with {version}"));
                }
                format!("{package}={version}")
            }
            _ => package.to_owned(),
        });
    }
    Ok(wanted)
}

/// The versions in the output of `apt-cache madison`, newest first: `name | version | archive` per line.
fn parse_madison(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fake;
    use std::fs;

    #[test]
    fn the_command_names_each_package_once_and_keeps_qemu_together() {
        let packages = Manager::Apt.packages(&[Tool::QemuAmd64, Tool::Swtpm, Tool::Unsquashfs, Tool::Mksquashfs]);
        assert_eq!(
            Manager::Apt.command_line(&packages, false),
            "sudo apt-get install -y --no-install-recommends qemu-system-x86 qemu-utils squashfs-tools swtpm swtpm-tools"
        );
        assert_eq!(Manager::Brew.command_line(&Manager::Brew.packages(&[Tool::QemuAmd64, Tool::QemuImg]), false), "brew install qemu");
        assert_eq!(Manager::Dnf.command_line(&["git"], true), "dnf install -y --setopt=install_weak_deps=False git");
    }

    #[test]
    fn madison_is_read() {
        let table = " qemu-utils | 1:7.2+dfsg-7+deb12u18+b3 | mirror bookworm/main amd64 Packages\n qemu-utils | 1:7.2+dfsg-7+deb12u15 | mirror x\n";
        assert_eq!(parse_madison(table), ["1:7.2+dfsg-7+deb12u18+b3", "1:7.2+dfsg-7+deb12u15"]);
    }

    #[test]
    fn a_package_of_no_archive_is_replaced_in_the_same_transaction() {
        if !is_root() {
            skips::skipped(skips::Lack::Privilege, "only root may install");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let note = format!("echo \"$(basename $0) $*\" >> {}", log.display());
        fake::program(
            dir.path(),
            "apt-get",
            &format!("{note}\ncase \"$*\" in *simulate*qemu-utils) echo E: held broken packages; exit 100;; esac"),
        );
        fake::program(dir.path(), "apt-cache", "echo \" $2 | 7.2 | archive\"");
        fake::program(dir.path(), "dpkg-query", "case $4 in qemu-utils) printf 'installed 10.0';; *) exit 1;; esac");
        install(&fake::tools(dir.path()), Manager::Apt, &["qemu-system-x86", "qemu-utils"], &Output::default()).unwrap();
        let seen = fs::read_to_string(&log).unwrap();
        let last = seen.lines().last().unwrap();
        assert_eq!(seen.lines().count(), 4, "{seen}");
        assert_eq!(
            last,
            "apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends --no-remove --allow-downgrades qemu-system-x86 qemu-utils=7.2"
        );
    }
}
