//! `keys` and `sign`: what other tools for Secure Boot say of the keys, of the signed variables and of signed programs.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod place;
mod root;

use common::{Xtask, repository, tool, wants};
use place::{Place, program};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

/// The code of unified kernel images, and OVMF's variables without keys.
const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
const OVMF: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

#[test]
fn keys_are_made_once_outside_of_the_tree() {
    let place = Place::new();
    if !wants("openssl", "openssl") {
        return;
    }
    let said = place.xtask(&["keys", "init"]).ok();
    let keys = place.at("home/.config/eve-xtask/keys");
    assert!(said.starts_with(&format!("made: {keys}\n")), "{said}");
    let mode = |name: &str| fs::metadata(Path::new(&keys).join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(["", "PK.key", "KEK.key", "db.key", "image.key"].map(mode), [0o700, 0o600, 0o600, 0o600, 0o600]);
    let before = fs::read(format!("{keys}/db.key")).unwrap();
    let error = place.xtask(&["keys", "init"]).fails().1;
    assert!(error.contains("keys are never overwritten") && error.contains("hint: --keys OTHER-FOLDER"), "{error}");
    assert!(fs::read(format!("{keys}/db.key")).unwrap() == before);
    let subject = tool("openssl", &["x509", "-noout", "-subject", "-in", &format!("{keys}/db.crt")]);
    // Versions of openssl differ in the blanks.
    assert_eq!(subject.replace(char::is_whitespace, ""), "subject=CN=EVEdb");
    // A link into the tree leads into the tree.
    std::os::unix::fs::symlink(place.root(), place.at("link")).unwrap();
    let tree = place.root().display().to_string();
    for folder in [format!("{tree}/dist/keys"), place.at("link/new/keys"), "keys".to_owned(), place.at("nope/../tree/new/keys")] {
        let error = place.xtask(&["keys", "init", "--keys", &folder]).fails().1;
        assert!(error.contains("is in the tree, and what is in the tree gets into commits and archives"), "{error}");
    }
    assert!(!place.root().join("dist/keys").exists() && !place.root().join("new").exists());
    assert!(!Path::new(&place.at("nope")).exists());
    // A relative base folder is none.
    let error = place.xtask(&["keys", "init"]).env("XDG_CONFIG_HOME", "new").fails().1;
    assert!(error.contains(&format!("`{keys}` is there")), "{error}");
    let left: Vec<_> = fs::read_dir(place.at("home/.config/eve-xtask")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["keys"]);
}

#[test]
fn a_dry_run_writes_nothing_and_a_signed_program_keeps_its_link_and_mode() {
    let place = Place::new();
    if !wants("openssl", "openssl") {
        return;
    }
    let keys = place.at("keys");
    let said = place.xtask(&["keys", "init", "-n", "--keys", &keys]).ok();
    assert!(said == format!("make keys in {keys}\n") && !Path::new(&keys).exists(), "{said}");
    place.xtask(&["keys", "init", "--keys", &keys]).ok();
    let error = place.xtask(&["keys", "init", "-n", "--keys", &keys]).fails().1;
    assert!(error.contains("keys are never overwritten"), "{error}");
    let file = place.program("program.efi", 1000);
    let said = place.xtask(&["sign", &file, "-n", "--keys", &keys]).ok();
    assert!(said == format!("sign {file}, and write {file}\n") && fs::read(&file).unwrap() == program(1000), "{said}");
    // What is signed keeps its link and its mode.
    let link = place.at("BOOTX64.EFI");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o751)).unwrap();
    std::os::unix::fs::symlink("program.efi", &link).unwrap();
    place.xtask(&["sign", &link, "--keys", &keys]).ok();
    assert!(Path::new(&link).is_symlink() && fs::read(&file).unwrap() != program(1000));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o751);
    if !Path::new(OVMF).is_file() {
        skips::missing(OVMF, "ovmf");
        return;
    }
    let out = place.at("vars");
    let enrol = |firmware: &str| place.xtask(&["keys", "enrol", "--firmware", firmware, "--out", &out, "--keys", &keys]);
    let said = enrol(OVMF).args(["-n"]).ok();
    assert!(said == format!("write {out}\n") && !Path::new(&out).exists(), "{said}");
    enrol(OVMF).ok();
    let error = enrol(&out).fails().1;
    assert!(error.contains("the variable `PK` is there already") && error.contains("hint: take fresh variables"), "{error}");
}

