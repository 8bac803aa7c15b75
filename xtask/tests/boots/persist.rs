//! /persist on a volume whose key a TPM has sealed: it opens by itself while CONFIG is what it was, and with the recovery key when it is not.
//! On the disk nobody reads what is in it.

use crate::common::{
    machine::{LIMIT, Machine, VERSION, image, ready, turn, xtask},
    tool, wants,
};
use crate::secure_boot::empty_folder;
use std::{
    fs::{self, File},
    io::{BufReader, Read as _, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

const MIB: u64 = 1 << 20;
const CONFIG: u64 = 37 * MIB;
/// The disk, and where its first start makes P3.
const DISK: u64 = 1536 * MIB;
const P3: u64 = 638 * MIB;
/// What is in a file of /persist, and in one of CONFIG.
const SECRET: &str = "nobody-reads-this-on-the-disk";
const PLAIN: &str = "anybody-reads-this-on-the-disk";

#[test]
fn persist_is_encrypted_and_opens_by_the_tpm_or_the_recovery_key() {
    let tools = [("swtpm", "swtpm"), ("mcopy", "mtools"), ("openssl", "openssl"), ("cryptsetup", "cryptsetup-bin")];
    if !ready("qemu-system-x86_64") || !tools.iter().all(|(program, package)| wants(program, package)) {
        return;
    }
    let folder = empty_folder("persist");
    let at = |name: &str| folder.join(name).display().to_string();
    tool("openssl", &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", &at("owner.key")]);
    tool("openssl", &["pkey", "-in", &at("owner.key"), "-pubout", "-out", &at("persist_recovery.pem")]);
    fs::write(at("persist_encryption"), "tpm # as docs/PERSIST.md has it\r\n").unwrap();
    let disk = folder.join("disk.raw");
    xtask("amd64").args(["live-raw"]).ok();
    tool("cp", &["--sparse=always", image("amd64").with_file_name("live.raw").to_str().unwrap(), disk.to_str().unwrap()]);
    File::options().write(true).open(&disk).unwrap().set_len(DISK).unwrap();
    for name in ["persist_encryption", "persist_recovery.pem"] {
        tool("mcopy", &["-i", &format!("{}@@{CONFIG}", disk.display()), &at(name), "::/"]);
    }
    let options = ["--disk-bus", "virtio", "--tpm", "--name", "persist-test"];
    let start = |name: &str| Machine::start_with(LIMIT, VERSION, &disk, name, &options);

    let _turn = turn();
    let machine = start("persist-first");
    let line = machine.ready_line();
    assert!(line.contains(" tpm=yes persist=new"), "{line}");
    gives_its_key_once(&machine);
    machine.ssh(&format!("echo {SECRET} > /persist/proof && sync"));
    // CONFIG changes, and nobody seals anew.
    let change = format!("mount -o remount,rw /config && echo {PLAIN} > /config/server && mount -o remount,ro /config");
    machine.ssh(&format!("nsenter -t 1 -m sh -c '{change}'"));
    let state = text(machine.answer("eve persist status"));
    assert!(state.contains("does not open at the next start: PCR 14 (the files of CONFIG)\n"), "{state}");
    machine.ssh("poweroff");
    machine.wait_for_end();
    drop(machine);
    assert!(has(&disk, PLAIN) && !has(&disk, SECRET));

    let key = by_hand(&folder, &disk);
    let machine = start("persist-second");
    let line = machine.wait_for_line("EVE-FAILED persist: ");
    assert!(line.ends_with("what its key was sealed to has changed: PCR 14 (the files of CONFIG)"), "{line}");
    assert!(machine.wait_for_line("hint: ").contains("`eve persist unlock` opens it with the recovery key"));
    let host_key = machine.wait_for_line("ssh: /persist is locked; the host key of this start: ");
    assert!(host_key.contains("SHA256:"), "{host_key}");
    // ssh starts when that is said.
    assert!((0..60).any(|_| machine.try_ssh("true") || (std::thread::sleep(Duration::from_secs(1)), false).1), "{}", machine.console());
    is_unlocked(&machine, &folder, &key);
    let state = text(machine.answer("eve persist reseal"));
    assert!(
        state.contains("sealed      to the PCRs 7 14 15: opens at the next start\n") && state.matches("sealed").count() == 1,
        "{state}"
    );
    machine.ssh("poweroff");
    machine.wait_for_end();
    drop(machine);

    let machine = start("persist-third");
    let line = machine.ready_line();
    assert!(line.contains(" tpm=yes persist=kept"), "{line}");
    machine.ssh(&format!("grep -qx {SECRET} /persist/proof"));
    drop(machine);
    fs::remove_dir_all(folder).unwrap();
}

/// The machine has opened the volume, and its TPM does not give the key to anybody before the next start.
fn gives_its_key_once(machine: &Machine) {
    machine.ssh("grep -q '^/dev/mapper/persist /persist ext4 rw' /proc/1/mounts && test $(head -c 4 /dev/vda9) = LUKS");
    let state = text(machine.answer("eve persist status"));
    assert!(state.contains(", open; CONFIG says tpm\nsealed      to the PCRs 7 14 15: opens at the next start\nrecovery "), "{state}");
    let again = "chroot /hostfs/containers/onboot/*-storage-init/rootfs /bin/busybox ash -c \
                 '. /tpm.sh; . /encryption.sh; CONSOLE=/dev/null; open_sealed /dev/vda9 || echo $why'";
    let mounts = "root=$(echo /hostfs/containers/onboot/*-storage-init/rootfs); for place in dev proc sys run config; do \
                  mount -o rbind /hostfs/$place $root/$place; done";
    let said = text(machine.answer(&format!("unshare -m sh -c \"{}\"", format!("{mounts}; {again}").replace('$', "\\$"))));
    assert_eq!(said, "what its key was sealed to has changed: PCR 15\n");
}

/// The recovery key, by the commands of docs/PERSIST.md on a machine that has the disk and the owner's private key.
fn by_hand(folder: &Path, disk: &Path) -> String {
    let mut head = vec![0; usize::try_from(20 * MIB).unwrap()];
    File::open(disk).unwrap().read_exact_at(&mut head, P3).unwrap();
    assert!(head.starts_with(b"LUKS\xba\xbe\x00\x02"));
    let p3 = folder.join("p3").display().to_string();
    fs::write(&p3, head).unwrap();
    let token = tool("cryptsetup", &["token", "export", "--token-id", "1", &p3]);
    let token: serde_json::Value = serde_json::from_str(&token).unwrap();
    assert_eq!(token["type"], "eve-recovery");
    let encrypted = token["encrypted"].as_str().unwrap();
    let bytes: Vec<u8> = (0..encrypted.len()).step_by(2).map(|at| u8::from_str_radix(&encrypted[at..at + 2], 16).unwrap()).collect();
    let key = text(decrypt(folder, &bytes));
    let tried = piped(Command::new("cryptsetup").args(["open", "--test-passphrase", "--key-file", "-", &p3]), key.as_bytes());
    assert!(tried.status.success(), "{tried:?}");
    key
}

/// The recovery key opens the volume in a machine that could not, and then the machine is ready. No other key does.
fn is_unlocked(machine: &Machine, folder: &Path, key: &str) {
    let base64 = text(machine.answer("eve persist recovery"));
    let encrypted = piped(Command::new("base64").arg("-d"), base64.as_bytes()).stdout;
    assert_eq!(text(decrypt(folder, &encrypted)), key);
    assert!(!machine.try_ssh("eve persist reseal"), "a key is sealed though the volume is locked");
    let wrong = piped(&mut machine.ssh_command("eve persist unlock"), key.replace(&key[..1], "x").as_bytes());
    assert!(!wrong.status.success() && text(wrong.stdout).contains("the key does not open /persist"));
    assert!(text(machine.answer("eve status")).contains("persist   locked: what its key was sealed to has changed: PCR 14"));
    let unlocked = piped(&mut machine.ssh_command("eve persist unlock"), key.as_bytes());
    assert!(unlocked.status.success(), "{unlocked:?}\n{}", machine.console());
    assert!(machine.ready_line().contains(" persist=kept"));
    machine.ssh(&format!("grep -qx {SECRET} /persist/proof"));
}

fn decrypt(folder: &Path, bytes: &[u8]) -> Vec<u8> {
    let options = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256"];
    let mut openssl = Command::new("openssl");
    openssl.args(["pkeyutl", "-decrypt", "-inkey"]).arg(folder.join("owner.key")).args(options);
    let output = piped(&mut openssl, bytes);
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

fn piped(command: &mut Command, input: &[u8]) -> std::process::Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// Whether the raw bytes of a file have a text.
fn has(file: &Path, text: &str) -> bool {
    let mut reader = BufReader::new(File::open(file).unwrap());
    let (mut part, keep) = (Vec::new(), text.len() - 1);
    loop {
        if reader.by_ref().take(MIB).read_to_end(&mut part).unwrap() == 0 {
            return false;
        }
        if memchr_in(&part, text.as_bytes()) {
            return true;
        }
        part.drain(..part.len() - keep.min(part.len()));
    }
}

/// Whether `part` has `text`; most of a disk is zeros.
fn memchr_in(part: &[u8], text: &[u8]) -> bool {
    let mut from = 0;
    while let Some(at) = part[from..].iter().position(|byte| *byte == text[0]) {
        if part[from + at..].starts_with(text) {
            return true;
        }
        from += at + 1;
    }
    false
}
