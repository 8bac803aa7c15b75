//! Scripts and Dockerfiles of pkg/: what runs in the guest, checked on the machine that builds it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;
#[path = "guest_scripts/initrd.rs"]
mod initrd;
#[path = "guest_scripts/measuring.rs"]
mod measuring;
#[path = "guest_scripts/sealing.rs"]
mod sealing;
#[path = "guest_scripts/tight.rs"]
mod tight;

use common::{repository, tool, wants};
use diskimage::{
    disk::{Source, layout},
    eve::{self, Kind},
};
use std::{os::unix::fs::FileExt as _, path::Path, process::Command};

#[test]
fn scripts_of_the_guest_pass_shellcheck() {
    if !wants("shellcheck", "shellcheck") {
        return;
    }
    let mut scripts = Vec::new();
    for entry in walkdir::WalkDir::new(repository().join("pkg")).into_iter().filter_map(Result::ok) {
        let is_script = entry.file_type().is_file()
            && std::fs::read(entry.path()).is_ok_and(|bytes| bytes.starts_with(b"#!/bin/sh") || bytes.starts_with(b"#!/bin/busybox sh"));
        if is_script {
            scripts.push(entry.path().to_string_lossy().into_owned());
        }
    }
    assert!(scripts.len() > 10, "{scripts:?}");
    let mut words = vec!["--shell=busybox", "--external-sources"];
    if !tool("shellcheck", &["--help"]).contains("busybox") {
        words[0] = "--shell=dash";
    }
    words.extend(scripts.iter().map(String::as_str));
    tool("shellcheck", &words);
}

/// What `eve-hypervisor` prints on a machine that has `files` below its root, where only the modules `loads` load.
fn hypervisor(files: &[(&str, &str)], loads: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    for (name, content) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    if loads == "cpuid" {
        // 16 bytes for each leaf: eax, and the name in the others.
        let path = root.join("dev/cpu/0/cpuid");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path).unwrap().write_all_at(b"\x10\0\0@ACRNACRNACRN", 0x4000_0000).unwrap();
    }
    let tools = folder.path().join("bin");
    std::fs::create_dir_all(&tools).unwrap();
    let scripts = [
        ("modprobe", format!("case ' {loads} ' in *\" $2 \"*) ;; *) exit 1 ;; esac")),
        ("dmesg", "echo '[    1.5] kvm: disabled by bios'; echo '[    2.0] EXT4-fs: mounted'".to_owned()),
        ("mount", "exit 1".to_owned()),
    ];
    for (name, script) in scripts {
        child::fake::program(&tools, name, &script);
    }
    let mut command = std::process::Command::new("/bin/sh");
    command.arg(repository().join("pkg/init/rootfs/usr/bin/eve-hypervisor")).arg(&root);
    let output = command.env("PATH", format!("{}:/usr/bin:/bin", tools.display())).output().unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_guest_finds_its_hypervisor_out() {
    let (intel, amd, plain) = ("flags\t\t: fpu vmx sse\nflags\t\t: fpu vmx sse\n", "flags\t\t: fpu svm\n", "flags\t\t: fpu\n");
    let arm = "Features\t: fp asimd\n";
    let (cpu, kvm) = ("proc/cpuinfo", ("dev/kvm", ""));
    let (for_xen, for_acrn, acrn) = (("etc/eve-hv-type", "xen\n"), ("etc/eve-hv-type", "acrn\n"), ("boot/acrn.bin", ""));
    let (xen, control) = (("sys/hypervisor/type", "xen\n"), "proc/xen/capabilities");
    for (files, loads, expected) in [
        (vec![(cpu, intel), kvm], "kvm_intel", "kvm"),
        (vec![(cpu, amd), kvm], "kvm_amd", "kvm"),
        (vec![(cpu, arm), kvm], "", "kvm"),
        (vec![(cpu, intel)], "", "none: kvm_intel does not load: kvm: disabled by bios"),
        (vec![(cpu, amd)], "kvm_amd", "none: there is no /dev/kvm: kvm: disabled by bios"),
        (vec![(cpu, arm)], "", "none: there is no /dev/kvm: kvm: disabled by bios"),
        (vec![(cpu, "isa\t\t: rv64imafdch_zicsr\n"), kvm], "kvm", "kvm"),
        (vec![(cpu, "isa\t\t: rv64imafdc_zicsr_zihpm\n")], "kvm", "none: there is no /dev/kvm: kvm: disabled by bios"),
        (vec![(cpu, plain)], "", "none: the processor has neither VMX nor SVM"),
        (vec![(cpu, plain), xen, (control, "control_d\n")], "xenfs", "xen"),
        (vec![(cpu, amd), xen, (control, "")], "xenfs", "none: this system is itself a guest of Xen"),
        (vec![(cpu, amd), xen], "xenfs", "none: this system is itself a guest of Xen"),
        (vec![(cpu, amd), kvm, for_xen], "kvm_amd", "none: the image is for xen, and the machine was started without it"),
        (vec![(cpu, amd), kvm, for_acrn], "kvm_amd", "none: the image is for acrn and was built without it (ACRN_BIN)"),
        (vec![(cpu, amd), kvm, for_acrn, acrn], "kvm_amd", "none: the image is for acrn, and the machine was started without it"),
        (vec![(cpu, intel), for_acrn, acrn], "cpuid", "acrn"),
    ] {
        assert_eq!(hypervisor(&files, loads).trim_end(), expected, "{files:?}");
    }
}

