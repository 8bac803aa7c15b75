//! Compiles a crate with cargo to a static binary for an image: `eve-tools` for the tool images, `installer` for the installer. Checks that
//! it is static.

use super::{Cmd, Output, Tool, Tools};
use anyhow::{Context as _, Result, bail};
use common::Arch;
use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// Cargo's home, as programs of images name it.
const HOME: &str = "/cargo";

/// Compiles the crate `name`, whose program has its name, for `arch`, which must be this machine's, in the workspace `root`; returns the
/// program's absolute path. It has a target folder of its own, because its flags would make cargo compile everything of xtask again.
pub fn build(tools: &Tools, root: &Path, name: &str, arch: Arch, output: &Output) -> Result<PathBuf> {
    let cargo = || -> Result<Cmd> { Ok(tools.cmd(Tool::Cargo)?.dir(root)) };
    let host = parse_host(&cargo()?.args(["--version", "--verbose"]).stdout()?)?;
    check_host(&host, arch)?;
    let target_dir = root.join("target/static");
    cargo()?
        .args(["build", "--release", "--locked", "--package", name, "--target", &host, "--target-dir"])
        .arg(&target_dir)
        // With --target cargo does not use the flags for build scripts and procedural macros, which cannot be static.
        .env("CARGO_ENCODED_RUSTFLAGS", flags(tools))
        .step(format!("compiling {name}"))
        .output(output)
        .run()?;
    let program = target_dir.join(&host).join("release").join(name);
    let bytes = std::fs::read(&program).with_context(|| format!("cannot read `{}`", program.display()))?;
    check_static(&bytes).with_context(|| format!("`{}` cannot go into an image from scratch", program.display()))?;
    let home = cargo_home(tools).filter(|home| home != Path::new(HOME));
    let sources = [root.join("tools"), root.join("target")].into_iter().chain(home.map(|home| home.join("registry")));
    if let Some(found) = sources.into_iter().find(|folder| names_folder(&bytes, folder)) {
        bail!("`{}` contains the path `{}`: in another folder it would have other bytes", program.display(), found.display());
    }
    Ok(program)
}

/// Whether `program` contains the path of something in `folder`.
fn names_folder(program: &[u8], folder: &Path) -> bool {
    let mut path = folder.as_os_str().as_encoded_bytes().to_vec();
    path.push(b'/');
    program.windows(path.len()).any(|window| window == path)
}

/// The folder in which cargo keeps the sources of other crates.
fn cargo_home(tools: &Tools) -> Option<PathBuf> {
    let variable = |name: &str| tools.environment().get(OsStr::new(name)).map(PathBuf::from);
    variable("CARGO_HOME").or_else(|| Some(variable("HOME")?.join(".cargo")))
}

/// The crates that the program of the crate `name` for `arch` contains, as stanzas with `Package`, `Version` and `License`. Crates that only run while it is
/// compiled are left out.
pub fn crates(tools: &Tools, root: &Path, name: &str, arch: Arch) -> Result<String> {
    let cargo = || -> Result<Cmd> { Ok(tools.cmd(Tool::Cargo)?.dir(root)) };
    let host = parse_host(&cargo()?.args(["--version", "--verbose"]).stdout()?)?;
    check_host(&host, arch)?;
    let tree = cargo()?.args(["tree", "--locked", "--package", name, "--target", &host, "--edges", "normal,no-proc-macro"]);
    parse_crates(&tree.args(["--prefix", "none", "--format", "{p}\t{l}"]).step("listing the crates of the program").stdout()?)
}

/// Stanzas of the lines of `cargo tree`: `NAME vVERSION [(FOLDER)]`, a tab, the licence. A crate that was listed before has `(*)`.
fn parse_crates(text: &str) -> Result<String> {
    let mut stanzas = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let parsed = line.split_once('\t').and_then(|(package, licence)| {
            let (name, rest) = package.split_once(" v")?;
            Some((name, rest.split(' ').next()?, licence.trim_end_matches("(*)").trim()))
        });
        let (name, version, licence) = parsed.with_context(|| format!("`cargo tree` prints `{line}`, which is no crate"))?;
        let licence = if licence.is_empty() { String::new() } else { format!("License: {licence}\n") };
        stanzas.insert(format!("Package: {name}\nVersion: {version}\n{licence}"));
    }
    Ok(stanzas.into_iter().collect::<Vec<_>>().join("\n"))
}

/// Links statically, and replaces the path of cargo's sources, which the program's messages contain, so that the program does not depend
/// on the user who compiles it. `\x1f` separates the flags in CARGO_ENCODED_RUSTFLAGS.
fn flags(tools: &Tools) -> OsString {
    let mut flags = OsString::from("-C\x1ftarget-feature=+crt-static");
    if let Some(home) = cargo_home(tools) {
        flags.push("\x1f--remap-path-prefix=");
        flags.push(home);
        flags.push("=");
        flags.push(HOME);
    }
    flags
}

/// The `host: ` line of `cargo --version --verbose`.
pub(crate) fn parse_host(text: &str) -> Result<String> {
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`cargo --version --verbose` prints no `host: ` line")?.trim().to_owned())
}

fn check_host(host: &str, arch: Arch) -> Result<()> {
    let (machine, system) = host.split_once('-').unwrap_or((host, ""));
    let own = match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "riscv64gc" => "riscv64",
        other => other,
    };
    if !system.contains("linux") {
        bail!("programs of images run on Linux, but cargo here compiles for {host}");
    }
    if arch.as_str() != own {
        bail!(
            "programs of images are compiled for this machine's architecture only, {own}, not for {arch}\nhint: build the image for {arch} on a machine of that kind"
        );
    }
    Ok(())
}

