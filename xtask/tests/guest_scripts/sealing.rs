//! The key of /persist: the TPM's commands with swtpm, keys and tokens of a LUKS2 volume with cryptsetup, and what a start decides.

use super::common::{repository, tool, wants};
use std::{
    fs,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// A secret, and two seals of it: to the values of a TPM that has just started.
const SEAL: &str = "z=$(printf %064d 0); tpm_seal \"7=$z 14=$z 15=$z\" c0ffee || echo \"$why\"";
const UNSEAL: &str = "tpm_unseal '7 14 15' $sealed_private $sealed_public; echo \"$? $secret\"";

/// A TPM with its state in a folder.
pub(super) struct Tpm {
    child: Child,
    socket: PathBuf,
}

impl Tpm {
    /// None where a program is missing. The PCRs are as after a start of the machine.
    pub(super) fn start(state: &Path) -> Option<Self> {
        let all = [("busybox", "busybox-static"), ("swtpm", "swtpm")];
        if !all.iter().all(|(program, package)| wants(program, package)) {
            return None;
        }
        fs::create_dir_all(state).unwrap();
        let socket = state.join("sock");
        let _ = fs::remove_file(&socket);
        let mut swtpm = Command::new("swtpm");
        swtpm.args([
            "socket",
            "--tpm2",
            "--flags",
            "not-need-init,startup-clear",
            "--tpmstate",
            "dir=.",
            "--server",
            "type=unixio,path=sock",
        ]);
        let child = swtpm.current_dir(state).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Some(Self { child, socket })
    }

    /// What busybox's shell prints that has read the guest's scripts, and talks to this TPM.
    pub(super) fn run(&self, script: &str) -> String {
        let until = Instant::now() + Duration::from_secs(20);
        let stream = loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let scripts = scripts();
        let text = format!("cd {}; . ./tpm.sh; . ./encryption.sh; tpm_open() {{ exec 3<&0; }}; {script}", scripts.display());
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
        let mut shell = Command::new("busybox");
        let output = shell.args(["ash", "-uc", &text]).env("PATH", path).stdin(OwnedFd::from(stream)).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn scripts() -> PathBuf {
    repository().join("pkg/storage-init")
}

/// A shell with the scripts, and no TPM.
fn shell(script: &str) -> String {
    let text = format!("cd {}; . ./tpm.sh; . ./encryption.sh; {script}", scripts().display());
    tool("busybox", &["ash", "-uc", &text])
}

#[test]
fn a_key_is_given_by_the_tpm_that_sealed_it_while_the_pcrs_are_those_of_the_seal() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    let Some(tpm) = Tpm::start(&here) else { return };
    // 24 bits, the lowest first in each byte.
    assert_eq!(shell("tpm_selection '7=aa 14 15'"), "00000001000b0380c000");
    let blob = tpm.run(&format!("{SEAL}; echo $sealed_private $sealed_public"));
    let (private, public) = blob.trim().split_once(' ').unwrap();
    let kept = format!("secret=; sealed_private={private}; sealed_public={public}");
    assert_eq!(tpm.run(&format!("{kept}; {UNSEAL}")), "0 c0ffee\n");
    // What extends one of the PCRs ends that, for the one as for the other. Nothing is left in the TPM that fills it.
    assert_eq!(tpm.run(&format!("{kept}; tpm_extend 15 done && {UNSEAL}")), "3 \n");
    assert_eq!(tpm.run(&format!("{kept}; for n in 1 2 3 4 5 6 7 8; do {UNSEAL}; done")), "3 \n".repeat(8));
    drop(tpm);
    let tpm = Tpm::start(&here).unwrap();
    assert_eq!(tpm.run(&format!("{kept}; for n in 1 2 3 4 5 6 7 8; do {UNSEAL}; done")), "0 c0ffee\n".repeat(8));
    assert_eq!(tpm.run(&format!("{kept}; tpm_extend 14 other && {UNSEAL}")), "3 \n");
    // Fewer PCRs than the seal has are another policy.
    assert_eq!(tpm.run(&format!("{kept}; tpm_unseal '7 15' $sealed_private $sealed_public; echo \"$? $secret\"")), "3 \n");
    drop(tpm);
    // Another TPM, and a damaged blob.
    let other = Tpm::start(&there).unwrap();
    assert_eq!(other.run(&format!("{kept}; {UNSEAL}")), "4 \n");
    let tpm = Tpm::start(&here).unwrap();
    assert_eq!(
        tpm.run(&format!("{kept}; sealed_private=${{sealed_private%??}}zz; sealed_private=${{sealed_private%zz}}00; {UNSEAL}")),
        "4 \n"
    );
    let said = tpm.run("tpm_open; tpm_call 8001 20000000 '' || echo \"$why\"");
    assert_eq!(said, "the TPM refuses the command 0x20000000 with the code 0x00000143\n");
}

#[test]
fn only_a_tpm_that_says_so_refuses_the_key() {
    if !wants("busybox", "busybox-static") {
        return;
    }
    // TPM_RC_POLICY_FAIL, TPM_RC_INTEGRITY; TPM_RC_PCR_CHANGED, TPM_RC_RETRY, no answer.
    for (answer, code) in [("0000099d", "3"), ("000001df", "4"), ("00000128", "1"), ("00000922", "1"), ("", "1")] {
        let bytes = if answer.is_empty() { String::new() } else { format!("80010000000a{answer}") };
        let script = format!("dd() {{ echo {bytes} | xxd -r -p; }}; exec 3> /dev/null; tpm_call 8001 0000015e ''; echo $?");
        assert_eq!(shell(&script), format!("{code}\n"), "{answer}");
    }
    // An error after a refusal may be over at the next start.
    let tokens =
        "tokens() { echo 0 1; }; field() { echo 7=a; }; values_now() { echo 7=b; }; n=0; tpm_unseal() { n=$((n + 1)); why=broken; return $";
    for (answers, expected) in [("(($n == 1 ? 3 : 1))", "1 [] broken"), ("((1))", "1 [] broken")] {
        assert_eq!(shell(&format!("{tokens}{answers}; }}; open_sealed p3; echo \"$? [$refused] $why\"")), format!("{expected}\n"));
    }
    let script = format!("{tokens}((5 - n)); }}; open_sealed p3; echo \"$? [$refused]\"");
    assert_eq!(shell(&script), "1 [yes]\n");
}

#[test]
fn a_key_can_be_sealed_to_what_the_configuration_will_be() {
    let folder = tempfile::tempdir().unwrap();
    let Some(tpm) = Tpm::start(&folder.path().join("tpm")) else { return };
    let config = folder.path().join("config");
    fs::create_dir_all(config.join("sub")).unwrap();
    for (name, text) in [("server", "a\n"), ("sub/b c", "d\n"), ("device.key.pem", "not measured\n")] {
        fs::write(config.join(name), text).unwrap();
    }
    // measure-config's value for the next start, and the event by which it comes to be.
    let script = fs::read_to_string(repository().join("pkg/measure-config/measure-config.sh")).unwrap();
    let script = script.replace("=/config\n", &format!("={}\n", config.display()));
    let next = tool("busybox", &["ash", "-c", &script, "measure-config", "next"]);
    let list = "find . -type f ! -name device.key.pem | LC_ALL=C sort | while read -r file; do sha256sum \"$file\"; done | sha256sum | cut -c 1-64";
    let digest = tool("sh", &["-c", &format!("cd {} && {list}", config.display())]);
    let event = format!("config sha256:{}", digest.trim());
    let seal = format!("tpm_seal '14={} 15={ZEROS}' 00ff && secret= && ", next.trim());
    let unseal = "tpm_unseal '14 15' $sealed_private $sealed_public; echo \"$? $secret\"";
    assert_eq!(tpm.run(&format!("{seal}{unseal}; tpm_extend 14 '{event}' && {unseal}")), "3 \n0 00ff\n");
}

#[test]
fn a_recovery_key_is_encrypted_to_rsa_keys_that_a_tpm_knows() {
    let folder = tempfile::tempdir().unwrap();
    let Some(tpm) = Tpm::start(&folder.path().join("tpm")) else { return };
    if !wants("openssl", "openssl") {
        return;
    }
    let at = |name: &str| folder.path().join(name).display().to_string();
    let key = |kind: &str, option: &str, name: &str| {
        tool("openssl", &["genpkey", "-algorithm", kind, "-pkeyopt", option, "-out", &at(&format!("{name}.key"))]);
        tool("openssl", &["pkey", "-in", &at(&format!("{name}.key")), "-pubout", "-out", &at(name)]);
    };
    for bits in ["2048", "3072"] {
        key("RSA", &format!("rsa_keygen_bits:{bits}"), bits);
        let pem = fs::read_to_string(at(bits)).unwrap();
        // As an editor of another system saves it, with a remark before it.
        fs::write(at(bits), format!("mine\n{pem}").replace('\n', "\r\n")).unwrap();
        let encrypted = tpm.run(&format!("tpm_encrypt \"$(modulus_of {})\" 6b6579 || echo \"$why\"", at(bits)));
        tool("sh", &["-c", &format!("echo {} | busybox xxd -r -p > {}", encrypted.trim(), at("encrypted"))]);
        let options = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256", "-in", &at("encrypted")];
        let words = ["pkeyutl", "-decrypt", "-inkey", &at(&format!("{bits}.key"))];
        assert_eq!(tool("openssl", &[&words[..], &options[..]].concat()), "key");
    }
    key("RSA", "rsa_keygen_bits:1024", "1024");
    key("EC", "ec_paramgen_curve:P-256", "ec");
    fs::write(at("none"), "no key\n").unwrap();
    for name in ["1024", "ec", "none", "2048.key"] {
        assert_eq!(shell(&format!("modulus_of {}", at(name))), "", "{name}");
    }
}

#[test]
fn the_words_of_persist_encryption_are_known_or_refused() {
    if !wants("busybox", "busybox-static") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("persist_encryption");
    let read = || shell(&format!("read_wish {} && echo \"$wish $pcrs$changed\" || echo \"not $word\"", file.display()));
    assert_eq!(read(), "no 7 14stop\n", "there is no such file");
    for (text, expected) in [
        ("", "no 7 14stop\n"),
        ("tpm\r\n", "tpm 7 14stop\n"),
        ("# mine\ntpm-if-there changed=new # or not\n", "tpm-if-there 7 14new\n"),
        ("tpm pcrs=14,4,7\nchanged=stop", "tpm 4 7 14 stop\n"),
        ("tmp", "not tmp\n"),
        ("tpm changed=erase", "not changed=erase\n"),
        ("tpm pcrs=15", "not pcrs=15\n"),
        ("tpm pcrs=7,a", "not pcrs=7,a\n"),
        ("tpm pcrs=", "not pcrs=\n"),
    ] {
        fs::write(&file, text).unwrap();
        assert_eq!(read(), expected, "{text}");
    }
}

/// What a volume needs besides a TPM: PCRs in files, CONFIG, and a device mapper that opens nothing, but has the key that fits.
fn stand_ins(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "TPM_STATE={folder}/tpm0; MOUNTS={folder}/mounts; CONFIG={folder}/config; CONSOLE={folder}/console; RUN={folder}; MAPPED={folder}/mapped; MEASURE=measure; \
         measure() {{ [ $1 = config ] || echo {ZEROS}; }}; has_tpm() {{ true; }}; fail() {{ echo \"fails: $1\"; exit 1; }}; \
         open_with() {{ printf %s \"$2\" | cryptsetup open --test-passphrase --key-file - $1 && printf %s \"$2\" > {folder}/key; }}; \
         volume_key() {{ rm -f {folder}/vk; cryptsetup luksDump -q --dump-volume-key --volume-key-file {folder}/vk \
         --key-file {folder}/key {folder}/p3 > /dev/null; xxd -p {folder}/vk | tr -d '\\n'; }}; p3={folder}/p3; changed=stop; wish=no; \
         opens() {{ if open_sealed $p3; then echo open; else echo \"$why\"; fi; }}; pcrs='7 14'; "
    )
}

#[test]
fn a_volume_has_a_key_for_each_seal_and_one_for_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("tpm");
    if Tpm::start(&state).is_none() || ![("cryptsetup", "cryptsetup-bin"), ("openssl", "openssl")].iter().all(|(a, b)| wants(a, b)) {
        return;
    }
    for name in ["config", "tpm0/pcr-sha256"] {
        fs::create_dir_all(folder.path().join(name)).unwrap();
    }
    for pcr in ["7", "14", "15"] {
        fs::write(folder.path().join("tpm0/pcr-sha256").join(pcr), format!("{ZEROS}\n")).unwrap();
    }
    fs::File::create(folder.path().join("p3")).unwrap().set_len(32 << 20).unwrap();
    let stand_ins = stand_ins(folder.path());
    // Each is a start of the machine.
    let start = |script: &str| Tpm::start(&state).unwrap().run(&format!("{stand_ins}{script}"));
    let console = || fs::read_to_string(folder.path().join("console")).unwrap();

    a_start_is_cut_short_before_the_header(folder.path(), &start);

    // One slot, one seal, a label until there is a file system, and the TPM gives the key no more.
    assert_eq!(
        start(
            "fresh=; choose_device $p3; [ $device = $MAPPED ] && [ $fresh = yes ] || echo $device; tokens $p3 eve-tpm2; tpm_unseal '7 14 15' $(field $p3 0 private) $(field $p3 0 public); echo $?"
        ),
        "0\n3\n"
    );
    // While it has the label of an unfinished one, nothing is mounted.
    let fails = "device=$MAPPED; fresh=yes; cryptsetup() { false; }; (settle_device; echo mounts); true";
    assert_eq!(start(fails), "fails: /persist is not mounted\n");
    assert!(console().contains("the label of the volume on "), "{}", console());
    assert_eq!(start("fresh=; choose_device $p3; echo $fresh"), "yes\n");
    assert!(console().contains("/persist has no recovery key: CONFIG has no persist_recovery.pem"), "{}", console());
    assert_eq!(
        start("device=$MAPPED; fresh=yes; cryptsetup luksDump $p3 | grep -c P3-new; settle_device; cryptsetup luksDump $p3 | grep Label"),
        "1\nLabel:         \tP3\n"
    );
    assert_eq!(start("opens; opens"), "open\nwhat its key was sealed to has changed: \n");

    // A seal for another system comes beside it, and a new one takes the place of both. Each opens by its own.
    let other = "a".repeat(64);
    assert_eq!(
        start(&format!(
            "opens; check_values 7={other} && reseal $p3 7={other} && tokens $p3 eve-tpm2; tell_state $p3 | sed 's/LUKS2 .*,/LUKS2,/'"
        )),
        "open\n0\n1\nencryption  LUKS2, locked; CONFIG says no\nsealed      to the PCRs 7 14 15: opens at the next start\nsealed      to the PCRs 7 14 15: \
         does not open at the next start: PCR 7 (Secure Boot: on or off, its keys, or who signed the system)\n"
    );
    for bad in [format!("4={other}"), "7=ab".to_owned(), "7".to_owned()] {
        assert!(start(&format!("check_values {bad} || echo $why")).contains("is no N=HEX of a PCR of 7 14, with 64 digits"), "{bad}");
    }
    assert_eq!(start("opens; reseal $p3 && tokens $p3 eve-tpm2; cryptsetup luksDump $p3 | grep -c ': luks2'"), "open\n2\n1\n");
    // Nothing is sealed to a CONFIG that cannot be read, and an old seal that stays is told.
    let reseal = "opens; reseal $p3 || echo \"$outcome: $why\"; tokens $p3 eve-tpm2";
    let config = folder.path().join("config").display().to_string();
    assert_eq!(start(&format!("measure() {{ false; }}; {reseal}")), format!("open\nnot sealed: {config} cannot be measured\n2\n"));
    assert_eq!(
        start(&format!("drop_token() {{ false; }}; {reseal}")),
        format!("open\nsealed to the PCRs of the next start: an older seal cannot be removed, and stays: token 2 of {config}\n0\n2\n")
            .replace("/config\n", "/p3\n")
    );
    assert_eq!(start(reseal), "open\n1\n");
    assert_eq!(start("tpm_extend 7 other; opens; echo $refused"), "what its key was sealed to has changed: \nyes\n");
    a_key_for_the_owner_of_config(folder.path(), &start);
}