#[test]
fn dockerfiles_start_from_the_archive_as_it_is_committed() {
    common::Xtask::new(&repository()).args(["bump", "--check"]).ok();
}

/// Whether an image has the records of the Debian packages that its Dockerfile unpacks: all of `/out`, or the records by name.
fn keeps_records(dockerfile: &str) -> bool {
    let unpacks = dockerfile.lines().any(|line| line.starts_with("ENV PKGS"));
    let keeps = |line: &str| line.starts_with("COPY --from=") && (line.contains(" /out/ ") || line.contains(" /out/var/lib/dpkg/ "));
    !unpacks || dockerfile.lines().any(keeps)
}

#[test]
fn images_keep_the_records_and_licences_of_debian_packages() {
    assert!(keeps_records("FROM a AS b\nENV PKGS x\nFROM scratch\nCOPY --from=b /out/ /\n"));
    assert!(!keeps_records("FROM a AS b\nENV PKGS x\nFROM scratch\nCOPY --from=b /out/bin/x /bin/x\n"));
    let mut seen = 0;
    for entry in std::fs::read_dir(repository().join("pkg")).unwrap() {
        let path = entry.unwrap().path().join("Dockerfile");
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        seen += 1;
        assert!(
            keeps_records(&text),
            "{}: COPY /out/var/lib/dpkg/ and /out/usr/share/doc/ too, or sbom does not know its packages",
            path.display()
        );
    }
    assert!(seen > 10, "{seen}");
}

/// A function of a script of the guest.
fn function(script: &str, name: &str) -> String {
    let text = std::fs::read_to_string(repository().join(script)).unwrap();
    let start = text.find(&format!("\n{name}() {{")).unwrap() + 1;
    let end = start + text[start..].find("\n}\n").unwrap() + 3;
    text[start..end].to_owned()
}

/// Whether busybox's shell succeeds in `call` after the functions of a script, whose /sys, /dev, /run and files of its own are below `top`.
fn call_in(top: &Path, script: &str, functions: &[&str], call: &str) -> bool {
    let text: String = functions.iter().map(|name| function(script, name)).collect();
    let text =
        ["/sys/", "/dev/", "/run/", "/header"].iter().fold(text, |text, path| text.replace(path, &format!("{}{path}", top.display())));
    let text =
        ["null", "zero"].iter().fold(text, |text, name| text.replace(&format!("{}/dev/{name}", top.display()), &format!("/dev/{name}")));
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    let mut command = Command::new("busybox");
    command.args(["ash", "-c", &format!("disk=vda\n{text}{call}")]).env("PATH", path);
    command.status().unwrap().success()
}