/// An error unless `elf` is a 64-bit program that needs no loader (ELF-64 Object File Format 1.5: header and program headers).
fn check_static(elf: &[u8]) -> Result<()> {
    const INTERPRETER: u32 = 3;
    let number = |at: usize, len: usize| -> Result<usize> {
        let bytes = at.checked_add(len).and_then(|end| elf.get(at..end)).context("the program is cut off")?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    };
    // Class 2 is 64 bits, data 1 is little-endian.
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        bail!("it is not a 64-bit ELF program");
    }
    let (start, size, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
    for index in 0..count {
        let at = size.checked_mul(index).and_then(|offset| start.checked_add(offset)).context("the program is cut off")?;
        if u32::try_from(number(at, 4)?)? == INTERPRETER {
            bail!("it is linked dynamically: it names a loader");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fake;
    use std::sync::Mutex;

    /// An ELF file with program headers of these types.
    fn elf(types: &[u32]) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(64, 0);
        bytes[0x20] = 64;
        bytes[0x36] = 56;
        bytes[0x38] = types.len() as u8;
        for kind in types {
            bytes.extend_from_slice(&kind.to_le_bytes());
            bytes.resize(bytes.len() + 52, 0);
        }
        bytes
    }

    #[test]
    fn a_loader_is_found_where_there_is_one() {
        check_static(&elf(&[1, 2, 6])).unwrap();
        assert!(check_static(&elf(&[6, 3, 1])).unwrap_err().to_string().contains("dynamically"));
        assert_eq!(check_static(b"#!/bin/sh").unwrap_err().to_string(), "it is not a 64-bit ELF program");
        assert_eq!(check_static(&elf(&[1, 1])[..100]).unwrap_err().to_string(), "the program is cut off");
        let own = std::fs::read("/bin/sh").unwrap();
        let error = check_static(&own).err().map(|error| error.to_string());
        let has_loader = own.windows(6).any(|bytes| bytes == b"ld-lin");
        assert_eq!(error.as_deref(), has_loader.then_some("it is linked dynamically: it names a loader"));
    }

    #[test]
    fn a_program_that_names_the_folder_of_its_sources_is_found() {
        let program = b"panicked at /w/tools/x/src/lib.rs, tools/y/src/lib.rs, /cargo/registry/z";
        assert!(names_folder(program, Path::new("/w/tools")));
        assert!(!names_folder(program, Path::new("/w/tool")) && !names_folder(program, Path::new("/elsewhere/registry")));
    }

    #[test]
    fn only_this_machines_architecture_is_compiled() {
        let host = parse_host("cargo 1.89.0 (c24e10642 2025-06-23)\nrelease: 1.89.0\nhost: aarch64-unknown-linux-gnu\nos: x\n").unwrap();
        check_host(&host, Arch::Arm64).unwrap();
        let error = check_host(&host, Arch::Amd64).unwrap_err().to_string();
        assert!(error.contains("only, arm64, not for amd64\nhint: "), "{error}");
        let error = check_host("aarch64-apple-darwin", Arch::Arm64).unwrap_err().to_string();
        assert_eq!(error, "programs of images run on Linux, but cargo here compiles for aarch64-apple-darwin");
        let error = parse_host("cargo 1.89.0").unwrap_err().to_string();
        assert_eq!(error, "`cargo --version --verbose` prints no `host: ` line");
    }

    #[test]
    fn crates_are_listed_once_with_their_licences() {
        let text = "own v0.1.0 (/somewhere/own)\tApache-2.0\nb v1.2.0+x\tMIT/Apache-2.0\nown v0.1.0 (/somewhere/own)\tApache-2.0 (*)\na v2.0.0\t\n";
        let expected = "Package: a\nVersion: 2.0.0\n\nPackage: b\nVersion: 1.2.0+x\nLicense: MIT/Apache-2.0\n\nPackage: own\nVersion: 0.1.0\nLicense: Apache-2.0\n";
        assert_eq!(parse_crates(text).unwrap(), expected);
        assert!(parse_crates("error\n").unwrap_err().to_string().contains("`error`"));
    }

    #[test]
    fn cargo_is_called_with_static_linking_and_its_result_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let script = r#"case $1 in
            --version) echo "host: x86_64-unknown-linux-gnu" ;;
            *) echo "$@; $CARGO_ENCODED_RUSTFLAGS"; mkdir -p target/static/x86_64-unknown-linux-gnu/release
               printf '%s' no-elf > target/static/x86_64-unknown-linux-gnu/release/eve-tools ;;
            esac"#;
        fake::tool(folder.path(), Tool::Cargo, script);
        let lines = std::sync::Arc::new(Mutex::new(Vec::new()));
        let seen = std::sync::Arc::clone(&lines);
        let output = Output::to(move |line| seen.lock().unwrap().push(line.to_owned()));
        let error = build(&fake::tools(folder.path()), folder.path(), "eve-tools", Arch::Amd64, &output).unwrap_err();
        assert!(format!("{error:#}").contains("it is not a 64-bit ELF program"), "{error:#}");
        let root = folder.path().display();
        let line = format!(
            "build --release --locked --package eve-tools --target x86_64-unknown-linux-gnu --target-dir {root}/target/static; -C\x1ftarget-feature=+crt-static"
        );
        assert_eq!(*lines.lock().unwrap(), [line]);
    }
}