/// cryptsetup writes zeros, then noise behind 32 KiB, then the header. A start that ends before the header leaves a P3 that is made again. Files that happen
/// to have the mark are no such P3.
fn a_start_is_cut_short_before_the_header(folder: &Path, start: &dyn Fn(&str) -> String) {
    fs::write(folder.join("config/persist_encryption"), "tpm").unwrap();
    let cut = "tr '\\0' x < /dev/zero | dd of=$p3 bs=32768 seek=1 count=511 iflag=fullblock conv=notrunc 2> /dev/null; false";
    assert_eq!(
        start(&format!(
            "cryptsetup() {{ {cut}; }}; is_unfinished $p3 || make_volume $p3 || is_unfinished $p3 && ! has_luks $p3 && echo cut"
        )),
        "cut\n"
    );
    let files =
        "cp $p3 $p3.files; printf x | dd of=$p3.files bs=1 seek=1080 conv=notrunc 2> /dev/null; is_unfinished $p3.files || echo files";
    assert_eq!(start(files), "files\n");
}

/// The owner's key stays while CONFIG names this owner; that of another takes its place.
fn a_key_for_the_owner_of_config(folder: &Path, start: &dyn Fn(&str) -> String) {
    let mut kept = Vec::new();
    for (name, expected) in [("first", "open\n0\n2\n"), ("first", "open\n0\n2\n"), ("second", "open\n2\n2\n")] {
        let (key, pem) = (folder.join(name).display().to_string(), folder.join("config/persist_recovery.pem"));
        if !Path::new(&key).exists() {
            tool("openssl", &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", &key]);
        }
        tool("openssl", &["pkey", "-in", &key, "-pubout", "-out", pem.to_str().unwrap()]);
        let said = start("opens; renew_recovery $p3 || echo $why; tokens $p3 eve-recovery; cryptsetup luksDump $p3 | grep -c ': luks2'");
        assert_eq!(said, expected, "{name}");
        let encrypted = start("field $p3 $(tokens $p3 eve-recovery) encrypted");
        let decrypt = format!(
            "echo {} | busybox xxd -r -p | openssl pkeyutl -decrypt -inkey {key} -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 | \
             PATH=$PATH:/usr/sbin:/sbin cryptsetup open --test-passphrase --key-file - {}/p3 && echo opens",
            encrypted.trim(),
            folder.display()
        );
        assert_eq!(tool("sh", &["-c", &decrypt]), "opens\n", "{name}");
        kept.push(encrypted);
    }
    assert!(kept[0] == kept[1] && kept[1] != kept[2]);
    fs::write(folder.join("config/persist_recovery.pem"), "no key\n").unwrap();
    let bad = "persist_recovery.pem of CONFIG is no RSA key of 2048 or 3072 bits in a PEM file PUBLIC KEY";
    assert_eq!(start("opens; renew_recovery $p3 || echo $why"), format!("open\n{bad}\n"));
    let renewed = "sealed to the PCRs of the next start: the recovery key was not renewed";
    assert_eq!(start("opens; reseal $p3 || echo \"$outcome: $why\""), format!("open\n{renewed}: {bad}\n"));
    // A new volume is not begun without the key of its owner.
    let same = "before=$(sha256sum < $p3); make_volume $p3 || echo $why; [ \"$before\" = \"$(sha256sum < $p3)\" ] && echo same";
    assert_eq!(start(same), format!("{bad}\nsame\n"));
    // Nor to a PCR 14 that will not be the same in the next start.
    fs::remove_file(folder.join("config/persist_recovery.pem")).unwrap();
    fs::write(folder.join("tpm0/pcr-sha256/14"), "AB\n").unwrap();
    assert_eq!(start(same), "PCR 14 has another value than CONFIG alone gives\nsame\n");
}

#[test]
fn only_a_seal_that_knows_config_lets_config_name_an_owner() {
    if !wants("busybox", "busybox-static") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("config")).unwrap();
    fs::write(folder.path().join("config/persist_recovery.pem"), "").unwrap();
    for (values, expected) in [("7=a 15=b", ""), ("14=a 15=b", "renews\n"), ("7=a 14=b 15=c", "renews\n")] {
        let script = "field() { echo $values_of_token; }; tokens() { echo 0; }; tpm_unseal() { secret=; }; open_with() { :; }; close_seal() { :; }; \
                      renew_recovery() { echo renews; }; open_volume p3";
        let said = shell(&format!("{}values_of_token='{values}'; {script}", stand_ins(folder.path())));
        assert_eq!(said, expected, "{values}");
    }
}