#[test]
fn a_service_that_ends_at_once_is_not_one_that_runs() {
    if !wants("busybox", "busybox-static") {
        return;
    }
    let lives = |call: &str| call_in(Path::new(""), "pkg/init/rootfs/usr/bin/eve-ready", &["lives_for", "uptime_seconds"], call);
    assert!(lives("lives_for $$ 0") && lives("! lives_for none 0"));
    assert!(lives("lives_for 1 3"), "the first process is as old as this machine");
    assert!(lives("sleep 5 & lives_for $! 0 && ! lives_for $! 3"));
    assert!(lives("sleep 5 & sleep 2; lives_for $! 1"));
}

#[test]
fn a_system_that_lives_and_is_not_ready_ends_the_count_of_starts() {
    if !wants("busybox", "busybox-static") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path();
    for folder in ["bin", "run/eve/onboot/a", "containers/onboot/a"] {
        std::fs::create_dir_all(top.join(folder)).unwrap();
    }
    let script = std::fs::read_to_string(repository().join("pkg/init/rootfs/usr/bin/eve-ready")).unwrap();
    let at = |path: &str| format!("{}{path}", top.display());
    let script = ["/run/", "/containers/"].iter().fold(script, |script, path| script.replace(path, &at(path)));
    let calls = top.join("calls");
    // What is asked of zboot, on a machine without a network and whose onboot ended with `onboot`.
    let asked = |onboot: &str, is_slot: bool| {
        let status = if is_slot { 0 } else { 1 };
        let zboot = format!("#!/bin/sh\necho \"$*\" >> {}\n[ \"$1\" != curpart ] || exit {status}\n", calls.display());
        child::fake::executable(&top.join("bin/zboot"), zboot);
        std::fs::write(top.join("run/eve/onboot/a/status"), onboot).unwrap();
        std::fs::write(&calls, "").unwrap();
        let mut command = Command::new("busybox");
        // What it leaves behind writes, too.
        command.args(["ash", "-c", &script, "eve-ready", "0"]).env("PATH", format!("{}/bin:/usr/bin:/bin", top.display()));
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        (said.contains("EVE-FAILED network: no interface has a lease\n"), std::fs::read_to_string(&calls).unwrap())
    };
    assert_eq!(asked("0", true), (true, "give_up not ready after 0 s\ncurpart\nlived\n".to_owned()));
    assert_eq!(asked("0", false), (true, "give_up not ready after 0 s\ncurpart\n".to_owned()));
    assert_eq!(asked("1", true), (false, "give_up onboot a: exit status 1\ncurpart\nlived\n".to_owned()));
}

#[test]
fn a_service_that_does_not_stay_up_says_why_soon_and_once() {
    if !wants("busybox", "busybox-static") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path();
    for folder in ["dev", "bin", "run/eve/services/a"] {
        std::fs::create_dir_all(top.join(folder)).unwrap();
    }
    std::fs::write(top.join("run/eve/services/a/status"), "126\n").unwrap();
    // The service's own last word counts, not the supervisor's, and not that of another service.
    let log = "Jan  1 00:00:09 (none) user.notice a: exec /usr/bin/a: Permission denied\nJan  1 00:00:09 (none) user.notice a: ended with status \
               126, starts again in 2 s\nJan  1 00:00:10 (none) user.notice ba: fine\nJan  1 00:00:11 (none) kern.warn kernel: \
               a: segfault in a: not this\nJan  1 00:00:11 (none) user.notice b: see a: nor this\n";
    child::fake::executable(&top.join("bin/logread"), format!("#!/bin/sh\ncat << 'END'\n{log}END\n"));
    let scripts = repository().join("pkg/init/rootfs/usr/bin");
    let said = |quick: u32| {
        std::fs::write(top.join("dev/console"), "").unwrap();
        let (bin, scripts, state) = (top.join("bin"), scripts.display(), top.join("run/eve/services/a"));
        let call = format!("PATH={}:{scripts}:$PATH; name=a state={} quick={quick}; complain", bin.display(), state.display());
        assert!(call_in(top, "pkg/init/rootfs/usr/bin/supervise", &["complain"], &call));
        std::fs::read_to_string(top.join("dev/console")).unwrap()
    };
    let mut page = common::golden::Page::of(top);
    page.note("the console of a machine whose service `a` does not stay up");
    page.add("cargo xtask console", &said(3));
    page.is("errors/05");
    assert_eq!(said(3), "\nEVE-FAILING service a: ended 3 times, last exit status 126: exec /usr/bin/a: Permission denied\n");
    assert_eq!([1, 2, 4].map(said), ["", "", ""]);
    std::fs::write(top.join("run/eve/ready"), "").unwrap();
    assert_eq!(said(3), "", "the log has it, and somebody may have logged in");
}

