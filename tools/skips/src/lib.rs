//! Records skipped tests and the reasons. libtest hides the output of a passing test, so the reason also goes to the file in
//! `XTASK_TEST_SKIPS`: `cargo xtask test` sets the variable and prints the file at its end. A skip names either Debian packages, which CI
//! installs, or what the machine lacks beyond packages. A dev-dependency only; depends on no other crate of ours.

use std::{fs::OpenOptions, io::Write as _, panic::Location, path::Path, thread};

/// The variable with the path of the file.
pub const VARIABLE: &str = "XTASK_TEST_SKIPS";

/// The Debian packages that a skip may name. `cargo xtask doctor --install --for test` installs each, or Debian's base system or a
/// toolchain has it: a test of the house compares this list with the table of tools.
pub const PACKAGES: &[&str] = &[
    "bsdutils",
    "btrfs-progs",
    "busybox-static",
    "curl",
    "chromium",
    "cpio",
    "cryptsetup-bin",
    "dash",
    "disorderfs",
    "docker-registry",
    "docker.io",
    "dosfstools",
    "dpkg",
    "e2fsprogs",
    "efitools",
    "fdisk",
    "fish",
    "gcc",
    "gdisk",
    "genisoimage",
    "golang-go",
    "gpg",
    "gpgv",
    "grub-common",
    "iptables",
    "make",
    "man-db",
    "mtools",
    "openssh-client",
    "openssl",
    "ovmf",
    "python3-venv",
    "qemu-system-arm",
    "qemu-system-misc",
    "qemu-system-x86",
    "qemu-utils",
    "sbsigntool",
    "shellcheck",
    "skopeo",
    "squashfs-tools",
    "swtpm",
    "systemd-boot-efi",
    "tar",
    "tmux",
    "util-linux",
    "xorriso",
    "zsh",
    "zstd",
];

/// What keeps a test from running on a machine that has all packages. CI lets these pass, and `cargo xtask test` prints the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The caller left the test out (`--quick`), or gave it nothing to compare with (`EVE_CHECKOUT`).
    Request,
    /// Root, or a capability that this user does not have.
    Privilege,
    /// A feature of the kernel or of a file system, or a container that hides it.
    Kernel,
    /// A processor of another architecture.
    Architecture,
    /// A program, a service or a file that no Debian package contains.
    Unpackaged,
}

impl Lack {
    /// The word in the file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Privilege => "privilege",
            Self::Kernel => "kernel",
            Self::Architecture => "architecture",
            Self::Unpackaged => "unpackaged",
        }
    }
}

/// Records that the test skips something for lack of something that packages do not give; `why` says what.
///
/// # Panics
/// If root says that root is needed.
#[track_caller]
pub fn skipped(lack: Lack, why: &str) {
    assert!(lack != Lack::Privilege || !is_root(), "a test that root runs was skipped because it takes root: {why}");
    write(&test_name(), why, lack.word(), "");
}

/// Records that the test skips something because the kernel refused `what`: mounting, making devices. An ordinary user lacks the
/// privilege, root lacks a feature of the kernel or the container.
#[track_caller]
pub fn refused(what: &str) {
    skipped(if is_root() { Lack::Kernel } else { Lack::Privilege }, what);
}

/// Records that the test skips something because `program` is missing. Debian's `packages` (separated by blanks) contain it: CI, which
/// can install them, fails the run.
///
/// # Panics
/// If a package is not in [`PACKAGES`], or none is named.
#[track_caller]
pub fn missing(program: &str, packages: &str) {
    assert!(!packages.trim().is_empty(), "`{program}` is missing, and no package is named");
    let unknown = packages.split_whitespace().find(|package| !PACKAGES.contains(package));
    assert_eq!(unknown, None, "`{program}` is missing, and skips::PACKAGES has no such package");
    write(&test_name(), &format!("`{program}` is not on this machine"), "package", packages);
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The name of the running test, which libtest gives to the thread; with a single thread the caller's file and line.
#[track_caller]
fn test_name() -> String {
    let place = Location::caller();
    match thread::current().name() {
        Some(name) if name != "main" => format!("{} ({})", name, place.file()),
        _ => format!("{}:{}", place.file(), place.line()),
    }
}

fn write(test: &str, why: &str, lack: &str, packages: &str) {
    eprintln!("SKIPPED: {test}: {why}");
    if let Some(file) = std::env::var_os(VARIABLE) {
        append(Path::new(&file), test, why, lack, packages);
    }
}

/// Appends a line to `file`: test, reason, `package` or the word of a [`Lack`], and packages, separated by tabs. One write per line, because
/// many processes write at once.
///
/// # Panics
/// If the file cannot be written: a skip must not go unnoticed.
pub fn append(file: &Path, test: &str, why: &str, lack: &str, packages: &str) {
    let line = [test, why, lack, packages].map(|word| word.split_whitespace().collect::<Vec<_>>().join(" ")).join("\t") + "\n";
    let written = OpenOptions::new().create(true).append(true).open(file).and_then(|mut file| file.write_all(line.as_bytes()));
    written.expect("the file of skips can be written");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_skip_is_one_line_with_the_tests_name() {
        assert_eq!(test_name(), format!("tests::a_skip_is_one_line_with_the_tests_name ({})", file!()));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("skips");
        append(&file, "a test", "two\nlines\tand a tab", Lack::Kernel.word(), "");
        append(&file, "b", "`mdir` is not on this machine", "package", "mtools");
        let text = std::fs::read_to_string(file).unwrap();
        assert_eq!(text, "a test\ttwo lines and a tab\tkernel\t\nb\t`mdir` is not on this machine\tpackage\tmtools\n");
    }

    #[test]
    #[should_panic(expected = "skips::PACKAGES has no such package\n  left: Some(\"mtolls\")")]
    fn a_package_that_ci_does_not_know_is_no_skip() {
        missing("mdir", "dosfstools mtolls");
    }

    #[test]
    #[should_panic(expected = "`actionlint` is missing, and no package is named")]
    fn a_program_without_a_package_is_not_missing() {
        missing("actionlint", " ");
    }

    #[test]
    fn root_has_the_privilege() {
        let skip = std::panic::catch_unwind(|| skipped(Lack::Privilege, "only root mounts"));
        let said = skip.err().map(|panic| *panic.downcast::<String>().unwrap());
        let expected = "a test that root runs was skipped because it takes root: only root mounts";
        assert_eq!(said.as_deref(), is_root().then_some(expected));
    }
}
