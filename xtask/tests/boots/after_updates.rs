//! The two slots. GRUB alone: which slot it takes by the state on the ESP. And one machine through its updates: one that works, a power
//! cut in the middle of the next, a kernel that panics, a service that never starts. Each time a system that works must come out of it,
//! and say from which slot.

use crate::common::{
    Xtask,
    machine::{LIMIT, Machine, VERSION, disk, folder, free_port, image, ready, turn, xtask},
    scratch,
};
use diskimage::{
    disk::{Source, layout},
    eve::{self, Kind},
    extract, fat,
    recipes::{pack_rootfs, read_tar},
    squashfs::{self, Compressor},
};
use filetree::{Content, Kind as NodeKind, Node, Spool, Tree};
use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
};

/// Seconds for all that happens to one machine between two power cuts.
const LONG: &str = "2400";

/// The root file system of the build as a tar.
fn rootfs_tar() -> File {
    xtask("amd64").args(["rootfstar"]).ok();
    File::open(folder("amd64", VERSION).join("rootfs.tar")).unwrap()
}

/// The root file system of the build, with a change.
fn variant(name: &str, version: &str, change: impl FnOnce(&mut Tree)) -> PathBuf {
    let path = scratch().join(format!("rootfs-{name}.img"));
    let mut tree = read_tar(rootfs_tar(), &mut Spool::new_in(&scratch()).unwrap()).unwrap();
    set(&mut tree, "etc/eve-release", version);
    change(&mut tree);
    // gzip: fast, and GRUB reads it.
    pack_rootfs(tree, Compressor::Gzip, 1_700_000_000, &mut File::create(&path).unwrap()).unwrap();
    path
}

/// Gives a file of the tree another text; its mode stays.
fn set(tree: &mut Tree, path: &str, text: &str) {
    match tree.get_mut(path) {
        Some(Node { kind: NodeKind::File { content, link }, .. }) => (*content, *link) = (Content::from(text.as_bytes().to_vec()), None),
        _ => panic!("no file {path}"),
    }
}

fn text(tree: &Tree, path: &str) -> String {
    match tree.get(path) {
        Some(Node { kind: NodeKind::File { content, .. }, .. }) => String::from_utf8(content.read_all().unwrap()).unwrap(),
        _ => panic!("no file {path}"),
    }
}

fn update(machine: &Machine, file: &Path) -> Xtask {
    let (port, key) = (machine.port.to_string(), scratch().join("ssh.key"));
    xtask("amd64").args(["update", "--ssh-port", &port, "--timeout", LIMIT, "--ssh-key-file"]).args([key, file.to_owned()])
}

/// Tries an update that must end in slot B.
fn falls_back(machine: &Machine, file: &Path, on_console: &[&str]) {
    let before = machine.console().len();
    let (code, error) = update(machine, file).fails();
    assert!(code == 1 && error.contains("fell back to slot=B version=next"), "{code}: {error}\n{}", machine.console());
    let console = machine.console();
    let console = console.get(before..).unwrap_or(&console);
    for text in on_console {
        assert!(console.contains(text), "the console lacks `{text}`:\n{console}");
    }
    // The failure is on record, where the tools of others look, too.
    machine.ssh("test $(zboot curpart) = IMGB && test $(zboot partstate IMGB) = active && test $(zboot partstate IMGA) = inprogress");
    machine.ssh(
        "nsenter -t 1 -m sgdisk -i 2 /dev/vda | grep -q 'flags: 0003' && nsenter -t 1 -m sgdisk -i 3 /dev/vda | grep -q 'flags: 0102'",
    );
}

