//! A disk, a firmware and its variables, put together here, and what is said of their start.
#![allow(clippy::unwrap_used, missing_docs)]

use measured_boot::{
    BootFacts, EventLog, ExpectedEvent, LoggedEvent, PcrForecast, find_missing, forecast, grub::GrubDisk, kind::GPT_EVENT,
};
use secureboot::store::StoredVariable;
use std::collections::BTreeMap;

/// An EFI program with sections.
fn program(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; 0x400];
    let put = |bytes: &mut Vec<u8>, at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(&mut bytes, 0, b"MZ");
    put(&mut bytes, 0x3c, &[0x40]);
    put(&mut bytes, 0x40, b"PE\0\0");
    put(&mut bytes, 0x46, &[u8::try_from(sections.len()).unwrap()]);
    put(&mut bytes, 0x54, &[0xf0]);
    put(&mut bytes, 0x58, &[0x0b, 2]);
    put(&mut bytes, 0x58 + 60, &0x400_u32.to_le_bytes());
    put(&mut bytes, 0x58 + 108, &[16]);
    for (index, (name, content)) in sections.iter().enumerate() {
        let (at, start) = (0x148 + 40 * index, bytes.len());
        let size = u32::try_from(content.len()).unwrap();
        put(&mut bytes, at, name.as_bytes());
        put(&mut bytes, at + 8, &size.to_le_bytes());
        put(&mut bytes, at + 16, &[size.to_le_bytes(), u32::try_from(start).unwrap().to_le_bytes()].concat());
        bytes.extend_from_slice(content);
    }
    bytes
}

/// A GRUB with this configuration inside, as grub-mkimage and tar put it there.
fn grub(configuration: &str) -> Vec<u8> {
    let mut tar = vec![0; 512];
    tar[..12].copy_from_slice(b"embedded.cfg");
    tar[124..135].copy_from_slice(format!("{:011o}", configuration.len()).as_bytes());
    tar.extend_from_slice(configuration.as_bytes());
    tar.resize(tar.len().next_multiple_of(512), 0);
    let mut parts = Vec::new();
    for (kind, content) in [(2_u32, &b"configfile (memdisk)/embedded.cfg\nset prefix=(memdisk)\n\0"[..]), (1, &tar)] {
        parts.extend([kind, u32::try_from(content.len() + 8).unwrap()].map(u32::to_le_bytes).concat());
        parts.extend_from_slice(content);
    }
    let end = parts.len() as u64 + 24;
    let head = [&0x676d_696d_u32.to_le_bytes()[..], &[0; 4], &24_u64.to_le_bytes(), &end.to_le_bytes()].concat();
    program(&[("mods", &[head, parts].concat())])
}