#[test]
fn an_unlock_that_found_a_damaged_file_system_can_go_on() {
    if !wants("busybox", "busybox-static") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mapped, mounts) = (folder.path().join("mapped"), folder.path().join("mounts"));
    fs::write(&mounts, "/dev/vda4 /config vfat ro 0 0\n").unwrap();
    let run = |command: &str, status: u8| {
        let checks = format!(
            "has_luks() {{ :; }}; e2fsck() {{ echo \"e2fsck $1\"; return {status}; }}; open_with() {{ : > $MAPPED; }}; close_seal() {{ :; }}; "
        );
        shell(&format!("{}{checks}(run_command $p3 {command}) 2>&1 || true", stand_ins(folder.path())))
    };
    let damaged =
        "e2fsck -p\nfails: /persist is open, and its file system is damaged. `eve persist repair` repairs what it can, and mounts it\n";
    assert_eq!(run("repair", 0), "fails: /persist is locked: eve persist unlock comes first\n");
    assert_eq!(run("unlock < /dev/null", 0), "fails: eve persist unlock takes the recovery key on stdin\n");
    assert_eq!(run("unlock << K\nkey\nK\n", 4), damaged);
    assert!(mapped.exists());
    // It goes on with the open volume, and needs no key.
    assert_eq!(run("unlock < /dev/null", 4), damaged);
    assert_eq!(run("repair", 4), "e2fsck -y\nfails: the file system of /persist cannot be repaired\n");
    assert_eq!(run("repair", 1), "e2fsck -y\n");
    fs::write(&mounts, format!("{} /persist ext4 rw 0 0\n", mapped.display())).unwrap();
    assert_eq!(run("repair", 1), "fails: /persist is mounted: there is nothing to repair\n");
    assert_eq!(run("unlock < /dev/null", 0), "fails: /persist is open\n");
}