/// Gives the machine files that it must not take; slot B stays as it is. /persist/next.img is a good one.
fn refuses_what_cannot_run(machine: &Machine) {
    let refuses = |make: &str, why: &str| {
        machine.ssh(&format!("cd /persist; {make}; ! eve update bad.img > said 2>&1 && grep -q '{why}' said || {{ cat said; false; }}"));
    };
    refuses("echo no image > bad.img", "bad.img is neither squashfs nor ext4");
    refuses("head -c 20000000 next.img > bad.img", "bad.img is truncated: its squashfs has");
    refuses("cp next.img bad.img; truncate -s 315621376 bad.img", "bad.img has 315621376 bytes, and IMGB has room for 314572800");
    // An image of another architecture differs in the name of its boot loader.
    for (program, why) in [
        ("EFI/BOOT/BOOTAA64.EFI", "is for aarch64, and this machine is x86_64"),
        ("EFI/BOOT/BOOTX64.EFI", "has a /boot/kernel that is no kernel of Linux"),
    ] {
        let mut tree = Tree::new();
        for path in ["boot/kernel", program, "etc/eve-release"] {
            tree.insert(path, Node::file(0o644, 0, Content::from(b"x".to_vec()))).unwrap();
        }
        let file = scratch().join("rootfs-bad.img");
        let options = squashfs::Options { compressor: Compressor::Gzip, ..squashfs::Options::default() };
        squashfs::write(&tree, &options, &mut File::create(&file).unwrap()).unwrap();
        let (code, error) = update(machine, &file).fails();
        let why = format!("the machine refuses the update: /persist/eve-update/rootfs.img {why}");
        assert!(code == 2 && error.contains(&why), "{code}: {error}");
    }
    machine.ssh("test $(zboot partstate IMGA) = active && test $(zboot partstate IMGB) = unused && ! test -e /persist/eve-update");
}

/// Updates to `good` with a delta from the build, which runs. One from another image changes nothing.
fn updates_by_a_delta(machine: &Machine, good: &Path) {
    let (code, error) = update(machine, good).args([format!("--delta={}", good.display())]).fails();
    let why = "the machine refuses the update: /persist/eve-update/rootfs.delta begins with another image than IMGA holds";
    assert!(code == 2 && error.contains(why), "{code}: {error}");
    machine.ssh("test $(zboot partstate IMGA) = active && test $(zboot partstate IMGB) = unused && ! test -e /persist/eve-update");
    assert_eq!(update(machine, good).args(["--delta"]).ok(), "updated: slot=B version=next\n");
    machine.ssh("! test -e /persist/eve-update");
}

/// Switches the power off while slot A is written.
fn cut_the_power(machine: Machine) {
    // Stopped in the middle, so that the cut is never late; what is written by then is on the disk.
    let command = "eve update /persist/next.img & until [ -z \"$(head -c 4 /dev/vda2 | tr -d '\\0')\" ]; do usleep 20000; done; \
                   killall -STOP dd; sync; echo stopped; sleep 300";
    let mut ssh = machine.ssh_command(command).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(ssh.stdout.take().unwrap()).lines();
    let lines: Vec<String> = lines.map_while(Result::ok).take_while(|line| line != "stopped").collect();
    let begins = ["the signature of /persist/next.img is not checked", "writing next to IMGA"];
    assert!(lines.len() == 2 && lines.iter().zip(begins).all(|(line, begin)| line.starts_with(begin)), "{lines:?}");
    drop(machine);
    ssh.wait().unwrap();
}

