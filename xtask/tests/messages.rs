//! What a contributor's first day reads like, one page for each of the fourteen things that once annoyed: golden/errors/NN.txt. The page 12
//! is in progress.rs, and 05 in guest_scripts.rs.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use ::common::Arch;
use child::fake::executable;
use common::{Xtask, copy_programs, golden::Page, repository, small_tree::SmallTree, wants};
use std::fs;

/// A page about a tree that is changed from command to command.
struct Day {
    tree: SmallTree,
    page: Page,
}

impl Day {
    fn new() -> Self {
        let tree = SmallTree::new();
        let page = Page::of(tree.root());
        Self { tree, page }
    }

    /// The program with a page's settings: one step at a time, and nothing of other tests.
    fn xtask(&self, words: &str) -> Xtask {
        let store = self.tree.root().join("home/store");
        self.tree.xtask().env("STORE", store).env("INSTALL_TOOLS", "never").args(words.split_whitespace()).args(["-j", "1"])
    }

    fn run(&mut self, words: &str) {
        let xtask = self.xtask(words);
        self.page.run(&format!("cargo xtask {words}"), xtask);
    }

    /// Packages of this machine's architecture with programs of this machine.
    fn run_here(&mut self, words: &str) {
        let xtask = self.xtask(words).env("ZARCH", Arch::host_word());
        self.page.run(&format!("cargo xtask {words}"), xtask);
    }
}

/// The word for this machine's architecture is on no page.
fn any_arch(text: &str) -> String {
    text.replace(Arch::host_word(), "ARCH")
}

#[test]
fn page_01_a_run_that_fails_can_be_looked_into() {
    let mut day = Day::new();
    copy_programs(&["/bin/sh"], &day.tree.root().join("pkg/base/files"));
    day.tree.write("pkg/base/Dockerfile", "FROM scratch\nCOPY files/ /\nRUN echo checking for openssl; echo no; exit 77\n");
    day.run_here("pkg base");
    day.page.note("on a terminal --shell-on-failure opens a shell there (shell.rs)");
    day.run_here("pkg base --shell-on-failure");
    day.page.map(any_arch).is("errors/01");
}

#[test]
fn page_02_a_compiler_and_an_image_of_a_registry() {
    let mut day = Day::new();
    copy_programs(&["/bin/sh"], &day.tree.root().join("pkg/base/files"));
    let profile = fs::read_to_string(day.tree.root().join("xtask.toml")).unwrap();
    day.tree.write("xtask.toml", &profile.replace("folder = \"pkg\"\n", "folder = \"pkg\"\narchive = \"base\"\n"));
    day.tree.write("pkg/base/Dockerfile", "FROM scratch\nCOPY files/ /\nRUN gcc -o /hello hello.c\n");
    day.run_here("pkg base");
    day.tree.write("pkg/base/Dockerfile", "FROM alpine:3.18\nRUN apk add gcc\n");
    day.run_here("pkg base");
    day.page.map(any_arch).is("errors/02");
}

#[test]
fn page_03_a_new_package_is_built_before_it_is_committed() {
    let mut day = Day::new();
    day.tree.write("pkg/mine/build.yml", "org: lfedge\nimage: eve-mine\n");
    day.tree.write("pkg/mine/Dockerfile", "FROM scratch\nCOPY run.sh /\n");
    day.tree.write("pkg/mine/run.sh", "#!/bin/sh\n");
    day.run("pkg mine");
    day.run("pkg mien");
    day.page.is("errors/03");
}

#[test]
fn page_04_the_quick_loop_has_a_name() {
    let mut day = Day::new();
    day.run("dev IMAGE_FORMAT=raw");
    day.tree.write("pkg/base/files/etc/base", "changed");
    day.run("dev IMAGE_FORMAT=raw");
    day.page.is("errors/04");
}

#[test]
fn page_06_a_second_ssh_key_overwrites_nothing() {
    if !wants("ssh-keygen", "openssh-client") {
        return;
    }
    let mut day = Day::new();
    day.run("ssh-key");
    day.tree.write("dist/conf/server", "mine.example.org\n");
    day.run("ssh-key");
    day.page.add("cat dist/conf/server", &fs::read_to_string(day.tree.root().join("dist/conf/server")).unwrap());
    day.page.is("errors/06");
}

#[test]
fn page_07_an_error_in_a_template_names_the_template_and_its_line() {
    let mut day = Day::new();
    day.tree.write("images/rootfs.yml.in", "kernel:\n  image: BASE_TAG\n  cmdline: x\ninit:\n  - BSE_TAG\n");
    day.run("live");
    day.tree.write("images/rootfs.yml.in", "kernel:\n  image: BASE_TAG\n  cmdline: x\nservces:\n  - name: base\n    image: BASE_TAG\n");
    day.run("live");
    for image in ["BASE", "BASE_TAGG", "bas", "alpine:3.18"] {
        day.tree.write(
            "images/rootfs.yml.in",
            &format!("kernel:\n  image: BASE_TAG\n  cmdline: x\ninit:\n  - BASE_TAG\nservices:\n  - name: base\n    image: {image}\n"),
        );
        day.run("live");
    }
    let service =
        "kernel:\n  image: BASE_TAG\n  cmdline: x\nservices:\n  - name: base\n    image: BASE_TAG\n    capabilities: [CAP_NET_ADMN]\n";
    day.tree.write("images/rootfs.yml.in", service);
    day.run("live");
    day.page.is("errors/07");
}