#[test]
fn efitools_makes_the_same_lists_and_signed_variables() {
    let place = Place::new();
    if !wants("openssl", "openssl") || !wants("sign-efi-sig-list", "efitools") {
        return;
    }
    let keys = place.at("keys");
    place.xtask(&["keys", "init", "--name", "Example 3", "--bits", "3072"]).env("SIGN_KEYS", &keys).ok();
    for (name, signer) in [("PK", "PK"), ("KEK", "PK"), ("db", "KEK")] {
        let at = |name: &str, ending: &str| format!("{keys}/{name}.{ending}");
        let list = fs::read(at(name, "esl")).unwrap();
        let g: Vec<String> = list[28..44].iter().map(|byte| format!("{byte:02x}")).collect();
        let order = [3, 2, 1, 0, 16, 5, 4, 16, 7, 6, 16, 8, 9, 16, 10, 11, 12, 13, 14, 15];
        let owner: String = order.iter().map(|index| g.get(*index).map_or("-", String::as_str)).collect();
        let (other_list, other) = (place.at("other.esl"), place.at("other.auth"));
        tool("cert-to-efi-sig-list", &["-g", &owner, &at(name, "crt"), &other_list]);
        assert!(fs::read(&other_list).unwrap() == list, "{name}");
        let own = fs::read(at(name, "auth")).unwrap();
        let year = u16::from_le_bytes([own[0], own[1]]);
        let time = format!("{year}-{}-{} {}:{}:{}", own[2], own[3], own[4], own[5], own[6]);
        let signing = ["-t", &time, "-k", &at(signer, "key"), "-c", &at(signer, "crt"), name, &other_list, &other];
        tool("sign-efi-sig-list", &signing);
        assert!(fs::read(&other).unwrap() == own, "{name}");
    }
}

#[test]
fn sbverify_believes_what_is_signed_and_nothing_else() {
    let place = Place::new();
    if !wants("openssl", "openssl") || !wants("sbverify", "sbsigntool") {
        return;
    }
    let (one, two) = (place.at("one"), place.at("two"));
    for keys in [&one, &two] {
        place.xtask(&["keys", "init", "--keys", keys]).ok();
    }
    let verify = |keys: &str, file: &str| {
        let output = Command::new("sbverify").args(["--cert", &format!("{keys}/db.crt"), file]).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
    };
    // Lengths that signatures have to be padded for, too.
    for size in [1000, 1001, 4096] {
        let file = place.program("program.efi", size);
        let signed = place.at("signed.efi");
        place.xtask(&["sign", &file, "--out", &signed, "--keys", &one]).ok();
        assert!(fs::read(&file).unwrap() == program(size));
        let (good, said) = verify(&one, &signed);
        assert!(good && said.contains("Signature verification OK"), "{size}: {said}");
        assert!(!verify(&two, &signed).0, "{size}");
        // Signing again changes nothing; another key, here one that openssl finds by its URI, leaves no old signature.
        let bytes = fs::read(&signed).unwrap();
        place.xtask(&["sign", &signed, "--keys", &one]).ok();
        assert!(fs::read(&signed).unwrap() == bytes, "{size}");
        let (key, certificate) = (format!("file:{two}/db.key"), format!("{two}/db.crt"));
        place.xtask(&["sign", &signed, "--sign-key", &key, "--certificate", &certificate]).ok();
        assert!(verify(&two, &signed).0 && !verify(&one, &signed).0, "{size}");
        // One changed byte.
        let mut bytes = bytes;
        bytes[0x200 + size / 2] ^= 1;
        fs::write(&signed, bytes).unwrap();
        let (good, said) = verify(&one, &signed);
        assert!(!good && said.contains("fail"), "{size}: {said}");
    }
}