#[test]
fn updates_end_in_a_system_that_works() {
    if !ready("qemu-system-x86_64") {
        return;
    }
    let disk = disk(&image("amd64"), "slots");
    let good = variant("next", "next", |_| {});
    // Neither our initrd nor the kernel itself finds a root: it panics before any of our programs runs.
    let panics = variant("panics", "panics", |tree| {
        let words = text(tree, "boot/cmdline");
        set(tree, "boot/cmdline", &format!("{} rdinit=/nowhere", words.trim()));
    });
    let lame = variant("lame", "lame", |tree| {
        let service = "containers/services/newlogd/rootfs/newlogd.sh";
        set(tree, service, "#!/bin/busybox false\n");
        // Everything else is long up by then.
        let starter = "etc/init.d/999-ready";
        let words = text(tree, starter).replace("eve-ready >", "eve-ready 60 >");
        set(tree, starter, &words);
    });

    let _turn = turn();
    let machine = Machine::start_for(LONG, VERSION, &disk, "slots-first");
    assert!(machine.ready_line().ends_with("slot=A"), "{}", machine.console());
    assert!(machine.ssh_command("cat > /persist/next.img").stdin(File::open(&good).unwrap()).status().unwrap().success());
    refuses_what_cannot_run(&machine);
    updates_by_a_delta(&machine, &good);
    let console = machine.console();
    assert!(console.lines().any(|line| line.contains("EVE-READY next ") && line.trim_end().ends_with(" persist=kept slot=B")), "{console}");
    machine.ssh("test $(zboot partstate IMGB) = active && test $(zboot partstate IMGA) = unused");
    cut_the_power(machine);

    let machine = Machine::start_for(LONG, VERSION, &disk, "slots-second");
    assert!(machine.ready_line().ends_with("slot=B"), "{}", machine.console());
    machine.ssh("test $(zboot partstate IMGA) = unused && test -z \"$(head -c 4 /dev/vda2 | tr -d '\\0')\"");
    falls_back(&machine, &panics, &["Kernel panic", "persist=kept slot=B"]);
    falls_back(&machine, &lame, &["EVE-FAILED service newlogd", "EVE-FAILED slot: not ready after 60 s", "EVE-READY next"]);
}

/// A state of the slots, and what GRUB must make of it.
struct Choice {
    name: &'static str,
    /// The environment block without its frame; none: no block.
    block: Option<&'static str>,
    config: &'static str,
    /// What slot B's GRUB does.
    b: Cfg,
    takes: &'static str,
    /// What the block holds afterwards.
    leaves: Option<&'static str>,
}

#[derive(Clone, Copy)]
enum Cfg {
    /// Says which slot it is.
    Says,
    /// Gives up, as it does when nothing loads.
    Exits,
}

const CHOICES: [Choice; 7] = [
    Choice {
        name: "exits",
        block: Some("ORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=1\n"),
        config: "",
        b: Cfg::Exits,
        takes: "A",
        leaves: Some("ORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=0\n"),
    },
    Choice { name: "config", block: None, config: "set_global eve_boot IMGB\n", b: Cfg::Says, takes: "B", leaves: None },
    Choice {
        name: "proven",
        block: Some("ORDER=B\nA_OK=0\nA_TRY=0\nB_OK=1\nB_TRY=0\n"),
        config: "",
        b: Cfg::Says,
        takes: "B",
        leaves: Some("ORDER=B\nA_OK=0\nA_TRY=0\nB_OK=1\nB_TRY=0\n"),
    },
    Choice { name: "damaged", block: Some("ORDER=B\0A_OK=0\n"), config: "", b: Cfg::Says, takes: "A", leaves: Some("ORDER=B\0A_OK=0\n") },
    Choice {
        name: "trial",
        block: Some("ORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=2\n"),
        // A trial goes before what CONFIG prefers.
        config: "set_global eve_boot IMGA\n",
        b: Cfg::Says,
        takes: "B",
        leaves: Some("ORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=1\n"),
    },
    Choice {
        name: "unused",
        // What CONFIG names and was not in use is tried once; after that it is as the next one.
        block: Some("ORDER=A\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=0\n"),
        config: "set_global eve_boot IMGB\n",
        b: Cfg::Says,
        takes: "B",
        leaves: Some("ORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=0\n"),
    },
    Choice {
        name: "failed",
        block: Some("ORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=0\n"),
        // Not even CONFIG brings back what failed.
        config: "set_global eve_boot IMGB\n",
        b: Cfg::Says,
        takes: "A",
        leaves: Some("ORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=0\n"),
    },
];

