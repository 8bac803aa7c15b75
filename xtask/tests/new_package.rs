//! `cargo xtask new package` in every language, and packages that are compiled by the archives' compilers: on this machine's architecture,
//! and for another one.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Xtask, clone_tree, has, repository, scratch, skip_boots, texts, tool, wants};
use std::{
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What git shows as changed or new.
fn status(root: &Path) -> String {
    let output = Command::new("git").args(["status", "--porcelain", "-uall", "--ignored"]).current_dir(root).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_name_that_is_bad_or_taken_is_one_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    clone_tree(root);
    let fails = |words: &[&str]| {
        let (code, text) = Xtask::new(root).args(["new", "package"]).args(words).fails();
        assert_eq!((code, text.matches("error:").count()), (2, 1), "{text}");
        assert_eq!(status(root), "", "{words:?}");
        text
    };
    for name in ["My_Tool", "a/b", "../tool", "tool-"] {
        assert!(fails(&[name]).contains(&format!("error: `{name}` is not a name for a package: ")), "{name}");
    }
    let taken = format!("error: `sysctl` is taken: there is a folder {}/pkg/sysctl\nhint: choose another name", root.display());
    assert!(fails(&["sysctl", "--c"]).contains(&taken));
    assert!(fails(&["tool", "--c", "--go"]).contains("'--c' cannot be used with '--go'"));
    assert!(fails(&["tool", "--init", "--onboot"]).contains("'--init' cannot be used with '--onboot'"));
    // A folder that cannot be written to.
    if !is_root() {
        let packages = root.join("pkg");
        std::fs::set_permissions(&packages, std::fs::Permissions::from_mode(0o555)).unwrap();
        assert!(Xtask::new(root).args(["new", "package", "tool"]).fails().1.contains("cannot make a folder in `"));
        std::fs::set_permissions(&packages, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert!(Xtask::new(root).args(["new", "package", "tool", "--go", "--dry-run"]).ok().contains("write pkg/tool/go.mod"));
    assert_eq!(status(root), "");
    // A draft, as it is there while files are written, is not a package yet.
    let names = || Xtask::new(root).args(["show-tag"]).ok();
    let before = names();
    std::fs::create_dir(root.join("pkg/.new-package1")).unwrap();
    std::fs::write(root.join("pkg/.new-package1/build.yml"), "image: eve-tool\n").unwrap();
    assert_eq!(names(), before);
}

fn is_root() -> bool {
    tool("id", &["-u"]).trim() == "0"
}

/// A clone of the tree with an image cache of its own, in which packages are built.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// None, with a word about it, if whole images are not built now.
    fn new() -> Option<Self> {
        if let Some(why) = skip_boots() {
            skips::skipped(skips::Lack::Request, why);
            return None;
        }
        let place = Self { folder: tempfile::tempdir_in(scratch()).unwrap() };
        clone_tree(&place.tree());
        Some(place)
    }

    fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    fn xtask(&self, words: &[&str]) -> Xtask {
        Xtask::new(&self.tree()).env("LINUXKIT_CACHE", self.folder.path().join("images")).args(words)
    }

    /// Takes a file out of a package's image for `arch`.
    fn take_out(&self, package: &str, arch: &str, path: &str) -> PathBuf {
        let cache = oci::Cache::open(&self.folder.path().join("images")).unwrap();
        let reference = self.xtask(&["show-tag", package]).ok();
        let tree = cache.find(reference.trim(), arch).unwrap().unwrap_or_else(|| panic!("no image {reference}")).tree().unwrap();
        let Some(filetree::Kind::File { content, .. }) = tree.get(path).map(|node| &node.kind) else { panic!("{package} has no {path}") };
        let to = self.folder.path().join(format!("{package}-{arch}-{}", path.replace('/', "-")));
        child::fake::executable(&to, content.read_all().unwrap());
        to
    }
}

/// ELF's number of the architecture a program is for.
fn machine(program: &Path) -> u16 {
    let bytes = std::fs::read(program).unwrap();
    assert_eq!(&bytes[..4], b"\x7fELF", "{}", program.display());
    u16::from_le_bytes([bytes[18], bytes[19]])
}

const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;

/// This machine's architecture, and one that it is not: names of images, and ELF's numbers.
fn arches() -> [(&'static str, u16); 2] {
    let both = [("amd64", EM_X86_64), ("arm64", EM_AARCH64)];
    if cfg!(target_arch = "aarch64") { [both[1], both[0]] } else { both }
}

#[test]
fn every_language_builds_uncommitted_and_is_in_the_image_after_one_line() {
    let Some(place) = Place::new() else { return };
    let [(arch, number), _] = arches();
    let packages =
        [("in-c", "--c", "--service"), ("in-go", "--go", "--onboot"), ("in-rust", "--rust", "--service"), ("in-sh", "--sh", "--init")];
    let template = place.tree().join("images/rootfs.yml.in");
    for (name, language, list) in packages {
        let said = place.xtask(&["new", "package", name, language, list]).ok();
        let at = said.lines().position(|line| line.starts_with("into the image: ")).unwrap();
        let list = said.lines().nth(at).unwrap().split('`').nth(1).unwrap();
        let line = said.lines().nth(at + 1).unwrap();
        let text = std::fs::read_to_string(&template).unwrap();
        let with = text.replacen(&format!("\n{list}:\n"), &format!("\n{list}:\n{line}\n"), 1);
        assert_ne!(text, with, "{said}");
        std::fs::write(&template, with).unwrap();
    }
    let plan = place.xtask(&["rootfs", "--dry-run", "--zarch", arch]).ok();
    for (name, ..) in packages {
        assert!(plan.contains(&format!("pkg/{name} ")), "{name} is not in\n{plan}");
    }
    place.xtask(&["pkg", "--zarch", arch]).args(packages.map(|(name, ..)| name)).ok();
    // Only what is used was built.
    assert!(place.xtask(&["why", "pkg/cross-compilers", "--zarch", arch]).ok().contains("not in the image cache"));
    for (name, _, list) in packages {
        let program = place.take_out(name, arch, &format!("usr/bin/{name}"));
        if name == "in-sh" {
            if wants("busybox", "busybox-static") {
                assert_eq!(tool("busybox", &["ash", program.to_str().unwrap()]), "in-sh runs\n");
            }
            continue;
        }
        assert_eq!(machine(&program), number, "{name}");
        if list == "--onboot" {
            assert_eq!(tool(program.to_str().unwrap(), &[]), format!("{name} runs\n"));
            continue;
        }
        // A service says that it runs, goes on, and ends on SIGTERM.
        let mut child = Command::new(&program).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!((line, child.try_wait().unwrap()), (format!("{name} runs\n"), None));
        tool("kill", &["-TERM", &child.id().to_string()]);
        assert!(child.wait().unwrap().success(), "{name}");
    }
    // A change is another image, without a commit.
    let before = place.xtask(&["show-tag", "in-sh"]).ok();
    std::fs::write(place.tree().join("pkg/in-sh/in-sh"), "#!/bin/busybox ash\necho changed\n").unwrap();
    assert_ne!(place.xtask(&["show-tag", "in-sh"]).ok(), before);
    place.xtask(&["pkg", "in-sh", "--zarch", arch]).ok();
    assert!(std::fs::read_to_string(place.take_out("in-sh", arch, "usr/bin/in-sh")).unwrap().contains("changed"));
}

#[test]
fn memory_monitor_is_compiled_for_both_architectures_on_this_machine() {
    let Some(place) = Place::new() else { return };
    let [(own, own_number), (other, other_number)] = arches();
    for (arch, number) in [(own, own_number), (other, other_number)] {
        place.xtask(&["pkg", "memory-monitor", "--zarch", arch]).ok();
        let program = place.take_out("memory-monitor", arch, "usr/bin/memory-monitor");
        assert_eq!(machine(&program), number);
        // A program that is linked statically names no dynamic loader.
        let bytes = std::fs::read(&program).unwrap();
        assert!(!bytes.windows(11).any(|bytes| bytes == b"/lib/ld-lin" || bytes == b"lib64/ld-li"), "{arch}");
        let emulator = if number == EM_AARCH64 { "qemu-aarch64-static" } else { "qemu-x86_64-static" };
        let program = program.to_str().unwrap();
        let report = match arch == own {
            true => tool(program, &["--report"]),
            false if has(emulator) => tool(emulator, &[program, "--report"]),
            false => {
                skips::skipped(skips::Lack::Architecture, &format!("no {emulator} is here to run a program for {arch}"));
                continue;
            }
        };
        assert!(report.starts_with("memory: ") && report.contains(" KiB available") && report.contains("; largest: "), "{report}");
    }
    // The compiler for the other architecture came from this machine's archive; the other one's gcc was not needed.
    let why = place.xtask(&["why", "pkg/gcc", "--zarch", other]).ok();
    assert!(why.contains("not in the image cache"), "{why}");
    let wrong = Command::new(place.take_out("memory-monitor", own, "usr/bin/memory-monitor")).arg("--reprot").output().unwrap();
    assert_eq!((wrong.status.code(), texts(&wrong).1.as_str()), (Some(2), "usage: memory-monitor [--report]\n"));
}

#[test]
fn the_template_for_c_is_built_like_the_package_of_the_tree() {
    let ours = std::fs::read_to_string(repository().join("pkg/memory-monitor/Dockerfile")).unwrap();
    let template = std::fs::read_to_string(repository().join("xtask/src/commands/new/templates/c.Dockerfile")).unwrap();
    // Without the comment at the top, and the images, which have a tag in one and a word in the other.
    let stages = |text: &str| {
        let text = text.replace("memory-monitor", "@name@");
        let lines = text.lines().skip_while(|line| line.starts_with('#')).take_while(|line| !line.starts_with("ENTRYPOINT"));
        let plain = |word: &str| {
            if word.contains("lfedge/") || word == "@gcc@" || word == "@cross-compilers@" { "IMAGE".to_owned() } else { word.to_owned() }
        };
        lines.map(|line| line.split(' ').map(plain).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(stages(&ours), stages(&template));
}

#[test]
fn the_template_hides_the_same_files_as_the_packages_of_the_tree() {
    let hidden = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let (_, rest) = text.split_once("  maskedPaths:\n")?;
        let (masked, rest) = rest.split_once("  readonlyPaths:\n").unwrap();
        let is_item = |line: &&str| line.starts_with("    - /");
        Some((masked.to_owned(), rest.lines().take_while(is_item).map(str::to_owned).collect::<Vec<_>>()))
    };
    let (masked, readonly) = hidden(&repository().join("xtask/src/commands/new/templates/config.yml")).unwrap();
    assert!(masked.contains("/proc/scsi") && readonly.len() > 3, "{masked}{readonly:?}");
    let mut seen = 0;
    for package in std::fs::read_dir(repository().join("pkg")).unwrap() {
        let path = package.unwrap().path().join("build.yml");
        let Some((its, its_readonly)) = path.is_file().then(|| hidden(&path)).flatten() else { continue };
        seen += 1;
        assert_eq!(its, masked, "{}", path.display());
        // sysctl is there to write to /proc/sys.
        let writes = |line: &&String| path.parent().unwrap().ends_with("sysctl") && line.ends_with("- /proc/sys");
        assert_eq!(its_readonly, readonly.iter().filter(|line| !writes(line)).cloned().collect::<Vec<_>>(), "{}", path.display());
    }
    assert!(seen > 5, "{seen}");
}
