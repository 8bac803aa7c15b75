//! A start of our live image in QEMU with OVMF, swtpm and Debian's GRUB: the log that Linux gave, and the values that the TPM had.
#![allow(clippy::unwrap_used, missing_docs)]

use flate2::read::GzDecoder;
use measured_boot::{
    EventLog, ExpectedEvent, compare, extended,
    grub::{GrubDisk, GrubStart, Loaded, Written, run},
    kind::describe,
    replay,
};
use std::io::Read as _;

const VALUES: &str = include_str!("data/values.txt");
const EMBEDDED: &str = include_str!("data/embedded.cfg");
const ROOTFS: &str = include_str!("data/rootfs.cfg");
const CONFIG: &str = include_str!("data/config.cfg");

/// The log without Secure Boot, and that of a signed image with it.
const LIVE: &[u8] = include_bytes!("../../fuzz/corpus/event-log/live.log.gz");
/// The first start of slot B after an update, which is on trial.
const TRIAL: &[u8] = include_bytes!("../../fuzz/corpus/event-log/trial.log.gz");
const SIGNED: &[u8] = include_bytes!("../../fuzz/corpus/event-log/signed.log.gz");

fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    bytes
}

fn bytes() -> Vec<u8> {
    unpacked(LIVE)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The disk of that start, with other bytes for programs, kernel and initrd.
struct Disk(&'static str);

impl GrubDisk for Disk {
    fn read(&self, partition: u32, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(match (partition, path) {
            (1, "EFI/BOOT/grubenv") => Some(self.0.to_owned() + &"#".repeat(1024 - self.0.len())),
            (2 | 3, "EFI/BOOT/grub.cfg") => Some(ROOTFS.to_owned()),
            (2 | 3, "EFI/BOOT/BOOTX64.EFI" | "EFI/Linux/eve.efi" | "boot/kernel" | "boot/initrd.img") => Some(path.to_owned()),
            (4, "grub.cfg") => Some(CONFIG.to_owned()),
            _ => None,
        }
        .map(String::into_bytes))
    }

    fn partition_guid(&self, partition: u32) -> Option<String> {
        Some(format!("ad6871ee-31f9-4cf3-9e09-6f7a25c3005{partition}"))
    }

    fn file_system(&self, partition: u32) -> anyhow::Result<Option<&'static str>> {
        Ok(matches!(partition, 2 | 3).then_some("squash4"))
    }
}

const ACTIVE: &str = "# GRUB Environment Block\nORDER=A\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=0\n";

fn start(partition: u32) -> GrubStart {
    GrubStart { disk: "hd0".to_owned(), partition, secure_boot: false }
}

#[test]
fn the_events_give_the_values_of_the_tpm() {
    let log = EventLog::parse(&bytes()).unwrap();
    assert_eq!(log.banks.iter().map(|(_, size)| *size).collect::<Vec<_>>(), [20, 32, 48, 64]);
    for (line, pcr) in VALUES.lines().zip(0..) {
        assert_eq!(line, hex(&replay(&log, pcr).unwrap()), "PCR {pcr}");
        assert_eq!(replay(&log, pcr).unwrap(), extended(log.of_pcr(pcr).map(|event| event.sha256().unwrap())));
    }
    let said = |pcr, at| log.of_pcr(pcr).nth(at).map(|event| format!("{}: {}", event.kind, describe(event.kind, &event.data))).unwrap();
    assert_eq!(said(0, 1), "EV_EFI_PLATFORM_FIRMWARE_BLOB: 0xe0000 bytes at 0x820000");
    assert_eq!(said(1, 0), "EV_EFI_VARIABLE_BOOT: BootOrder");
    assert_eq!(said(4, 0), "EV_EFI_ACTION: Calling EFI Application from Boot Option");
    assert_eq!(said(7, 2), "EV_EFI_VARIABLE_DRIVER_CONFIG: KEK");
    assert_eq!(said(7, 5), "EV_SEPARATOR: 0");
    assert_eq!(said(9, 3), "EV_IPL: (hd0,gpt4)/grub.cfg");
}

#[test]
fn a_log_that_is_cut_or_foreign_is_an_error_that_says_where() {
    let whole = bytes();
    let error = |bytes: &[u8]| format!("{:#}", EventLog::parse(bytes).unwrap_err());
    assert_eq!(error(b""), "no event log of a TPM 2.0: the log ends at 0x0, within an entry that has 4 bytes at 0x0");
    assert!(error(&[0; 100]).starts_with("no event log of a TPM 2.0: its first entry is not `Spec ID Event03`"));
    assert!(error(&whole[..whole.len() - 1]).starts_with("event 1"), "{}", error(&whole[..whole.len() - 1]));
    let mut foreign = whole.clone();
    // The algorithm of the first digest of the first event, which begins at 0x4d.
    foreign[0x4d + 12] = 5;
    assert!(error(&foreign).contains("algorithm 0x0005, which is none of the log's banks"), "{}", error(&foreign));
    // Memory behind the last entry. Both kinds of bytes are no memory.
    for padding in [0, 0xff] {
        let longer = [&whole[..], &[padding; 40]].concat();
        assert_eq!(EventLog::parse(&longer).unwrap(), EventLog::parse(&whole).unwrap(), "{padding}");
    }
    let both = [&whole[..], &[0xff; 40], &[0; 40]].concat();
    assert!(error(&both).ends_with("it has 4294967295 digests, more than 16"), "{}", error(&both));
}

#[test]
fn grub_measures_what_the_evaluator_says() {
    let log = EventLog::parse(&bytes()).unwrap();
    let disk = Disk(ACTIVE);
    let first = run(&disk, &start(1), EMBEDDED, Written::new()).unwrap();
    assert!(matches!(&first.loaded, Some(Loaded::Program { partition: 2, path, .. }) if path == "EFI/BOOT/BOOTX64.EFI"));
    let second = run(&disk, &start(2), EMBEDDED, first.written).unwrap();
    let Some(Loaded::Linux { command_line, initrd: Some(_), .. }) = &second.loaded else { unreachable!("{:?}", second.loaded) };
    assert!(command_line.starts_with("/boot/kernel console=tty0") && command_line.ends_with(" panic=120 gpt getty"), "{command_line}");
    let events = [first.events, second.events].concat();
    assert_eq!(compare(&log, 8, &events).map(|difference| difference.to_string()), None);
    let files = |pcr| log.of_pcr(pcr).map(|event| describe(event.kind, &event.data)).collect::<Vec<_>>();
    assert_eq!(files(9), events.iter().filter(|event| event.pcr == 9).map(|event| event.what.clone()).collect::<Vec<_>>());
    // The same bytes as on the disk of that start: the configurations.
    for (event, logged) in events.iter().filter(|event| event.pcr == 9).zip(log.of_pcr(9)) {
        assert_eq!(Some(event.digest) == logged.sha256(), event.what.ends_with(".cfg"), "{}", event.what);
    }
}

#[test]
fn a_trial_takes_a_try_before_the_other_slot_starts() {
    let log = EventLog::parse(&unpacked(TRIAL)).unwrap();
    let disk = Disk("# GRUB Environment Block\nORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=1\n");
    let first = run(&disk, &start(1), EMBEDDED, Written::new()).unwrap();
    assert!(matches!(&first.loaded, Some(Loaded::Program { partition: 3, .. })));
    let second = run(&disk, &start(3), EMBEDDED, first.written).unwrap();
    let events = [first.events, second.events].concat();
    assert_eq!(compare(&log, 8, &events).map(|difference| difference.to_string()), None);
    assert!(events.iter().any(|event| event.what == "grub_cmd: echo Slot B is on trial, 0 more tries"));
}

#[test]
fn under_secure_boot_grub_reads_no_configuration_of_the_disk() {
    let log = EventLog::parse(&unpacked(SIGNED)).unwrap();
    let run = run(&Disk(ACTIVE), &GrubStart { secure_boot: true, ..start(1) }, EMBEDDED, Written::new()).unwrap();
    assert!(matches!(&run.loaded, Some(Loaded::Program { partition: 2, path, .. }) if path == "EFI/Linux/eve.efi"));
    assert_eq!(compare(&log, 8, &run.events).map(|difference| difference.to_string()), None);
    let said = |pcr: u32| log.of_pcr(pcr).map(|event| describe(event.kind, &event.data)).collect::<Vec<_>>();
    assert_eq!(said(9), ["(hd0,gpt2)/EFI/Linux/eve.efi", "LOADED_IMAGE::LoadOptions", "Linux initrd"]);
    assert_eq!(said(11), [".linux", ".linux", ".osrel", ".osrel", ".cmdline", ".cmdline", ".initrd", ".initrd"]);
    assert_eq!(said(7), ["SecureBoot", "PK", "KEK", "db", "dbx", "0", "db"]);
}

#[test]
fn a_difference_is_named() {
    let log = EventLog::parse(&bytes()).unwrap();
    // The slot is on trial: a try is taken, and the kernel learns of it.
    let disk = Disk("# GRUB Environment Block\nORDER=A B\nA_OK=0\nA_TRY=3\nB_OK=1\nB_TRY=0\n");
    let first = run(&disk, &start(1), EMBEDDED, Written::new()).unwrap();
    assert!(first.events.iter().any(|event| event.what == "grub_cmd: echo Slot A is on trial, 2 more tries"));
    let block = String::from_utf8(first.written[&(1, "EFI/BOOT/grubenv".to_owned())].clone()).unwrap();
    assert!(
        block.starts_with("# GRUB Environment Block\nORDER=A B\nA_OK=0\nA_TRY=2\nB_OK=1\nB_TRY=0\n#") && block.len() == 1024,
        "{block}"
    );
    let said = compare(&log, 8, &first.events).unwrap().to_string();
    let expected = "grub_cmd: regexp ^(A|B|A B|B A) [01] [0-3] [01] [0-3]$ A B 0 3 1 0";
    assert!(said.starts_with("PCR 8, event 18: expected EV_IPL ") && said.contains(expected) && said.contains("$ A 1 0 0 0`"), "{said}");
    let second = run(&disk, &start(2), EMBEDDED, first.written).unwrap();
    let Some(Loaded::Linux { command_line, .. }) = &second.loaded else { unreachable!("{:?}", second.loaded) };
    let control = ExpectedEvent::loader(8, b"x", "grub_cmd: echo \u{1b}[2J\nx");
    let said_of = compare(&log, 8, &[control]).unwrap().to_string();
    assert!(said_of.contains("`grub_cmd: echo \\u{1b}[2J\\nx`"), "{said_of}");
    assert!(command_line.contains(" panic=10 eve_trial softlockup_panic=1 watchdog_thresh=60 gpt"), "{command_line}");
}

/// A variable of 256 KiB, by doubling.
const DOUBLE: &str = "set x=a\nfor i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18; do set x=\"$x$x\"; done\n";

#[test]
fn what_is_not_known_is_an_error() {
    for (text, said) in [
        ("insmod ext2", "the command `insmod` is not known here"),
        ("echo $feature_menuentry_id", "`$feature_menuentry_id`: what GRUB itself says in variables `feature_…` is not known here"),
        ("source (hd1,gpt1)/x", "`(hd1,gpt1)` is no partition of the disk `hd0`"),
        ("echo /boot/*", "`/boot/*`: patterns for names of files are not known here"),
        ("while true; do true; done", "it does not end within 20000 commands"),
        ("function f {\n    f\n}\nf", "more than 64 functions and configurations are in each other"),
        ("menuentry a {\n    true\n}", "the entry `a` starts nothing, and GRUB waits for a person"),
        // A variable that doubles, and then takes all memory in one command, or in the words of one `for`.
        (&format!("{DOUBLE}true{}", " $x".repeat(10_000)), "its commands have more than 16777216 bytes"),
        (&format!("{DOUBLE}for y in{}; do true; done", " \"$x\"".repeat(10_000)), "its commands have more than 16777216 bytes"),
        (&format!("set x=\"{}\"\nfor y in{}; do true; done", "a ".repeat(99_999), " $x".repeat(99)), "have more than 16777216 bytes"),
    ] {
        let error = format!("{:#}", run(&Disk(ACTIVE), &start(1), text, Written::new()).unwrap_err());
        assert!(error.starts_with("the configuration inside of GRUB: ") && error.ends_with(said), "{error}");
    }
    assert_eq!(run(&Disk(ACTIVE), &start(1), "true", Written::new()).unwrap().loaded, None);
}