/// What a start does with a P3 of `kind` (plain, luks, unfinished, cut), empty or not, by CONFIG's words, with a TPM or without, when the TPM says `answer`,
/// or CONFIG is `unknown`.
fn decides(folder: &Path, words: &str, kind: &str, has_tpm: bool, answer: &str) -> String {
    fs::create_dir_all(folder.join("config")).unwrap();
    fs::write(folder.join("config/persist_encryption"), words).unwrap();
    for name in ["console", "measured-persist", "persist-locked"] {
        let _ = fs::remove_file(folder.join(name));
    }
    let (label, fresh) = (if kind == "unfinished" { "P3-new" } else { "P3" }, if kind == "empty" { "yes" } else { "" });
    let script = format!(
        "{} (trap 'end_start $?' EXIT; has_tpm() {{ {has_tpm}; }}; has_luks() {{ test {kind} = luks -o {kind} = unfinished; }}; is_unfinished() {{ test {kind} = cut; }}; \
         cryptsetup() {{ printf 'Label:         \\t{label}\\n'; }}; tpm_extend() {{ echo \"extends $1: $2\"; }}; \
         measure() {{ echo measures $1; [ '{answer}' != unknown ]; }}; \
         make_volume() {{ echo makes; mark_persist opened; }}; \
         open_sealed() {{ why='not this time'; refused={}; sealed_to=; [ {answer} = gives ] && mark_persist opened; }}; \
         fresh={fresh}; choose_device P3; echo \"mounts $device $fresh\"); true",
        stand_ins(folder),
        if answer == "refuses" { "yes" } else { "" }
    );
    shell(&script).replace(&folder.join("mapped").display().to_string(), "VOLUME").replace('\n', " ")
}