#[test]
fn a_service_that_would_not_notice_is_killed_and_others_are_asked() {
    if !wants("busybox", "busybox-static") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path();
    for folder in ["bin", "run/eve/services/a", "proc/7"] {
        std::fs::create_dir_all(top.join(folder)).unwrap();
    }
    child::fake::executable(&top.join("bin/runc"), format!("#!/bin/sh\necho \"$@\" > {}/said\n", top.display()));
    let script = std::fs::read_to_string(repository().join("pkg/runc/rootfs/usr/bin/end-service")).unwrap();
    let script = ["/run/", "/proc/"].iter().fold(script, |text, path| text.replace(path, &format!("{}{path}", top.display())));
    let said = |pid: &str, status: &str| {
        std::fs::write(top.join("run/eve/services/a/pid"), pid).unwrap();
        std::fs::write(top.join("proc/7/status"), status).unwrap();
        let _ = std::fs::remove_file(top.join("said"));
        let mut command = Command::new("busybox");
        command.args(["ash", "-c", &script, "end-service", "a"]).env("PATH", format!("{}:/usr/bin:/bin", top.join("bin").display()));
        assert!(command.status().unwrap().success());
        std::fs::read_to_string(top.join("said")).unwrap_or_default()
    };
    let status = |namespaces: &str, blocked: &str, caught: &str| {
        format!(
            "Name:\ta b\nNSpid:\t{namespaces}\nSigPnd:\t0000000000004000\nSigBlk:\t{blocked}\nSigIgn:\t0000000000004000\nSigCgt:\t{caught}\n"
        )
    };
    let (none, term, all_but) = ("0000000000000000", "0000000000014002", "fffffffffffbbfff");
    assert_eq!(said("7", &status("7\t1", none, none)), "kill a KILL\n", "the first process of its namespace");
    assert_eq!(said("7", &status("7\t1", all_but, all_but)), "kill a KILL\n", "every other signal");
    assert_eq!(said("7", &status("7\t1", none, term)), "kill a TERM\n", "it handles TERM");
    assert_eq!(said("7\n", &status("7\t1", term, none)), "kill a TERM\n", "it waits for TERM (sigwait, signalfd)");
    assert_eq!(said("7", &status("7\t21", none, none)), "kill a TERM\n", "another process of its namespace");
    assert_eq!(said("7", &status("7", none, none)), "kill a TERM\n", "one of the machine's namespace");
    assert_eq!(said("8", &status("7", none, none)), "", "it has ended");
    assert_eq!(said("", &status("7", none, none)), "", "it does not run");
}