#[test]
fn an_image_that_cannot_be_signed_is_refused_before_anything_is_made() {
    let place = Place::new();
    let (home, none) = (place.at("home"), place.at("none"));
    for (words, said) in [
        (&["live", "--sign"][..], "none/db.crt`: No such file or directory (os error 2)\nhint: cargo xtask keys init makes keys"),
        (&["live", "SIGN=y", "HV=xen"], "SIGN=y with HV=xen ZARCH=amd64: only images for kvm on amd64 can be signed yet"),
        (&["live", "--sign", "--zarch", "arm64"], "SIGN=y with HV=kvm ZARCH=arm64: only images for kvm on amd64 can be signed yet"),
        (
            &["live", "--sign", "ROOTFS_FORMAT=ext4"],
            "SIGN=y with ROOTFS_FORMAT=ext4: it fills its partition, and leaves no room for the hashes",
        ),
        (
            &["installer-net", "--sign"],
            "SIGN=y: installer.net cannot be signed yet\nhint: SIGN=n; live, installer-raw and installer-iso can be signed",
        ),
        (&["eve", "--sign"], "SIGN=y: lfedge/eve cannot be signed yet"),
        (&["installer-iso", "SIGN=y", "HV=xen"], "SIGN=y with HV=xen ZARCH=amd64: only images for kvm on amd64 can be signed yet"),
        (&["installer", "--sign", "--zarch", "arm64"], "SIGN=y with HV=kvm ZARCH=arm64: only images for kvm on amd64 can be signed yet"),
    ] {
        let xtask = Xtask::new(&repository()).env("HOME", &home).env("ZARCH", "amd64").args(["-n"]).args(words).args(["--keys", &none]);
        let error = xtask.fails().1;
        assert!(error.contains(said), "{words:?}: {error}");
    }
}

#[test]
fn an_installer_takes_keys_along_that_belong_together() {
    let place = Place::new();
    if !wants("openssl", "openssl") {
        return;
    }
    if !Path::new(STUB).is_file() {
        return skips::missing(STUB, "systemd-boot-efi");
    }
    let (home, one, two) = (place.at("home"), place.at("one"), place.at("two"));
    for keys in [&one, &two] {
        place.xtask(&["keys", "init", "--keys", keys]).ok();
    }
    let plan =
        || Xtask::new(&repository()).env("HOME", &home).env("ZARCH", "amd64").args(["installer-raw", "-n", "--sign", "--keys", &one]);
    let said = plan().ok();
    assert!(said.contains("signed for Secure Boot, with dm-verity and the keys to enrol)"), "{said}");
    let db = format!("{one}/db.auth");
    let own = fs::read(&db).unwrap();
    fs::copy(format!("{two}/db.auth"), &db).unwrap();
    let error = plan().fails().1;
    assert!(error.contains("db.auth` does not have the certificate of db that signs, so a firmware with it would not start"), "{error}");
    fs::write(&db, &own[..100]).unwrap();
    let error = plan().fails().1;
    assert!(error.contains("no signed variable (EFI_VARIABLE_AUTHENTICATION_2): its signature has "), "{error}");
    fs::remove_file(&db).unwrap();
    let error = plan().fails().1;
    assert!(error.contains("one` has some of PK.auth, KEK.auth, db.auth, and a firmware takes all or none\nhint: "), "{error}");
}

#[test]
fn what_cannot_be_signed_or_cannot_sign_is_named() {
    let place = Place::new();
    if !wants("openssl", "openssl") {
        return;
    }
    let file = place.program("program.efi", 1000);
    let error = place.xtask(&["sign", &file]).fails().1;
    assert!(error.contains("db.key` is not there\nhint: cargo xtask keys init"), "{error}");
    let keys = place.at("keys");
    place.xtask(&["keys", "init", "--keys", &keys]).ok();
    let text = place.at("text");
    fs::write(&text, "text").unwrap();
    let error = place.xtask(&["sign", &text, "--keys", &keys]).fails().1;
    assert!(error.contains("it does not begin with `MZ`"), "{error}");
    assert_eq!(fs::read_to_string(&text).unwrap(), "text");
    let signs = |key: &str, certificate: &str| place.xtask(&["sign", &file, "--sign-key", key, "--certificate", certificate]).fails().1;
    let error = signs(&format!("{keys}/PK.key"), &format!("{keys}/db.crt"));
    assert!(error.contains("db.crt` is the certificate of another key than"), "{error}");
    let error = signs(&format!("{keys}/PK.key"), &text);
    assert!(error.contains("text` is no X.509 certificate"), "{error}");
    let (key, certificate) = (place.at("ec.key"), place.at("ec.crt"));
    tool("openssl", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &key]);
    tool("openssl", &["req", "-new", "-x509", "-key", &key, "-subj", "/CN=ec", "-out", &certificate]);
    let error = signs(&key, &certificate);
    assert!(error.contains("has a key that is not RSA, and firmware checks no other signatures"), "{error}");
    let error = place.xtask(&["keys", "enrol", "--firmware", &text, "--out", &place.at("vars"), "--keys", &keys]).fails().1;
    assert!(error.contains("text`") && error.contains("the header of the volume is missing"), "{error}");
    let error = place.xtask(&["keys", "init", "--firmware", &text, "--keys", &place.at("new")]).fails().1;
    assert!(error.contains("--firmware and --out are those of `keys enrol`"), "{error}");
    let error = place.xtask(&["keys", "init", "--keys", &place.at("new"), "--name", "a/CN=b"]).fails().1;
    assert!(error.contains("`/` cannot stand in a name"), "{error}");
    assert!(fs::read(&file).unwrap() == program(1000));
}

