//! PCR 14 and 15: no start leaves them as they were, because whoever is root could then extend them with what a key is sealed to.

use super::common::{repository, tool, wants};
use super::sealing::Tpm;
use std::{fs, path::Path};

/// Prints the PCRs 14 and 15 of the SHA-256 bank (TPM2_PCR_Read).
const READ: &str = "tpm_open; tpm_call 8001 0000017e $(tpm_selection '14 15'); at 30 32; at 64 32";
const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The value of a PCR that was extended once, with this text and a line feed.
fn once(text: &str) -> String {
    let script = format!("e=$(echo '{text}' | sha256sum | cut -c 1-64); printf %s {ZEROS}$e | xxd -r -p | sha256sum | cut -c 1-64");
    tool("busybox", &["ash", "-c", &script]).trim().to_owned()
}

/// measure-config.sh for a machine below `folder`, whose TPM is at stdin.
fn measure_config(folder: &Path) -> String {
    for name in ["config/sub", "run", "tpm0/pcr-sha256"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    fs::write(folder.join("tpm0/pcr-sha256/15"), format!("{ZEROS}\n")).unwrap();
    fs::write(folder.join("config/sub/server"), "a\n").unwrap();
    let mut text = fs::read_to_string(repository().join("pkg/measure-config/measure-config.sh")).unwrap();
    let here = folder.display();
    for (there, place) in [
        ("=/config\n", format!("={here}/config\n")),
        ("=/run/eve\n", format!("={here}/run\n")),
        ("=/sys/class/tpm/tpm0\n", format!("={here}/tpm0\n")),
        ("exec 3<> /dev/tpm0\n", "exec 3<&0\n".to_owned()),
    ] {
        assert!(text.contains(there), "{there}");
        text = text.replace(there, &place);
    }
    let script = folder.join("measure-config.sh");
    fs::write(&script, text).unwrap();
    format!("busybox ash {}", script.display())
}

#[test]
fn pcr_14_and_15_are_extended_whatever_is_in_config() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("tpm");
    if Tpm::start(&state).is_none() {
        return;
    }
    let measure = measure_config(folder.path());
    // Each is a start of the machine.
    let start = |script: &str| {
        let _ = fs::remove_dir_all(folder.path().join("run"));
        Tpm::start(&state).unwrap().run(&format!("{script}; {READ}"))
    };
    let next = tool("sh", &["-c", &format!("{measure} next")]);
    // As storage-init asks for it, then as a container, and then again, when storage-init has extended PCR 15.
    let said = start(&format!("{measure} config > /dev/null; echo $?; {measure} > /dev/null; echo $?"));
    assert_eq!(said, format!("0\n1\n{}\n{}\n", next.trim(), once("persist unknown")));
    fs::write(folder.path().join("tpm0/pcr-sha256/15"), format!("{}\n", once("persist plain").to_uppercase())).unwrap();
    let said = start(&format!("tpm_extend 15 'persist plain'; {measure} > /dev/null; echo $?; {measure}; echo $?"));
    let again = "storage-init has measured the configuration\n0\n";
    assert_eq!(said, format!("0\n{again}{}\n{}\n", next.trim(), once("persist plain")));

    // A name that is no line, a folder that cannot be listed, and no room for the list.
    let config = folder.path().join("config");
    fs::write(config.join("a\nb"), "c").unwrap();
    let unknown = |before: &str| {
        let said = start(&format!("{before}{measure} 2> /dev/null | sed 's/.*\\(config unknown\\).*/\\1/'; {measure} | sed 's/ .*//'"));
        assert_eq!(said, format!("config unknown\nstorage-init\n{}\n{ZEROS}\n", once("config unknown")), "{before}");
        assert_eq!(start(&format!("{before}{measure} 2> /dev/null > /dev/null; echo $?")).lines().next(), Some("1"), "{before}");
    };
    unknown("");
    assert!(!std::process::Command::new("sh").args(["-c", &format!("{measure} next 2> /dev/null")]).status().unwrap().success());
    fs::remove_file(config.join("a\nb")).unwrap();
    let full = folder.path().join("run/measured-config").display().to_string();
    unknown(&format!("mkdir -p {0}/run; ln -sf /dev/full {full}; ", folder.path().display()));
    // The files that differ from device to device do not count, and a blank at the end of a name is part of it.
    fs::write(config.join("device.key.pem"), "d").unwrap();
    assert_eq!(tool("sh", &["-c", &format!("{measure} next")]), next);
    fs::write(config.join("server "), "e").unwrap();
    assert_ne!(tool("sh", &["-c", &format!("{measure} next")]), next);
}

#[test]
fn a_machine_without_a_tpm_measures_nothing() {
    if !wants("busybox", "busybox-static") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let measure = measure_config(folder.path());
    fs::remove_dir_all(folder.path().join("tpm0")).unwrap();
    assert_eq!(tool("sh", &["-c", &measure]), "no TPM\n");
    assert_eq!(fs::read_to_string(folder.path().join("run/tpm")).unwrap(), "no\n");
}

#[test]
fn a_start_without_a_disk_of_its_own_extends_pcr_15_too() {
    if !wants("busybox", "busybox-static") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let package = repository().join("pkg/storage-init");
    let here = folder.path().display();
    for (name, more) in [
        ("storage-init.sh", String::new()),
        ("tpm.sh", String::new()),
        ("encryption.sh", format!("RUN={here}; has_tpm() {{ true; }}; tpm_extend() {{ echo \"extends $1: $2\"; }}\n")),
    ] {
        let text = fs::read_to_string(package.join(name)).unwrap();
        let text = text.replace(". /tpm.sh", &format!(". {here}/tpm.sh")).replace(". /encryption.sh", &format!(". {here}/encryption.sh"));
        fs::write(folder.path().join(name), text.replace("/run/eve", &here.to_string()) + &more).unwrap();
    }
    let run = |words: &str| tool("sh", &["-c", &format!("busybox ash {here}/storage-init.sh {words} || true")]);
    let failed = "the root file system does not lie on a partition of a disk\n";
    // A command of `eve persist` is no start.
    assert_eq!(run("status"), failed);
    assert_eq!(run(""), format!("{failed}extends 15: persist locked\n"));
}

#[test]
fn an_installer_extends_pcr_15_before_anything_else_may_run() {
    let folder = tempfile::tempdir().unwrap();
    let Some(tpm) = Tpm::start(&folder.path().join("tpm")) else { return };
    let script = fs::read_to_string(repository().join("pkg/installer/rootfs/etc/init.d/999-ready")).unwrap();
    let (from, until) = (script.find("mark_tpm() {").unwrap(), script.find("pause() {").unwrap());
    let function = script[from..until].replace("exec 3<> /dev/tpm0", "exec 3<&0").replace("/sys/class/tpm/tpm0", "/");
    let said = tpm.run(&format!("{function}\nmark_tpm; echo $?; {READ}"));
    assert_eq!(said, format!("0\n{ZEROS}\n{}\n", once("installer")));
    assert!(script.find("\n! mark_tpm").unwrap() < script.find("\nsettings=").unwrap());
}