struct Disk(BTreeMap<(u32, &'static str), Vec<u8>>);

impl GrubDisk for Disk {
    fn read(&self, partition: u32, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(self.0.iter().find(|((number, name), _)| (*number, *name) == (partition, path)).map(|(_, bytes)| bytes.clone()))
    }

    fn has(&self, partition: u32, path: &str) -> anyhow::Result<bool> {
        Ok(self.read(partition, path)?.is_some())
    }

    fn partition_guid(&self, _: u32) -> Option<String> {
        None
    }

    fn file_system(&self, _: u32) -> anyhow::Result<Option<&'static str>> {
        Ok(None)
    }
}

const LOADER: &str = "EFI/BOOT/BOOTX64.EFI";

/// What is said of a disk with `first` on its ESP and the other files.
fn said(first: Vec<u8>, files: &[((u32, &'static str), Vec<u8>)], variables: Option<&[StoredVariable]>) -> BTreeMap<u32, PcrForecast> {
    let disk = Disk(files.iter().cloned().chain([((1, LOADER), first)]).collect());
    let table = Ok(ExpectedEvent::of(5, GPT_EVENT, b"table", "a table"));
    let config = Some("1234  ./server\n".to_owned());
    let facts = BootFacts { disk: &disk, grub_disk: "hd0", table, config, firmware: None, variables, state: None };
    forecast(&facts).into_iter().map(|pcr| (pcr.pcr, pcr)).collect()
}

fn words(pcr: &PcrForecast) -> Vec<&str> {
    pcr.events.iter().map(|event| event.what.as_str()).collect()
}

fn variable(name: &str, data: &[u8]) -> StoredVariable {
    StoredVariable { name: name.to_owned(), vendor: [0; 16], data: data.to_vec() }
}

#[test]
fn programs_start_each_other_up_to_the_kernel() {
    let slot = grub("linuxefi /k \"a b\"\ninitrdefi /i\nboot");
    let files = [((2, "x.efi"), slot), ((2, "k"), b"kernel".to_vec()), ((2, "i"), b"initrd".to_vec())];
    let all = said(grub("chainloader (hd0,gpt2)/x.efi\nboot"), &files, Some(&[]));
    assert_eq!(
        words(&all[&4]),
        ["Calling EFI Application from Boot Option", "separator", "/EFI/BOOT/BOOTX64.EFI of partition 1", "/x.efi of partition 2"]
    );
    assert_eq!(words(&all[&9]), ["(hd0,gpt2)/x.efi", "/k", "/i"]);
    assert_eq!(words(&all[&8]).last().unwrap(), &"grub_cmd: boot");
    assert!(words(&all[&8]).contains(&"kernel_cmdline: /k \"a b\""), "{:?}", words(&all[&8]));
    assert_eq!(words(&all[&5])[..2], ["separator", "a table"]);
    assert_eq!(words(&all[&7]), ["SecureBoot: 1 bytes", "PK: empty", "KEK: empty", "db: empty", "dbx: empty", "separator"]);
    assert!(all[&11].value == Some([0; 32]) && all[&13].value == Some([0; 32]) && !all[&14].logged);
    assert!(all[&0].value.is_none() && all[&0].remark.contains("--firmware FILE"), "{}", all[&0].remark);
    // Without the variables nobody knows PCR 7, and that Secure Boot is off is a condition.
    let all = said(grub("chainloader (hd0,gpt2)/x.efi\nboot"), &files, None);
    assert!(all[&7].value.is_none() && all[&7].remark.contains("--vars FILE") && all[&4].remark.starts_with("if Secure Boot is off"));
}

/// Variables with Secure Boot on, and `program` with a signature that they allow.
fn secure(program: &[u8]) -> (Vec<StoredVariable>, Vec<u8>) {
    let certificate = b"a certificate in DER";
    let entry = [&[7; 16][..], certificate].concat();
    let x509 = [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];
    let sizes = [28 + entry.len(), 0, entry.len()].map(|size| u32::try_from(size).unwrap().to_le_bytes()).concat();
    let db = [&x509[..], &sizes, &entry].concat();
    let signed = secureboot::EfiProgram::parse(program).unwrap().with_signature(certificate).unwrap();
    (vec![variable("PK", b"pk"), variable("db", &db), variable("SecureBootEnable", &[1])], signed)
}

#[test]
fn under_secure_boot_starts_without_end_give_the_other_slot_its_turn() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pkg/grub/embedded.cfg");
    let (on, first) = secure(&grub(&std::fs::read_to_string(path).unwrap()));
    let kernel = program(&[(".text", b"Linux initrd")]);
    let (_, unified) = secure(&program(&[(".osrel", b"ID=x"), (".cmdline", b"quiet"), (".initrd", b"files"), (".linux", &kernel)]));
    let starts = |block: &str, slots: &[u32]| {
        let block = format!("{:#<1024}", format!("# GRUB Environment Block\n{block}"));
        let mut files = vec![((1, "EFI/BOOT/grubenv"), block.into_bytes())];
        for slot in slots {
            files.extend([((*slot, "boot/kernel"), b"kernel".to_vec()), ((*slot, "EFI/Linux/eve.efi"), unified.clone())]);
        }
        let all = said(first.clone(), &files, Some(&on));
        let read = words(&all[&9]).into_iter().find(|name| name.ends_with("eve.efi")).unwrap().to_owned();
        let commands: Vec<_> = words(&all[&8]).into_iter().filter(|word| word.starts_with("grub_cmd: s")).collect();
        let counted = commands.iter().rev().find_map(|word| word.strip_prefix("grub_cmd: set STARTS=")).unwrap().to_owned();
        let is_saved = commands.iter().any(|word| word.starts_with("grub_cmd: save_env") && word.ends_with(" STARTS"));
        (read, counted, is_saved)
    };
    let (a, b) = ("(hd0,gpt2)/EFI/Linux/eve.efi".to_owned(), "(hd0,gpt3)/EFI/Linux/eve.efi".to_owned());
    let new = "ORDER=A\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=0\n";
    // Nothing is written on a machine with one system, whatever the block says.
    assert_eq!(starts(new, &[2]), (a.clone(), String::new(), false));
    assert_eq!(starts(&format!("{new}STARTS=5\n"), &[2]), (a.clone(), String::new(), false));
    for (before, after) in [("", "1"), ("STARTS=1\n", "2"), ("STARTS=3\n", "4"), ("STARTS=4\n", "5"), ("STARTS=x\n", "1")] {
        assert_eq!(starts(&format!("{new}{before}"), &[2, 3]), (a.clone(), after.to_owned(), true), "{before}");
    }
    assert_eq!(starts(&format!("{new}STARTS=5\n"), &[2, 3]), (b.clone(), "1".to_owned(), true));
    // The other one, which has no try left any more, has its turn again after five starts.
    let swapped = "ORDER=B A\nA_OK=0\nA_TRY=0\nB_OK=1\nB_TRY=0\n";
    assert_eq!(starts(&format!("{swapped}STARTS=1\n"), &[2, 3]), (b.clone(), "2".to_owned(), true));
    assert_eq!(starts(&format!("{swapped}STARTS=5\n"), &[2, 3]), (a, "1".to_owned(), true));
    // A slot on trial has tries of its own.
    let (read, _, _) = starts("ORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=2\nSTARTS=5\n", &[2, 3]);
    assert_eq!(read, b);
}

#[test]
fn under_secure_boot_the_certificate_that_signed_a_program_is_measured_once() {
    let signed = |program: Vec<u8>| secure(&program).1;
    let (on, _) = secure(&program(&[]));
    let kernel = program(&[(".text", b"Linux initrd")]);
    let unified = program(&[(".osrel", b"ID=x"), (".cmdline", b"quiet"), (".initrd", b"files"), (".linux", &kernel)]);
    let first = grub("[ \"$lockdown\" = y ]\nchainloader (hd0,gpt2)/eve.efi\nboot");
    let all = said(signed(first.clone()), &[((2, "eve.efi"), signed(unified.clone()))], Some(&on));
    assert_eq!(words(&all[&7])[0..2], ["SecureBoot: 1 bytes", "PK: 2 bytes"]);
    assert_eq!(words(&all[&7])[5..], ["separator", "db: the certificate that signed the program"]);
    assert_eq!(words(&all[&4])[2..], ["/EFI/BOOT/BOOTX64.EFI of partition 1", "/eve.efi of partition 2"]);
    assert_eq!(words(&all[&8])[0], "grub_cmd: [ y = y ]");
    let names = [".linux", ".osrel", ".cmdline", ".initrd"].map(|name| [format!("{name}: the name"), format!("{name}: the content")]);
    assert_eq!(words(&all[&11]), names.concat());
    // This kernel says nothing of options.
    assert_eq!(words(&all[&9]), ["(hd0,gpt2)/eve.efi", "Linux initrd"]);
    // What the firmware would not start has no values, and the line says so.
    let refused = |first: Vec<u8>, second: Vec<u8>| {
        let all = said(first, &[((2, "eve.efi"), second)], Some(&on));
        assert!([4, 7, 8, 9, 11].iter().all(|pcr| all[pcr].value.is_none()));
        all[&4].remark.clone()
    };
    let unsigned = refused(first.clone(), unified.clone());
    assert_eq!(unsigned, "Secure Boot is on, and the firmware would not start /EFI/BOOT/BOOTX64.EFI of partition 1: it is not signed");
    let others = secureboot::EfiProgram::parse(&unified).unwrap().with_signature(b"by others").unwrap();
    assert!(refused(signed(first), others).ends_with("/eve.efi of partition 2: none of db's certificates is in its signature"));
}

#[test]
fn what_is_no_boot_chain_of_ours_is_said() {
    let remark = |first: &[u8]| said(first.to_vec(), &[], Some(&[]))[&4].remark.clone();
    assert!(remark(b"MZ").ends_with("an EFI program ends within its headers, at 0x2"), "{}", remark(b"MZ"));
    assert!(remark(&program(&[(".text", b"x")])).ends_with("no EFI program of GRUB: it has no section `mods`"));
    assert!(remark(&grub("true")).ends_with("/EFI/BOOT/BOOTX64.EFI of partition 1 starts nothing"));
    assert!(remark(&grub("multiboot2 /xen")).ends_with("the command `multiboot2` is not known here"));
    let again = said(grub("chainloader /EFI/BOOT/BOOTX64.EFI\nboot"), &[], Some(&[]));
    assert_eq!(again[&4].remark, "more than 4 programs start each other");
}

#[test]
fn of_the_firmware_some_events_are_known_and_a_log_without_them_is_noticed() {
    let code = include_bytes!("../../fuzz/corpus/firmware/xz.fd");
    let volumes = measured_boot::firmware::volumes(code).unwrap();
    let names: Vec<_> = volumes.iter().map(|volume| (volume.name, volume.is_measured_as_in_the_file)).collect();
    assert_eq!(names, [("the volume PEIFV", false), ("the volume DXEFV", true)]);
    let disk = Disk(BTreeMap::new());
    let table = Err("no table".to_owned());
    let facts = BootFacts { disk: &disk, grub_disk: "hd0", table, config: None, firmware: Some(code), variables: None, state: None };
    let all = forecast(&facts);
    assert!(all[0].value.is_none() && words(&all[0]) == ["the volume DXEFV", "separator"], "{:?}", all[0]);
    assert_eq!((all[5].pcr, all[5].remark.as_str()), (5, "no table"));
    // A log of a start with this firmware, and one with another.
    let log = |events: &[ExpectedEvent]| EventLog {
        banks: vec![(11, 32)],
        events: events
            .iter()
            .map(|event| LoggedEvent { pcr: event.pcr, kind: event.kind, digests: vec![(11, event.digest.to_vec())], data: Vec::new() })
            .collect(),
    };
    let first = ExpectedEvent::of(0, all[0].events[0].kind, b"PEIFV as it is in memory", "");
    let whole = [std::slice::from_ref(&first), &all[0].events[..]].concat();
    assert_eq!(find_missing(&log(&whole), 0, &all[0].events), None);
    assert_eq!(find_missing(&log(&whole[1..]), 0, &all[0].events), None);
    assert_eq!(find_missing(&log(&[first, whole[2].clone()]), 0, &all[0].events), Some(&all[0].events[0]));
    assert_eq!(find_missing(&log(&[whole[2].clone(), whole[1].clone()]), 0, &all[0].events), Some(&all[0].events[1]));
    let error = measured_boot::firmware::volumes(b"no firmware").unwrap_err();
    assert_eq!(error.to_string(), "no firmware for QEMU (OVMF)");
}