#[test]
fn keys_that_cannot_sign_are_found_before_the_first_step() {
    let place = Place::new();
    if !wants("openssl", "openssl") {
        return;
    }
    if !Path::new(STUB).is_file() || !wants("dpkg-query", "dpkg") {
        return skips::missing(STUB, "systemd-boot-efi");
    }
    let keys = place.at("keys");
    place.xtask(&["keys", "init", "--keys", &keys]).ok();
    let at = |name: &str| format!("{keys}/{name}");
    let plan = || place.xtask(&["live-raw", "--sign", "-n", "--keys", &keys]).env("ZARCH", "amd64");
    assert!(plan().ok().contains("signed for Secure Boot"));
    let with = |name: &str, bytes: &[u8], said: &str| {
        let before = fs::read(at(name)).unwrap();
        fs::write(at(name), bytes).unwrap();
        let error = plan().fails().1;
        assert!(error.contains(said) && error.contains("SIGN=y"), "{name}: {error}");
        fs::write(at(name), before).unwrap();
    };
    let read = |name: &str| fs::read(at(name)).unwrap();
    // The stub is no file of a package of the tree; the bill of materials names it all the same.
    let record = place.root().join("pkg/base/files/var/lib/dpkg/status.d");
    fs::create_dir_all(&record).unwrap();
    fs::write(record.join("a"), "Package: a\nVersion: 1\nArchitecture: amd64\n").unwrap();
    let bill = |words: &[&str]| {
        let xtask = |words: &[&str]| place.xtask(words).env("ZARCH", "amd64").env("LINUXKIT_CACHE", place.at("images"));
        xtask(&[&["sbom", "--keys", &keys], words].concat()).ok();
        fs::read_to_string(xtask(&["sbom_info"]).ok().trim()).unwrap()
    };
    let version = tool("dpkg-query", &["-W", "-f", "${Version}", "systemd-boot-efi"]);
    let signed = bill(&["--sign"]);
    let locator = format!("pkg:deb/debian/systemd-boot-efi@{version}?arch=amd64&upstream=systemd%40{version}");
    assert!(signed.contains(&locator), "{locator}\n{signed}");
    assert!(!bill(&[]).contains("systemd"));
    with("db.key", &read("PK.key"), "db.crt` is the certificate of another key than");
    with("db.key", b"text", "db.key` is no private key");
    with("db.crt", b"text", "db.crt` is no X.509 certificate");
    with("image.pub", b"text", "it is no public RSA key with 2048 or 3072 bits");
    let other = place.at("other.pub");
    tool("openssl", &["pkey", "-in", &at("PK.key"), "-pubout", "-out", &other]);
    with("image.pub", &fs::read(&other).unwrap(), "image.pub` is not the public half of `");
    // The same key, with a certificate of the past.
    let expired = place.at("expired.crt");
    let request = place.at("expired.csr");
    tool("openssl", &["req", "-new", "-key", &at("db.key"), "-subj", "/CN=old", "-out", &request]);
    tool("openssl", &["x509", "-req", "-in", &request, "-signkey", &at("db.key"), "-days", "-1", "-out", &expired]);
    let certificate = read("db.crt");
    fs::copy(&expired, at("db.crt")).unwrap();
    let output = plan().output();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("db.crt` has expired: firmware does not look at that"), "{said}");
    fs::write(at("db.crt"), certificate).unwrap();
    let error = plan().env("SOURCE_DATE_EPOCH", "1").fails().1;
    assert!(error.contains("SIGN=y: SOURCE_DATE_EPOCH is set, and machines tell older images by the time of the commit"), "{error}");
    fs::rename(at("db.key"), place.at("away")).unwrap();
    assert!(plan().fails().1.contains("db.key` is not there\nhint: cargo xtask keys init"));
    fs::rename(place.at("away"), at("db.key")).unwrap();
    // Without a key for updates the image is signed as before, and that is said.
    fs::remove_file(at("image.pub")).unwrap();
    let output = plan().output();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("has no image.pub, so a machine with this image takes every update"), "{said}");
    // What makes no rootfs.img signs nothing, and says so.
    let output = place.xtask(&["rootfstar", "--sign", "-n", "--keys", &keys]).env("ZARCH", "amd64").output();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("note: SIGN has no effect here: rootfs.img is signed, and it is not made here"), "{said}");
}