/// A disk with the build's GRUB on the ESP and in both slots, which hold nothing else.
fn disk_of_grub(choice: &Choice, real: &Tree) -> PathBuf {
    let file = |bytes: Vec<u8>| Node::file(0o644, 0, Content::from(bytes));
    let fat = |kind: Kind, files: Vec<(&str, Node)>| {
        let mut tree = Tree::new();
        files.into_iter().for_each(|(path, node)| tree.insert(path, node).unwrap());
        let options = fat::Options {
            size: kind.size(0),
            label: "TEST".into(),
            volume_id: 1,
            mtime: 1_700_000_000,
            sector: 512,
            bits: fat::Bits::Auto,
        };
        (kind, Source::Fat(fat::layout(&tree, &options).unwrap()))
    };
    const PROGRAM: &str = "EFI/BOOT/BOOTX64.EFI";
    let program = || real.get(PROGRAM).unwrap().clone();
    let slot = |kind: Kind, letter: &str, cfg: Cfg| {
        let cfg = match cfg {
            Cfg::Says => file(format!("echo \"THE SLOT IS {letter}\"\nsleep 60\n").into_bytes()),
            Cfg::Exits => file(b"exit\n".to_vec()),
        };
        fat(kind, vec![("boot/kernel", file(b"kernel".to_vec())), (PROGRAM, program()), ("EFI/BOOT/grub.cfg", cfg)])
    };
    let mut esp = vec![(PROGRAM, program())];
    esp.extend(choice.block.map(|block| ("EFI/BOOT/grubenv", file(block_of(block).into_bytes()))));
    let parts = vec![
        fat(Kind::Efi, esp),
        fat(Kind::Conf, vec![("grub.cfg", file(choice.config.as_bytes().to_vec()))]),
        slot(Kind::Imga, "A", Cfg::Says),
        slot(Kind::Imgb, "B", choice.b),
    ];
    let path = scratch().join(format!("grub-{}.raw", choice.name));
    layout(eve::table(parts, 700 << 20).unwrap()).unwrap().write(&File::create(&path).unwrap()).unwrap();
    path
}

fn block_of(text: &str) -> String {
    format!("{:#<1024}", format!("# GRUB Environment Block\n{text}"))
}

/// The environment block on the ESP of a disk.
fn block_on(disk: &Path) -> Option<String> {
    let disk = extract::Disk::open(disk).unwrap();
    let window = disk.partition("EFI System").unwrap().unwrap();
    let tree = extract::fat_tree(&fat::Reader::open(&window).unwrap(), 4 << 20, 0).unwrap();
    tree.get("EFI/BOOT/grubenv").map(|_| text(&tree, "EFI/BOOT/grubenv"))
}

#[test]
fn grub_takes_the_slot_that_the_state_names() {
    if !ready("qemu-system-x86_64") {
        return;
    }
    image("amd64");
    let real = read_tar(rootfs_tar(), &mut Spool::new_in(&scratch()).unwrap()).unwrap();
    let _turn = turn();
    for choice in &CHOICES {
        let (disk, log) = (disk_of_grub(choice, &real), scratch().join(format!("grub-{}.log", choice.name)));
        let (port, disk_word, log_word) = (free_port().to_string(), disk.to_str().unwrap(), log.to_str().unwrap());
        let words = ["run", "--disk", disk_word, "--disk-bus", "virtio", "--memory", "512", "--ssh-port", &port, "--serial-log", log_word];
        xtask("amd64").args(words).args(["--until", "THE SLOT IS", "--timeout", "180"]).ok();
        let console = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
        assert!(console.contains(&format!("THE SLOT IS {}", choice.takes)), "{}:\n{console}", choice.name);
        assert_eq!(block_on(&disk), choice.leaves.map(block_of), "{}", choice.name);
        std::fs::remove_file(disk).unwrap();
    }
}
