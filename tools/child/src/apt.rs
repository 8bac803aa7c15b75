//! The machine's package manager: which one it is, the one command that installs tools, and running it.

use super::{Cmd, Failure, Output, Tool, Tools};
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
    /// The one that `tools` has.
    #[must_use]
    pub fn find(tools: &Tools) -> Option<Self> {
        [Self::Apt, Self::Dnf, Self::Brew].into_iter().find(|manager| tools.helper(manager.program()).is_ok())
    }

    /// Its program.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Apt => "apt-get",
            Self::Dnf => "dnf",
            Self::Brew => "brew",
        }
    }

    /// Whether it installs for root alone.
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

    /// The packages of `tools`, each once, sorted.
    #[must_use]
    pub fn packages(self, tools: &[Tool]) -> Vec<&'static str> {
        let names = |tool: Tool| match self {
            Self::Apt => tool.info().packages.debian,
            Self::Dnf => tool.info().packages.fedora,
            Self::Brew => tool.info().packages.brew,
        };
        let mut packages: BTreeSet<&str> = tools.iter().flat_map(|tool| names(*tool)).copied().collect();
        // Debian's qemu packages of two releases break each other: apt takes a qemu-utils away unless it is asked for both.
        if self == Self::Apt && packages.iter().any(|package| package.starts_with("qemu-")) && packages.contains("qemu-system-x86") {
            packages.insert("qemu-utils");
        }
        packages.into_iter().collect()
    }

    /// What a person types to install `packages`.
    #[must_use]
    pub fn command_line(self, packages: &[&str], root: bool) -> String {
        let words = match self {
            // The guard against removals is for runs that nobody watches.
            Self::Apt => "install -y --no-install-recommends".to_owned(),
            _ => self.words().join(" "),
        };
        let sudo = if self.needs_root() && !root { "sudo " } else { "" };
        format!("{sudo}{} {words} {}", self.program(), packages.join(" "))
    }
}

/// How the packages of `tools` are installed here, as far as the file system tells; for the hints of errors.
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
            "{first}cargo xtask build-tools, which builds the linuxkit that the tree pins (--root DIR goes before it as before this)"
        );
    }
    if packages.is_empty() {
        return "install it by hand, no package of this system has it".to_owned();
    }
    format!("cargo xtask doctor --install, or: {}", manager.command_line(&packages, is_root()))
}

/// Whether we may install.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Installs `packages` in one transaction. Nothing else is removed for them; an installed package that no archive knows
/// and that stands in the way (qemu-utils of a backport) is replaced by the archive's version, which is said.
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
            wanted = pin_strangers(tools, packages, output)?;
            extra.push("--allow-downgrades");
        }
    }
    match apt(&extra, &wanted)?.run() {
        // A list may be older than the archive: the package that it names is gone.
        Err(error) if error.downcast_ref::<Failure>().is_some_and(is_stale) => {
            tools.helper("apt-get")?.arg("update").step("updating apt's lists").output(output).run()?;
            apt(&extra, &wanted)?.run()
        }
        result => result,
    }
}

/// apt's words for a download that its lists promise and the archive no longer has.
fn is_stale(failure: &Failure) -> bool {
    failure.tail.iter().any(|line| line.contains("404  Not Found") || line.contains("Unable to fetch some archives"))
}

/// `packages`, with the archive's version for those that are installed in a version that no archive has.
fn pin_strangers(tools: &Tools, packages: &[&str], output: &Output) -> Result<Vec<String>> {
    let mut wanted = Vec::new();
    for &package in packages {
        let query = tools.helper("dpkg-query")?.args(["-W", "-f", "${db:Status-Status} ${Version}", package]);
        let installed = query.stdout().unwrap_or_default();
        let table = tools.helper("apt-cache")?.args(["madison", package]).stdout().context("cannot ask apt for versions")?;
        let versions = parse_madison(&table);
        wanted.push(match (installed.strip_prefix("installed "), versions.first()) {
            (Some(here), Some(version)) if !versions.contains(&here) => {
                if let Some(sink) = &output.sink {
                    sink(&format!("{package} {here} is in no archive of this machine and in the way: installing {version} in its place"));
                }
                format!("{package}={version}")
            }
            _ => package.to_owned(),
        });
    }
    Ok(wanted)
}

/// The versions in `apt-cache madison`, newest first: `name | version | archive` a line.
fn parse_madison(table: &str) -> Vec<&str> {
    table.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim).collect()
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
            skips::skipped("only root may install");
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