#[test]
fn page_08_what_can_be_known_early_is_said_early() {
    let mut day = Day::new();
    day.run("live LIVE_PART_SPEC=foo");
    day.run("live HV=bogus");
    day.tree.write("pkg/base/build.yml", "org: lfedge\nimage: eve-base\narches:\n  - amd64\n  - arm64\n");
    day.run("live --zarch riscv64");
    day.tree.write("pkg/base/Dockerfile", "FROM scratch\nCOPY files/ /\nHEALTHCHECK NONE\n");
    day.run("live");
    day.tree.write("pkg/base/Dockerfile", "FROM scratch\nCOPY files/ /\n");
    for rest in ["arches: [amd46, arm64]\n", "config:\n  bind:\n    - /a:/b\n", "config:\n  capabilities:\n    - CAP_SYS_AMDIN\n"] {
        day.tree.write("pkg/base/build.yml", &format!("org: lfedge\nimage: eve-base\n{rest}"));
        day.run("live");
    }
    day.tree.write("pkg/base/build.yml", "org: lfedge\nimage: eve-base\n");
    day.run("live MEDIA_SIZE=10");
    day.page.is("errors/08");
}

#[test]
fn page_09_completions_know_what_may_stand_there() {
    let mut day = Day::new();
    for line in ["why pk", "make ro", "live HV=", "live --rootfs-f", "pkg b", "ssh --", "graph live-g"] {
        let (before, last) = line.rsplit_once(' ').unwrap();
        let words = ["completions", "fish", "--"].into_iter().chain(before.split(' ')).chain([last]);
        let xtask = day.tree.xtask().args(words);
        day.page.run(&format!("cargo xtask {line}<TAB>"), xtask);
    }
    // fish shows the help beside the word.
    let beside = |text: &str| text.lines().map(|line| line.replace('\t', "  ").trim_end().to_owned() + "\n").collect();
    day.page.map(beside).is("errors/09");
}

#[test]
fn page_10_run_finds_a_disk_after_a_build_of_another_kind() {
    let mut day = Day::new();
    day.run("run");
    day.run("rootfs");
    day.run("run");
    day.run("live-raw");
    day.run("rootfs ROOTFS_VERSION=other");
    let (_, said) = common::texts(&day.xtask("run -n IMAGE_FORMAT=raw").env("XTASK_TOOL_QEMU_AMD64", "/bin/true").output());
    day.page.add("cargo xtask run -n IMAGE_FORMAT=raw", &said);
    day.page.is("errors/10");
}

#[test]
fn page_11_inspect_shows_files_anywhere() {
    let mut day = Day::new();
    day.xtask("live-raw").ok();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::copy(day.tree.root().join("dist/amd64/current/live.raw"), elsewhere.path().join("live.raw")).unwrap();
    day.page.note("in a folder that is in no tree");
    for words in ["inspect live.raw:IMGA:/", "inspect live.raw:IMGA:/etc/base", "inspect live.raw:IMGA:/etc/bse", "inspect live.raw:IMGC:/"]
    {
        let xtask = Xtask::anywhere(elsewhere.path()).args(words.split(' '));
        day.page.run(&format!("cargo xtask {words}"), xtask);
    }
    day.page.is("errors/11");
}

#[test]
fn page_13_the_doctor_says_what_is_missing_for_what() {
    let mut day = Day::new();
    let home = day.tree.root().join("home");
    fs::create_dir_all(&home).unwrap();
    // Also on a machine of another family.
    executable(&home.join("apt-get"), "#!/bin/sh\n");
    let path = format!("{}:{}", home.display(), std::env::var("PATH").unwrap());
    let tools = [
        ("GIT", "git version 2.39.5"),
        ("QEMU_IMG", "qemu-img version 7.2.22"),
        ("QEMU_IO", "qemu-io version 7.2.22"),
        ("QEMU_AMD64", "QEMU emulator version 7.2.22"),
        ("QEMU_ARM64", "QEMU emulator version 7.2.22"),
    ];
    for words in ["doctor --for live", "doctor --for run"] {
        let mut xtask = day.xtask(words).env("XTASK_TOOL_SWTPM", "/nowhere").env("PATH", &path);
        for (name, version) in tools {
            let program = home.join(name);
            executable(&program, format!("#!/bin/sh\n[ \"$1\" = --version ] && echo '{version}'\n"));
            xtask = xtask.env(&format!("XTASK_TOOL_{name}"), program);
        }
        day.page.run(&format!("cargo xtask {words}"), xtask);
    }
    day.page.note("what to do where /dev/kvm does not open: what_to_do_is_said_where_kvm_does_not_open in tools/vm/src/accel.rs");
    // Whether machines are emulated here differs, and root needs no sudo.
    let said = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with("virtual machines "));
        any_arch(&lines.map(|line| line.replace("sudo ", "") + "\n").collect::<String>()).replace("x86_64", "CPU").replace("aarch64", "CPU")
    };
    day.page.map(said).is("errors/13");
}

#[test]
fn page_14_the_help_has_ten_verbs() {
    let mut page = Page::of(&repository());
    page.run("cargo xtask help", Xtask::new(&repository()).args(["help"]));
    page.run("cargo xtask lvie", Xtask::new(&repository()).args(["lvie"]));
    // Every new verb changes the number of the others.
    let others = regex::Regex::new("the other [0-9]+ verbs").unwrap();
    page.map(|text| others.replace(text, "the other … verbs").into_owned()).is("errors/14");
}