#[test]
fn a_start_loses_no_files_and_mounts_nothing_plain_where_a_volume_is_asked_for() {
    if !wants("busybox", "busybox-static") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (locked, opened) =
        ("fails: /persist is not mounted extends 15: persist locked ", "measures config extends 15: opened mounts VOLUME  ");
    let (without, made) = ("fails: /persist is not mounted ", "measures config makes extends 15: opened mounts VOLUME yes ");
    for (words, kind, has_tpm, answer, expected) in [
        ("no", "plain", true, "", "mounts P3  extends 15: persist plain "),
        ("no", "empty", true, "", "mounts P3 yes extends 15: persist plain "),
        ("no", "luks", true, "gives", opened),
        ("tpm", "empty", true, "", made),
        ("tpm", "empty", true, "unknown", &format!("measures config {locked}")),
        ("tpm", "unfinished", true, "", made),
        // Not one that was cut short before it had a header.
        ("tpm", "cut", true, "", made),
        ("no", "cut", true, "", "mounts P3 yes extends 15: persist plain "),
        ("tpm", "luks", true, "gives", opened),
        ("tpm", "luks", true, "fails", &format!("measures config {locked}")),
        ("tpm", "luks", true, "refuses", &format!("measures config {locked}")),
        ("tpm", "plain", true, "", locked),
        ("tpm-if-there", "plain", true, "", locked),
        ("tpm", "empty", false, "", without),
        ("tpm", "plain", false, "", without),
        ("tpm-if-there", "empty", false, "", "mounts P3 yes "),
        ("tpm-if-there", "plain", false, "", "mounts P3  "),
        ("tpm-if-there", "luks", false, "", without),
        ("no", "luks", false, "", without),
        // Made anew only if the TPM has said no, not if it failed, nor if it was not asked with what is in CONFIG.
        ("tpm changed=new", "luks", true, "refuses", made),
        ("tpm changed=new", "luks", true, "fails", &format!("measures config {locked}")),
        ("tpm changed=new", "luks", true, "unknown", &format!("measures config {locked}")),
        ("tpm changed=new", "plain", true, "", locked),
        ("tmp", "luks", true, "gives", locked),
    ] {
        let said = decides(folder.path(), words, kind, has_tpm, answer);
        assert_eq!(said, expected, "{words}, {kind}, {has_tpm}, {answer}");
        let console = fs::read_to_string(folder.path().join("console")).unwrap_or_default();
        assert_eq!(said.contains("fails"), folder.path().join("persist-locked").exists(), "{said}");
        let is_told = words == "tpm-if-there" && !has_tpm && kind != "luks";
        assert_eq!(is_told, console.contains("EVE: no TPM 2.0 with PCRs of SHA-256, so /persist is not encrypted"), "{console}");
        assert_eq!(said.contains("fails"), console.contains("\nEVE-FAILED persist: ") && console.contains("\nhint: "), "{console}");
    }
}