#[test]
fn a_key_that_no_initrd_could_check_a_root_file_system_with_cannot_sign() {
    let place = Place::new();
    if !wants("openssl", "openssl") {
        return;
    }
    if !Path::new(STUB).is_file() {
        return skips::missing(STUB, "systemd-boot-efi");
    }
    let keys = place.at("keys");
    fs::create_dir(&keys).unwrap();
    let (key, certificate) = (format!("{keys}/db.key"), format!("{keys}/db.crt"));
    tool("openssl", &["req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=short", "-keyout", &key, "-out", &certificate]);
    let error = place.xtask(&["live-raw", "--sign", "-n", "--keys", &keys]).env("ZARCH", "amd64").fails().1;
    assert!(error.contains("db's key is no RSA key with 2048 to 4096 bits and the exponent 65537 (it has 1024 bits)"), "{error}");
}

#[test]
fn a_disk_that_the_firmware_would_refuse_is_not_started() {
    let place = Place::new();
    if !wants("openssl", "openssl") {
        return;
    }
    if !Path::new(OVMF).is_file() {
        return skips::missing(OVMF, "ovmf");
    }
    let keys = place.at("keys");
    place.xtask(&["keys", "init", "--keys", &keys]).ok();
    let grub = place.root().join("pkg/base/files/EFI/BOOT/BOOTX64.EFI");
    let disk = place.at("live.raw");
    let build = || {
        place.xtask(&["live-raw", "ROOTFS_VERSION=v"]).env("ZARCH", "amd64").env("LINUXKIT_CACHE", place.at("images")).ok();
        fs::copy(place.root().join("dist/amd64/v/live.raw"), &disk).unwrap();
    };
    let run = |words: &[&str]| place.xtask(&["run", "--secure-boot", "--disk", &disk, "--keys", &keys]).env("ZARCH", "amd64").args(words);
    fs::write(&grub, program(1000)).unwrap();
    build();
    let (code, error) = run(&[]).fails();
    assert!(
        code == 2 && error.contains("live.raw` is not signed, so the firmware would not start it\nhint: cargo xtask live --sign"),
        "{error}"
    );
    let (key, certificate) = (format!("{keys}/PK.key"), format!("{keys}/PK.crt"));
    place.xtask(&["sign", grub.to_str().unwrap(), "--sign-key", &key, "--certificate", &certificate]).ok();
    build();
    let (code, error) = run(&[]).fails();
    assert!(code == 2 && error.contains(&format!("live.raw` is not signed with the key db of `{keys}`")), "{error}");
    // With a further certificate in db only the firmware knows. The image is not that of a machine, so what comes next differs.
    let both = [fs::read(format!("{keys}/db.esl")).unwrap(), fs::read(format!("{keys}/PK.esl")).unwrap()].concat();
    fs::write(format!("{keys}/db.esl"), both).unwrap();
    let shown = run(&["-n"]).ok();
    assert!(shown.contains("qemu-system-x86_64"), "{shown}");
    // Only the machine of `run` can be one with Secure Boot.
    for verb in ["run-installer-raw", "run-target", "run-rootfs", "run-grub"] {
        let (code, error) = place.xtask(&[verb, "--secure-boot"]).fails();
        assert!(code == 2 && error.contains("--secure-boot"), "{verb}: {error}");
    }
}
