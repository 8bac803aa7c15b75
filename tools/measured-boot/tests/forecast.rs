//! A disk, a firmware and its variables, put together here, and what is said of their start.
#![allow(clippy::unwrap_used, missing_docs)]

use flate2::read::GzDecoder;
use measured_boot::{
    BootFacts, EventLog, ExpectedEvent, LoggedEvent, PcrForecast, compare, find_missing, forecast,
    grub::GrubDisk,
    kind::{GPT_EVENT, VARIABLE_DRIVER_CONFIG},
    replay,
};
use secureboot::store::StoredVariable;
use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
};

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
    grub_of("2.06-13+deb12u1", configuration)
}

fn grub_of(version: &str, configuration: &str) -> Vec<u8> {
    let normal = format!("\0GNU GRUB  version %s\0{version}\0");
    let mut tar = vec![0; 512];
    tar[..12].copy_from_slice(b"embedded.cfg");
    tar[124..135].copy_from_slice(format!("{:011o}", configuration.len()).as_bytes());
    tar.extend_from_slice(configuration.as_bytes());
    tar.resize(tar.len().next_multiple_of(512), 0);
    let mut parts = Vec::new();
    for (kind, content) in [(2_u32, &b"configfile (memdisk)/embedded.cfg\nset prefix=(memdisk)\n\0"[..]), (1, &tar), (0, normal.as_bytes())]
    {
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
    let config = Ok("1234  ./server\n".to_owned());
    let facts = BootFacts { disk: &disk, grub_disk: "hd0", table, config, firmware: None, variables, state: None };
    forecast(&facts).into_iter().map(|pcr| (pcr.pcr, pcr)).collect()
}

fn words(pcr: &PcrForecast) -> Vec<&str> {
    pcr.events.iter().map(|event| event.what.as_str()).collect()
}

fn variable(name: &str, data: &[u8]) -> StoredVariable {
    let vendor = match name {
        "db" | "dbx" | "dbt" => [0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f],
        "SecureBootEnable" => [0xc7, 0x0b, 0xa3, 0xf0, 0x08, 0xaf, 0x56, 0x45, 0x99, 0xc4, 0x00, 0x10, 0x09, 0xc9, 0x3a, 0x44],
        _ => [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c],
    };
    StoredVariable { name: name.to_owned(), vendor, data: data.to_vec() }
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
    assert!(all[&8].remark.ends_with("and the state of the slots is that of the disk"), "{}", all[&8].remark);
    assert!([4, 5].iter().all(|pcr| all[pcr].remark.ends_with("if the firmware tries no other device before this disk")));
    assert_eq!(words(&all[&7]), ["SecureBoot: 1 bytes", "PK: empty", "KEK: empty", "db: empty", "dbx: empty", "separator"]);
    assert!(all[&11].value == Some([0; 32]) && all[&13].value == Some([0; 32]) && !all[&14].logged);
    assert!(all[&0].value.is_none() && all[&0].remark.contains("--firmware FILE"), "{}", all[&0].remark);
    // Without the variables nobody knows PCR 7, and that Secure Boot is off is a condition.
    let all = said(grub("chainloader (hd0,gpt2)/x.efi\nboot"), &files, None);
    assert!(all[&7].value.is_none() && all[&7].remark.contains("--vars FILE") && all[&4].remark.starts_with("if Secure Boot is off"));
}

const X509: [u8; 16] = [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];
const SHA256: [u8; 16] = [0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28];

/// An EFI_SIGNATURE_LIST of one entry.
fn list(kind: [u8; 16], content: &[u8]) -> Vec<u8> {
    let sizes = [28 + 16 + content.len(), 0, 16 + content.len()].map(|size| u32::try_from(size).unwrap().to_le_bytes()).concat();
    [&kind[..], &sizes, &[7; 16], content].concat()
}

/// A certificate in DER of this owner, as far as its subject is read.
fn certificate(owner: &str) -> Vec<u8> {
    let element = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
    let nothing = element(0x30, b"");
    let fields = [element(2, &[1]), nothing.clone(), element(0x30, b"a CA"), nothing.clone(), element(0x30, owner.as_bytes()), nothing];
    element(0x30, &element(0x30, &fields.concat()))
}

/// `program` with a signature that has its digest and `content`.
fn signed(program: &[u8], content: &[u8]) -> Vec<u8> {
    let with = |program: &[u8], content: &[u8]| secureboot::EfiProgram::parse(program).unwrap().with_signature(content).unwrap();
    let any = with(program, b"any");
    with(&any, &[&digest(&any)[..], content].concat())
}

fn digest(program: &[u8]) -> [u8; 32] {
    secureboot::EfiProgram::parse(program).unwrap().digest()
}

/// The variables of a firmware with Secure Boot, with these databases.
fn on(db: &[u8], dbx: &[u8]) -> Vec<StoredVariable> {
    vec![variable("PK", b"pk"), variable("db", db), variable("dbx", dbx), variable("SecureBootEnable", &[1])]
}

/// The version of the stub of a unified kernel image.
const STUB: (&str, &[u8]) = (".sdmagic", b"#### LoaderInfo: systemd-stub 252.39-1~deb12u2 ####\0");

#[test]
fn under_secure_boot_the_certificate_that_signed_a_program_is_measured_once() {
    let ours = certificate("ours");
    let on = on(&list(X509, &ours), b"");
    let kernel = program(&[(".text", b"Linux initrd")]);
    let unified = program(&[STUB, (".osrel", b"ID=x"), (".cmdline", b"quiet"), (".initrd", b"files"), (".linux", &kernel)]);
    let first = grub("[ \"$lockdown\" = y ]\nchainloader (hd0,gpt2)/eve.efi\nboot");
    let all = said(signed(&first, &ours), &[((2, "eve.efi"), signed(&unified, &ours))], Some(&on));
    assert_eq!(words(&all[&7])[0..2], ["SecureBoot: 1 bytes", "PK: 2 bytes"]);
    assert_eq!(words(&all[&7])[5..], ["separator", "db: the certificate that signed the program"]);
    assert!(all[&7].remark.starts_with("if the firmware has Secure Boot"), "{}", all[&7].remark);
    assert_eq!(words(&all[&4])[2..], ["/EFI/BOOT/BOOTX64.EFI of partition 1", "/eve.efi of partition 2"]);
    assert_eq!(words(&all[&8])[0], "grub_cmd: [ y = y ]");
    let names = [".linux", ".osrel", ".cmdline", ".initrd"].map(|name| [format!("{name}: the name"), format!("{name}: the content")]);
    assert_eq!(words(&all[&11]), names.concat());
    // This kernel says nothing of options.
    assert_eq!(words(&all[&9]), ["(hd0,gpt2)/eve.efi", "Linux initrd"]);
    // What the firmware would not start has no values, and the line says so.
    let all = said(first.clone(), &[], Some(&on));
    assert!([4, 7, 8, 9, 11].iter().all(|pcr| all[pcr].value.is_none()));
    assert_eq!(
        all[&4].remark,
        "Secure Boot is on, and the firmware would not start /EFI/BOOT/BOOTX64.EFI of partition 1: it is not signed"
    );
    let all = said(signed(&first, &ours), &[((2, "eve.efi"), signed(&unified, b"by others"))], Some(&on));
    assert!(all[&4].remark.ends_with("/eve.efi of partition 2: none of db's certificates is in its signature"), "{}", all[&4].remark);
}

/// What is said of PCR 7 of a signed GRUB that ends: what the firmware makes of it.
fn authority(program: &[u8], db: &[u8], dbx: &[u8]) -> String {
    let remark = said(program.to_vec(), &[], Some(&on(db, dbx)))[&7].remark.clone();
    remark.replace("/EFI/BOOT/BOOTX64.EFI of partition 1", "it").replace("Secure Boot is on, and ", "")
}

#[test]
fn whether_the_firmware_starts_a_program_is_not_guessed() {
    let (ours, others, first) = (certificate("ours"), certificate("others"), grub("true"));
    let by_us = signed(&first, &ours);
    let db = list(X509, &ours);
    let unread = [9; 16];
    let (starts, refuses, unknown) =
        ("it starts nothing", "the firmware would not start it: ", "whether the firmware starts it is not known here: ");
    for (program, db, dbx, said) in [
        (&by_us, db.clone(), vec![], starts.to_owned()),
        (&by_us, [list(X509, &others), db.clone()].concat(), list(X509, &others), starts.to_owned()),
        (&by_us, list(SHA256, &digest(&by_us)), list(SHA256, &[1; 32]), starts.to_owned()),
        (&first, list(SHA256, &digest(&first)), vec![], starts.to_owned()),
        (&first, list(SHA256, &[1; 32]), vec![], format!("{refuses}it is not signed")),
        (&by_us, db.clone(), list(SHA256, &digest(&by_us)), format!("{refuses}dbx has its digest")),
        (&by_us, db.clone(), list(X509, &ours), format!("{refuses}dbx has a certificate that is in its signature")),
        (&by_us, db.clone(), list(unread, b"x"), format!("{unknown}dbx has entries that are neither certificates nor SHA-256 digests")),
        (&by_us, list(unread, b"x"), vec![], format!("{unknown}db has entries that are neither certificates nor SHA-256 digests")),
        (&by_us, db[..40].to_vec(), vec![], format!("{unknown}db: it is cut off")),
        // A certificate of db has signed one in the signature, or may have.
        (
            &signed(&first, b"0\x04ours"),
            db.clone(),
            vec![],
            format!("{unknown}its signature may be of the owner of a certificate in db that is not in it"),
        ),
        (&by_us, db.clone(), list(X509, b"no DER"), format!("{unknown}its signature may be of the owner of a certificate in dbx")),
        (
            &secureboot::EfiProgram::parse(&first).unwrap().with_signature(&ours).unwrap(),
            db,
            vec![],
            format!("{unknown}its signature has no SHA-256 digest of it"),
        ),
    ] {
        assert_eq!(authority(program, &db, &dbx), said);
    }
    // Two signatures: the firmware takes the first one that db allows.
    let place = secureboot::EfiProgram::parse(&by_us).unwrap().unsigned().len();
    let mut two = [&by_us[..], &by_us[place..]].concat();
    let size = u32::try_from(two.len() - place).unwrap();
    two[0x58 + 112 + 8 * 4 + 4..][..4].copy_from_slice(&size.to_le_bytes());
    assert_eq!(authority(&two, &list(X509, &ours), b""), format!("{unknown}it has more than one signature"));
}

#[test]
fn of_a_stub_of_another_version_nothing_is_said() {
    let ours = certificate("ours");
    let on = on(&list(X509, &ours), b"");
    let remark = |sections: &[(&str, &[u8])]| said(signed(&program(sections), &ours), &[], Some(&on))[&11].remark.clone();
    let kernel = program(&[(".text", b"x")]);
    let version = |text: &'static [u8]| (".sdmagic", text);
    let of_252 = version(b"#### LoaderInfo: systemd-stub 252 ####");
    assert_eq!(remark(&[(".linux", &kernel), of_252]), "");
    let later = remark(&[(".linux", &kernel), version(b"#### LoaderInfo: systemd-stub 257.7-1 ####")]);
    assert!(later.ends_with("its stub is of systemd 257.7-1, and what is measured is known here for 252 only"), "{later}");
    let more = remark(&[(".linux", &kernel), of_252, (".pcrpkey", b"key")]);
    assert!(more.ends_with("it has a section `.pcrpkey`, and whether its stub measures that is not known here"), "{more}");
    let unnamed = remark(&[(".linux", &kernel)]);
    assert!(unnamed.ends_with("which version of systemd its stub is of is not said in it"), "{unnamed}");
}

#[test]
fn variables_count_by_name_and_owner() {
    let said = |variables: &[StoredVariable]| {
        let all = said(
            grub("chainloader (hd0,gpt2)/x\nboot"),
            &[((2, "x"), grub("linuxefi /k\nboot")), ((2, "k"), b"k".to_vec())],
            Some(variables),
        );
        words(&all[&7]).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let of_another = StoredVariable { vendor: [1; 16], ..variable("db", b"x") };
    assert_eq!(
        said(&[of_another, variable("dbt", b"times")]),
        ["SecureBoot: 1 bytes", "PK: empty", "KEK: empty", "db: empty", "dbx: empty", "dbt: 5 bytes", "separator"]
    );
}

/// A firmware with one compressed volume that has `content`.
fn firmware(content: &[u8]) -> Vec<u8> {
    let volume = |content: &[u8]| {
        let mut bytes = vec![0; 72];
        bytes[16..32].copy_from_slice(&[0x78, 0xe5, 0x8c, 0x8c, 0x3d, 0x8a, 0x1c, 0x4f, 0x99, 0x35, 0x89, 0x61, 0x85, 0xc3, 0x2d, 0xd3]);
        bytes[32..40].copy_from_slice(&(72 + content.len() as u64).to_le_bytes());
        bytes[40..44].copy_from_slice(b"_FVH");
        bytes[48] = 72;
        [&bytes, content].concat()
    };
    let section = |kind: u8, content: &[u8]| [&u32::try_from(content.len() + 4).unwrap().to_le_bytes()[..3], &[kind], content].concat();
    let mut packed = Vec::new();
    let options = liblzma::stream::LzmaOptions::new_preset(1).unwrap();
    let stream = liblzma::stream::Stream::new_lzma_encoder(&options).unwrap();
    let volumes = section(0x17, &volume(content));
    liblzma::write::XzEncoder::new_stream(&mut packed, stream).write_all(&volumes).unwrap();
    // The encoder does not know the size before; firmware says it.
    packed[5..13].copy_from_slice(&(volumes.len() as u64).to_le_bytes());
    let lzma = [0x98, 0x58, 0x4e, 0xee, 0x14, 0x39, 0x59, 0x42, 0x9d, 0x6e, 0xdc, 0x7b, 0xd7, 0x94, 0x03, 0xcf];
    let guided = section(2, &[&lzma[..], &[24, 0, 1, 0], &packed].concat());
    let mut file = vec![0; 24];
    file[18] = 0x0b;
    file[20..23].copy_from_slice(&u32::try_from(24 + guided.len()).unwrap().to_le_bytes()[..3]);
    volume(&[file, guided].concat())
}

#[test]
fn a_firmware_without_secure_boot_has_another_pcr_7() {
    let disk = Disk(BTreeMap::from([((1, LOADER), grub("true"))]));
    let forecast = |firmware: &[u8], variables: &[StoredVariable]| {
        let (table, config) = (Err("none".to_owned()), Err("none".to_owned()));
        let facts =
            BootFacts { disk: &disk, grub_disk: "hd0", table, config, firmware: Some(firmware), variables: Some(variables), state: None };
        forecast(&facts).into_iter().map(|pcr| pcr.remark).collect::<Vec<_>>()
    };
    let without = firmware(b"SecureBoot");
    assert!(forecast(&without, &[])[0].starts_with("OVMF measures its first volume"), "{}", forecast(&without, &[])[0]);
    assert_eq!(forecast(&without, &on(b"", b""))[4], "the variables switch Secure Boot on, and the firmware has none");
    assert_eq!(forecast(&without, &[])[7], "the firmware has no Secure Boot, and what it measures of the keys is not known here");
    let with: Vec<u8> = "SecureBootEnable".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(
        forecast(&firmware(&with), &on(b"", b""))[7].ends_with("would not start /EFI/BOOT/BOOTX64.EFI of partition 1: it is not signed")
    );
}

#[test]
fn what_is_no_boot_chain_of_ours_is_said() {
    let remark = |first: &[u8]| said(first.to_vec(), &[], Some(&[]))[&4].remark.clone();
    assert!(remark(b"MZ").ends_with("an EFI program ends within its headers, at 0x2"), "{}", remark(b"MZ"));
    assert!(remark(&program(&[(".text", b"x")])).ends_with("no EFI program of GRUB: it has no section `mods`"));
    assert!(remark(&grub("true")).ends_with("/EFI/BOOT/BOOTX64.EFI of partition 1 starts nothing"));
    assert!(remark(&grub("multiboot2 /xen")).ends_with("the command `multiboot2` is not known here"));
    assert!(remark(&grub_of("2.12-1", "true")).ends_with("this is GRUB `2.12-1`, and what GRUB measures is known here for 2.06 only"));
    assert!(remark(&grub_of("2.065", "true")).ends_with("`2.065`, and what GRUB measures is known here for 2.06 only"));
    assert!(remark(&grub_of("", "true")).contains("this is GRUB ``"), "{}", remark(&grub_of("", "true")));
    // Whatever depends on the programs has the same reason; the firmware's own PCRs have values.
    let all = said(grub("true"), &[], Some(&[]));
    assert!([4, 5, 7, 8, 9, 11, 12, 13].iter().all(|pcr| all[pcr].value.is_none() && all[pcr].remark.ends_with(" starts nothing")));
    assert!([2, 3, 6].iter().all(|pcr| all[pcr].value.is_some()) && words(&all[&5]) == ["separator", "a table"]);
    let again = said(grub("chainloader /EFI/BOOT/BOOTX64.EFI\nboot"), &[], Some(&[]));
    assert_eq!(again[&4].remark, "more than 4 programs start each other");
}

#[test]
fn a_start_in_another_state_of_the_slots_says_so() {
    let disk = Disk(BTreeMap::from([((1, LOADER), grub("linuxefi /k\nboot")), ((1, "k"), b"kernel".to_vec())]));
    let (table, config) = (Err("no table".to_owned()), Err("no CONFIG".to_owned()));
    let state = Some(b"# GRUB Environment Block\n".to_vec());
    let all = forecast(&BootFacts { disk: &disk, grub_disk: "hd0", table, config, firmware: None, variables: Some(&[]), state });
    assert!(all[8].value.is_some() && all[8].remark.ends_with(", and the slots are in this state"), "{}", all[8].remark);
}

#[test]
fn of_the_firmware_some_events_are_known_and_a_log_without_them_is_noticed() {
    let code = include_bytes!("../../fuzz/corpus/firmware/xz.fd");
    let volumes = measured_boot::firmware::volumes(code).unwrap();
    let names: Vec<_> = volumes.iter().map(|volume| (volume.name, volume.is_measured_as_in_the_file)).collect();
    assert_eq!(names, [("the volume PEIFV", false), ("the volume DXEFV", true)]);
    let disk = Disk(BTreeMap::new());
    let table = Err("no table".to_owned());
    let facts = BootFacts {
        disk: &disk,
        grub_disk: "hd0",
        table,
        config: Err("no CONFIG".to_owned()),
        firmware: Some(code),
        variables: None,
        state: None,
    };
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

/// The variables that the firmware measured in a log.
fn measured_variables(log: &EventLog) -> Vec<StoredVariable> {
    let events = log.of_pcr(7).filter(|event| event.kind == VARIABLE_DRIVER_CONFIG);
    let variable = |event: &LoggedEvent| {
        let letters = usize::from(event.data[16]) * 2;
        let name = String::from_utf16(&event.data[32..32 + letters].chunks(2).map(|pair| u16::from(pair[0])).collect::<Vec<_>>()).unwrap();
        // What the firmware makes of its switch.
        variable(if name == "SecureBoot" { "SecureBootEnable" } else { &name }, &event.data[32 + letters..])
    };
    events.map(variable).collect()
}

#[test]
fn what_the_firmware_measures_is_what_real_logs_have() {
    for packed in
        [&include_bytes!("../../fuzz/corpus/event-log/live.log.gz")[..], include_bytes!("../../fuzz/corpus/event-log/signed.log.gz")]
    {
        let mut bytes = Vec::new();
        GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
        let log = EventLog::parse(&bytes).unwrap();
        let variables = measured_variables(&log);
        // The certificate behind the header of the list, and its owner.
        let db = &variables.iter().find(|variable| variable.name == "db").unwrap().data;
        let first = grub("linuxefi (hd0,gpt2)/k\nboot");
        let first = db.get(44..).map_or(first.clone(), |certificate| signed(&first, certificate));
        let disk = Disk(BTreeMap::from([((1, LOADER), first), ((2, "k"), b"kernel".to_vec())]));
        let data = &log.of_pcr(5).find(|event| event.kind == GPT_EVENT).unwrap().data;
        let table = measured_boot::gpt::table(&|at, size| {
            let mut bytes = if at == 512 { data[..92].to_vec() } else { data[100..].to_vec() };
            bytes.resize(size, 0);
            Ok(bytes)
        });
        let (table, config) = (table.map_err(|error| error.to_string()), Err("no CONFIG".to_owned()));
        let facts = BootFacts { disk: &disk, grub_disk: "hd0", table, config, firmware: None, variables: Some(&variables), state: None };
        let all = forecast(&facts);
        for pcr in [2, 3, 5, 6, 7, 12, 13] {
            let said = all.iter().find(|said| said.pcr == pcr).unwrap();
            assert_eq!(compare(&log, pcr, &said.events), None);
            assert_eq!(said.value, replay(&log, pcr), "{}", said.remark);
        }
        let programs: Vec<_> = log.of_pcr(4).take(2).map(|event| event.sha256().unwrap()).collect();
        assert_eq!(all[4].events[..2].iter().map(|event| event.digest).collect::<Vec<_>>(), programs);
    }
}