#[test]
fn a_root_is_found_by_either_partition_table_and_a_damaged_one_is_repaired() {
    if !wants("busybox", "busybox-static") || !wants("sgdisk", "gdisk") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path();
    let disk = top.join("dev/vda");
    for folder in ["dev", "run/eve", "sys/class/block/vda/queue"] {
        std::fs::create_dir_all(top.join(folder)).unwrap();
    }
    let sectors = (64 << 20) / 512;
    std::fs::write(top.join("sys/class/block/vda/queue/logical_block_size"), "512\n").unwrap();
    std::fs::write(top.join("sys/class/block/vda/size"), format!("{sectors}\n")).unwrap();
    let guid = "ad6871ee-31f9-4cf3-9e09-6f7a25c30052";
    let file = std::fs::File::create_new(&disk).unwrap();
    file.set_len(sectors * 512).unwrap();
    tool("sgdisk", &["-n", "1:2048:+1M", "-n", "2:0:+4M", "-u", &format!("2:{guid}"), disk.to_str().unwrap()]);
    // A record beside the protective one.
    file.write_all_at(&[0x80, 0, 0, 0, 0x0c, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0], 446 + 16).unwrap();
    let whole = std::fs::read(&disk).unwrap();
    let has_uuid = |words: &str| call_in(top, "pkg/kernel/initrd/init", &["field", "has_uuid"], &format!("has_uuid vda {words}"));
    let finds = |number: u32, guid: &str| has_uuid(&format!("{number} {guid} {}", 2048 * number));
    let repair = || assert!(call_in(top, "pkg/storage-init/storage-init.sh", &["protect", "repair_table"], "repair_table"));
    // Its exit status is another one when it finds a problem, and the record above is one.
    let verdict = || {
        let output = Command::new("sgdisk").arg("-v").arg(&disk).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    assert!(finds(2, guid) && !finds(1, guid) && !finds(2, "00000000-0000-0000-0000-000000000000"));
    assert!(!has_uuid(&format!("2 {guid} 8192")), "a table that describes another partition");
    repair();
    assert!(std::fs::read(&disk).unwrap() == whole, "a disk without damage is changed");
    for (what, sector, count) in [("header", 1, 1), ("entries", 2, 4), ("both", 1, 33), ("backup", sectors - 1, 1)] {
        file.write_all_at(&vec![0; 512 * count], sector * 512).unwrap();
        assert!(finds(2, guid) && !finds(1, guid), "{what}");
        assert!(verdict().contains("You should repair the disk"), "{what}");
        repair();
        assert!(std::fs::read(&disk).unwrap() == whole, "{what}: the tables are not what they were");
    }
    file.set_len(sectors * 1024).unwrap();
    let larger = std::fs::read(&disk).unwrap();
    repair();
    assert!(std::fs::read(&disk).unwrap() == larger, "the backup table of an enlarged disk moves when P3 is made");
}

#[test]
fn a_torn_mbr_is_written_anew_from_the_gpt() {
    if !wants("busybox", "busybox-static") || !wants("sgdisk", "gdisk") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path();
    for folder in ["dev", "run/eve"] {
        std::fs::create_dir_all(top.join(folder)).unwrap();
    }
    let file = std::fs::File::create_new(top.join("dev/vda")).unwrap();
    let parts = [Kind::Efi, Kind::Imga, Kind::Conf].map(|kind| (kind, Source::Empty)).to_vec();
    layout(eve::table(parts, 640 << 20).unwrap()).unwrap().write(&file).unwrap();
    let tables = |file: &std::fs::File| {
        let mut bytes = vec![0; 34 * 512];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    let whole = tables(&file);
    let repair = || {
        assert!(call_in(top, "pkg/storage-init/storage-init.sh", &["protect", "repair_table", "repair_mbr"], "repair_mbr; repair_table"))
    };
    repair();
    assert!(tables(&file) == whole, "a disk without damage is changed");
    // All of the sector, the protective record alone, the signature alone, and the GPT's first header too.
    for (what, at, length) in [("sector", 0, 512), ("record", 446 + 16, 16), ("signature", 510, 2), ("header", 0, 1024)] {
        file.write_all_at(&vec![0; length], at).unwrap();
        repair();
        assert!(tables(&file) == whole, "{what}: the tables are not what they were");
    }
}

#[test]
fn a_persist_partition_that_the_installer_erased_is_not_repaired_by_an_old_superblock() {
    if !["busybox", "mkfs.ext4"].iter().zip(["busybox-static", "e2fsprogs"]).all(|(program, package)| wants(program, package)) {
        return;
    }
    let function = function("pkg/storage-init/storage-init.sh", "is_erased");
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("p3");
    let is_erased = || {
        let text = format!("cmp() {{ busybox cmp \"$@\"; }}\n{function}is_erased \"$1\"");
        Command::new("busybox").args(["ash", "-c", &text, "ash"]).arg(&image).status().unwrap().success()
    };
    std::fs::File::create(&image).unwrap().set_len(256 << 20).unwrap();
    assert!(is_erased());
    tool("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]);
    assert!(!is_erased());
    // What the installer erases; copies of the superblock stay further on.
    let file = std::fs::File::options().write(true).open(&image).unwrap();
    file.write_all_at(&vec![0; 5 << 20], 0).unwrap();
    assert!(is_erased());
}

/// What the installer's script does with these settings: its own lines, `[shell]`, `[install]`, and how it ends the machine.
fn installer_script(settings: &str, installs: bool) -> String {
    let folder = tempfile::tempdir().unwrap();
    let console = folder.path().join("console");
    let script = std::fs::read_to_string(repository().join("pkg/installer/rootfs/etc/init.d/999-ready")).unwrap();
    let script = script.replace("/dev/console", console.to_str().unwrap()).replace("/sys/", &format!("{}/sys/", folder.path().display()));
    // Functions come before programs, so nothing here can switch this machine off.
    let mut text = String::from("set -- start\nfor name in modprobe sleep sync ip udhcpc mkdir; do eval \"$name() { :; }\"; done\n");
    text += "for name in reboot poweroff; do eval \"$name() { echo \\\"[$name \\$*]\\\"; exit; }\"; done\nsetsid() { echo [shell]; }\n";
    let end = if installs { "true" } else { "false" };
    text += &format!("installer() {{ case $1 in settings) echo '{settings}' ;; *) echo [install]; {end} ;; esac; }}\n");
    let status = Command::new("dash").args(["-c", &format!("{text}{script}")]).status().unwrap();
    assert!(status.success());
    std::fs::read_to_string(console).unwrap()
}

#[test]
fn the_installer_pauses_and_ends_the_machine_as_it_was_told() {
    if !wants("dash", "dash") {
        return;
    }
    let (off, again) =
        ("The machine goes off. Remove the medium before you switch it on.\n[poweroff -f]\n", "The machine starts again.\n[reboot -f]\n");
    let pause = |when: &str| format!("The installer waits before it {when}. Type exit to go on.\n[shell]\n");
    let (before, after) = (pause("installs"), pause("ends"));
    for (settings, installs, wanted) in [
        ("", true, format!("[install]\n{off}")),
        ("eve_install_disk=sda\neve_pause_before_install=n", true, format!("[install]\n{off}")),
        ("eve_pause_before_install=y", true, format!("{before}[install]\n{off}")),
        ("eve_pause_after_install=y\neve_reboot_after_install=y", true, format!("[install]\n{after}{again}")),
        ("eve_pause_after_install=y\neve_reboot_after_install=y", false, "[install]\n".to_owned()),
    ] {
        assert_eq!(installer_script(settings, installs), wanted, "{settings}");
    }
}

#[test]
fn a_signed_command_line_without_the_means_to_check_the_root_is_an_error() {
    if !wants("busybox", "busybox-static") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let text = function("pkg/kernel/initrd/init", "checked_device");
    let text = text.replace("/proc/", &format!("{}/", folder.path().display())).replace("/verity", &at("verity").display().to_string());
    let device = |line: &str| {
        std::fs::write(at("cmdline"), line).unwrap();
        let call = format!("fail() {{ echo \"$1\" > {}; exit 1; }}\n{text}checked_device /dev/vda2", at("why").display());
        let output = Command::new("busybox").args(["ash", "-c", &call]).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    };
    let (unsigned, signed) = ("root=x ro quiet\n", "root=LoaderDevicePartUUID ro eve_verity quiet\n");
    let why = || std::fs::read_to_string(at("why")).unwrap();
    assert_eq!(device(unsigned).as_deref(), Some("/dev/vda2\n"));
    assert_eq!(device(signed), None);
    assert!(why().ends_with("/open does not run\n"), "{}", why());
    std::fs::create_dir(at("verity")).unwrap();
    assert_eq!((device(signed), device(unsigned)), (None, None));
    let open = |script: &str| child::fake::executable(&at("verity/open"), format!("#!/bin/sh\n{script}\n"));
    open("echo \"of $1\"");
    assert_eq!(device(signed).as_deref(), Some("of /dev/vda2\n"));
    open("echo 'it was changed'; exit 1");
    assert_eq!(device(signed), None);
    assert_eq!(why(), "it was changed\n");
}
