//! A machine with a signed image takes only updates of its owner: `sign rootfs.img` makes the statement, and the guest's own script checks it
//! with busybox, which is all that the guest has.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use child::fake;
use common::{Xtask, repository, scratch, small_tree::small_tree, texts, tool, wants};
use diskimage::{recipes::pack_rootfs, squashfs::Compressor};
use filetree::{Content, Node, Tree};
use provenance::{Envelope, UpdateStatement, signed_bytes};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The time of the commit that the machine runs.
const RUNS: i64 = 1_700_000_000;

static KEYS: OnceLock<PathBuf> = OnceLock::new();

/// A machine that holds a key, and its owner with the keys.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// None, with a word about it, where a program is missing.
    fn new() -> Option<Self> {
        if ![("busybox", "busybox-static"), ("openssl", "openssl")].iter().all(|(program, package)| wants(program, package)) {
            return None;
        }
        let place = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(place.at("tree")).unwrap();
        small_tree(&place.at("tree"));
        fs::create_dir(place.at("keys")).unwrap();
        for entry in fs::read_dir(KEYS.get_or_init(|| place.make_keys())).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), place.key(entry.file_name().to_str().unwrap())).unwrap();
        }
        place.hold("image.pub");
        fs::write(place.at("root/etc/eve-update/made"), format!("{RUNS}\n")).unwrap();
        fs::create_dir_all(place.at("root/usr/lib")).unwrap();
        fs::copy(repository().join("pkg/gpt-tools/rootfs/usr/lib/eve-rsa.sh"), place.at("root/usr/lib/eve-rsa.sh")).unwrap();
        // The script's name on the machine.
        fs::create_dir(place.at("bin")).unwrap();
        for (name, target) in [("eve-verify", repository().join("pkg/gpt-tools/rootfs/usr/bin/eve-verify")), ("sh", "/bin/busybox".into())]
        {
            let target = if target.exists() { target } else { "/usr/bin/busybox".into() };
            std::os::unix::fs::symlink(target, place.at("bin").join(name)).unwrap();
        }
        Some(place)
    }

    /// Keys for all tests, which take seconds to make; from an earlier run if there was one.
    fn make_keys(&self) -> PathBuf {
        let folder = scratch().join("update-keys");
        if !folder.exists() {
            self.xtask(&["keys", "init"]).env("SIGN_KEYS", &folder).ok();
        }
        folder
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn key(&self, name: &str) -> PathBuf {
        self.at("keys").join(name)
    }

    fn xtask(&self, words: &[&str]) -> Xtask {
        Xtask::new(&self.at("tree")).env("HOME", self.at("home")).env("SIGN_KEYS", self.at("keys")).args(words)
    }

    /// Has the machine hold this key of the folder of keys.
    fn hold(&self, name: &str) {
        fs::create_dir_all(self.at("root/etc/eve-update")).unwrap();
        fs::copy(self.key(name), self.at("root/etc/eve-update/image.pub")).unwrap();
    }

    /// A root file system with these files.
    fn image(&self, name: &str, files: &[(&str, &str)]) -> String {
        let mut tree = Tree::new();
        for (path, text) in files {
            tree.insert(path, Node::file(0o644, 0, Content::from(*text))).unwrap();
        }
        pack_rootfs(tree, Compressor::Gzip, 0, &mut fs::File::create(self.at(name)).unwrap()).unwrap();
        self.at(name).display().to_string()
    }

    /// A root file system for this machine, of a commit of this time, with the owner's key, and its statement.
    fn update(&self, name: &str, made: i64) -> String {
        let (key, made) = (fs::read_to_string(self.key("image.pub")).unwrap(), format!("{made}\n"));
        let files = [(loader(), "GRUB"), ("etc/eve-release", "2.0-kvm-amd64"), ("etc/eve-update/image.pub", &key)];
        let file = self.image(name, &[&files[..], &[("etc/eve-update/made", &made)]].concat());
        let said = self.xtask(&["sign", &file]).ok();
        assert_eq!(said, format!("signed: {file}.update.jsonl, for machines to take 2.0-kvm-amd64\n"));
        file
    }

    /// Signs `json` as the statement about `file`.
    fn state(&self, file: &str, json: &str, key: &str) {
        fs::write(self.at("signed"), signed_bytes(json.as_bytes())).unwrap();
        let (key, signature) = (self.key(key), self.at("signature"));
        let words = ["dgst", "-sha256", "-sign", key.to_str().unwrap(), "-out", signature.to_str().unwrap()];
        tool("openssl", &[&words[..], &[self.at("signed").to_str().unwrap()]].concat());
        let envelope = Envelope::new(json.as_bytes(), "", &fs::read(signature).unwrap());
        fs::write(format!("{file}.update.jsonl"), envelope.to_json().unwrap()).unwrap();
    }

    /// Whether the machine takes the file, and what it says.
    fn verify(&self, words: &[&str], file: &str) -> (bool, String) {
        let statement = format!("{file}.update.jsonl");
        self.busybox(&["ash", self.at("bin/eve-verify").to_str().unwrap()], &[words, &[file, &statement]].concat())
    }

    fn busybox(&self, program: &[&str], words: &[&str]) -> (bool, String) {
        let path = format!("{}:{}", self.at("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("busybox");
        command.args(program).args(words).env("PATH", path).env("TMPDIR", self.folder.path()).env("EVE_ROOT", self.at("root"));
        let output = command.output().unwrap();
        let (out, err) = texts(&output);
        (output.status.success(), (out + &err).replace(&format!("{}/", self.folder.path().display()), ""))
    }

    #[track_caller]
    fn refuses(&self, words: &[&str], file: &str, why: &str) {
        let (good, said) = self.verify(words, file);
        assert!(!good && said.contains(why) && said.lines().count() == 1, "{good}: {said}");
    }
}

/// The boot loader of an image for the machine that runs this.
fn loader() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "EFI/BOOT/BOOTAA64.EFI",
        _ => "EFI/BOOT/BOOTX64.EFI",
    }
}

fn payload(file: &str) -> String {
    let envelope = Envelope::parse(&fs::read(format!("{file}.update.jsonl")).unwrap()).unwrap();
    String::from_utf8(envelope.payload().unwrap()).unwrap()
}

#[test]
fn a_machine_takes_what_its_owner_signed_and_says_why_it_does_not() {
    let Some(place) = Place::new() else { return };
    let file = place.update("rootfs.img", RUNS + 1);
    let sum = tool("sha256sum", &[&file])[..64].to_owned();
    assert_eq!(place.verify(&[], &file), (true, format!("{sum}\n")));
    // The same commit again is no step back, an older one is.
    place.update("rootfs.img", RUNS);
    assert!(place.verify(&[], &file).0);
    let old = place.update("old.img", RUNS - 1);
    let why = "2.0-kvm-amd64 of 2023-11-14 22:13:19 is older than what runs here, of 2023-11-14 22:13:20: eve update --older takes it";
    place.refuses(&[], &old, why);
    assert!(place.verify(&["--older"], &old).0);

    // One changed byte, one byte less, another image.
    let bytes = fs::read(&file).unwrap();
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    fs::write(&file, &changed).unwrap();
    place.refuses(&["--older"], &file, "rootfs.img is damaged, or not 2.0-kvm-amd64: its SHA-256 is ");
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    place.refuses(
        &[],
        &file,
        &format!("rootfs.img is not whole, or not 2.0-kvm-amd64: it has {} bytes, its statement says {}", bytes.len() - 1, bytes.len()),
    );
    fs::write(&file, &bytes).unwrap();
    assert!(place.verify(&[], &file).0);

    // What the owner of the key says about something else.
    let json = payload(&file);
    for (from, to, why) in [
        ("update:v1", "digests:v1", "is a statement about something else: urn:eve-xtask:digests:v1"),
        ("\"amd64\"", "\"riscv64\"", "rootfs.img is for riscv64, and this machine is "),
        ("\"arm64\"", "\"riscv64\"", "rootfs.img is for riscv64, and this machine is "),
        ("    \"version\"", "    \"made\": 1,\n    \"version\"", "the statement of rootfs.img names no made"),
        ("\"size\"", "\"length\"", "the statement of rootfs.img names no size"),
        ("\"made\": ", "\"made\": -", "rootfs.img.update.jsonl has a size or a time that is no number"),
        ("\"made\": ", "\"made\": 9999999999", "rootfs.img.update.jsonl has a size or a time that is no number"),
    ] {
        if json.contains(from) {
            place.state(&file, &json.replacen(from, to, 1), "image.key");
            place.refuses(&[], &file, why);
        }
    }
    // A system that does not say of when it is.
    place.state(&file, &json, "image.key");
    for made in ["", "x\n", "-5\n", "1234567890123456789\n"] {
        fs::write(place.at("root/etc/eve-update/made"), made).unwrap();
        place.refuses(&[], &file, "the time of this system (root/etc/eve-update/made) cannot be read");
        assert!(place.verify(&["--older"], &file).0);
    }
}

#[test]
fn nobody_else_can_make_a_statement() {
    let Some(place) = Place::new() else { return };
    let file = place.update("rootfs.img", RUNS);
    let statement = format!("{file}.update.jsonl");
    let (good, json) = (fs::read_to_string(&statement).unwrap(), payload(&file));
    const WHY: &str = "rootfs.img.update.jsonl is not signed by the key of this system, or was changed";
    // Another key of the same kind, a longer one, and one of another kind.
    tool(
        "openssl",
        &["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072", "-out", place.key("long.key").to_str().unwrap()],
    );
    tool("openssl", &["ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", place.key("ec.key").to_str().unwrap()]);
    for key in ["db.key", "long.key", "ec.key"] {
        place.state(&file, &json, key);
        place.refuses(&["--older"], &file, WHY);
    }
    // A signature that is right, about other words; a changed signature; none; and numbers that are no signatures.
    let signature = good.split("\"sig\":\"").nth(1).unwrap().split('"').next().unwrap();
    let changed = format!("{}{}", if signature.starts_with('B') { "C" } else { "B" }, &signature[1..]);
    let other = Envelope::new(json.replace("2.0-kvm", "3.0-kvm").as_bytes(), "", b"").to_json().unwrap();
    let number = |digit: &str| base64(&digit.repeat(256));
    for text in [
        other.replace("\"sig\":\"\"", &format!("\"sig\":\"{signature}\"")),
        good.replace(signature, &changed),
        good.replace(signature, &number("\0")),
        good.replace(signature, &number("\u{1}")),
        good.replace(signature, "AAAA"),
    ] {
        fs::write(&statement, text).unwrap();
        place.refuses(&[], &file, WHY);
    }
    for text in [good.replace(signature, ""), "{}".to_owned(), String::new(), good.replace("payload\"", "load\"")] {
        fs::write(&statement, text).unwrap();
        place.refuses(&[], &file, "rootfs.img.update.jsonl is no signed statement");
    }
    fs::remove_file(&statement).unwrap();
    place.refuses(
        &[],
        &file,
        "rootfs.img has no statement rootfs.img.update.jsonl, and this system takes only images that its owner has signed",
    );
    // The longer key works where the machine holds it; a machine with a key that it cannot read takes nothing.
    tool("openssl", &["pkey", "-in", place.key("long.key").to_str().unwrap(), "-pubout", "-out", place.key("long.pub").to_str().unwrap()]);
    place.state(&file, &json, "long.key");
    place.hold("long.pub");
    assert!(place.verify(&[], &file).0);
    fs::write(place.at("root/etc/eve-update/image.pub"), "text").unwrap();
    place.refuses(&[], &file, "the key of this system (");
}

fn base64(text: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    tool("base64", &["-w0", file.path().to_str().unwrap()])
}

#[test]
fn eve_update_asks_for_the_owner_before_it_looks_into_the_image() {
    let Some(place) = Place::new() else { return };
    let file = place.update("rootfs.img", RUNS - 1);
    let text = fs::read_to_string(repository().join("pkg/gpt-tools/rootfs/usr/bin/eve-update")).unwrap();
    let (functions, calls) = text.split_once("\nexec 8>").unwrap();
    let at = |name: &str| calls.find(&format!("\n{name}\n")).unwrap();
    assert!(at("check_owner") < at("check_image") && at("check_image") < at("write_slot"), "{calls}");
    // The words, and then the check of the owner alone.
    let script = place.at("script");
    fs::write(&script, format!("{functions}\ncheck_owner\necho \"tries=$tries sha256=$sha256\"\n")).unwrap();
    let run = |words: &[&str]| place.busybox(&["ash", script.to_str().unwrap()], words);
    let (good, said) = run(&[&file]);
    assert!(!good && said.starts_with("eve update: 2.0-kvm-amd64 of ") && said.ends_with("eve update --older takes it\n"), "{said}");
    let sum = &tool("sha256sum", &[&file])[..64];
    assert_eq!(run(&["--tries", "2", "--older", &file]), (true, format!("tries=2 sha256={sum}\n")));
    fs::rename(format!("{file}.update.jsonl"), place.at("other")).unwrap();
    assert_eq!(run(&["--older", &file, place.at("other").to_str().unwrap()]), (true, format!("tries=1 sha256={sum}\n")));
    assert_eq!(run(&["--tries"]), (false, "eve update: --tries takes 1, 2 or 3\n".to_owned()));
    // A system without a key takes what it is given, and says so.
    fs::remove_file(place.at("root/etc/eve-update/image.pub")).unwrap();
    let said = "the signature of rootfs.img is not checked: this system has no owner's key\ntries=1 sha256=\n";
    assert_eq!(run(&[&file]), (true, said.to_owned()));
    // One whose disk cannot say whether there is a key does not.
    fs::remove_dir_all(place.at("root/etc/eve-update")).unwrap();
    fs::write(place.at("root/etc/eve-update"), "").unwrap();
    let (good, said) = run(&[&file]);
    assert!(!good && said.starts_with("eve update: nobody knows whether this system holds a key of its owner: ls: "), "{said}");
    assert!(said.ends_with("/etc/eve-update/image.pub: Not a directory\n"), "{said}");
}

#[test]
fn a_delta_is_for_the_image_that_runs_and_its_result_is_what_the_owner_signed() {
    let Some(place) = Place::new() else { return };
    let text = fs::read_to_string(repository().join("pkg/gpt-tools/rootfs/usr/bin/eve-update")).unwrap();
    let (functions, calls) = text.split_once("\nexec 8>").unwrap();
    let at = |name: &str| calls.find(&format!("\n{name}\n")).unwrap();
    assert!(at("apply_delta") < at("check_owner"), "{calls}");
    let (source, program) = (repository().join("pkg/gpt-tools/eve-delta.c"), place.at("bin/eve-delta"));
    tool("gcc", &["-D_FILE_OFFSET_BITS=64", source.to_str().unwrap(), "-o", program.to_str().unwrap()]);
    // The slot that runs is larger than its image.
    let (old, new) = (place.image("old.img", &[("etc/eve-release", "1.0")]), place.update("new.img", RUNS + 1));
    fs::write(place.at("slot"), [fs::read(&old).unwrap(), vec![7; 9000]].concat()).unwrap();
    fake::program(&place.at("bin"), "zboot", &format!("echo {}", place.at("slot").display()));
    let script = place.at("script");
    fs::write(
        &script,
        format!("{functions}\nrunning=IMGA slot=IMGB room=$ROOM\napply_delta\ncheck_owner\ncmp \"$file\" \"$NEW\" && echo same\n"),
    )
    .unwrap();
    let delta = place.at("rootfs.delta");
    imagefs::delta::make(Path::new(&old), Path::new(&new), &delta).unwrap();
    fs::copy(format!("{new}.update.jsonl"), format!("{}.update.jsonl", delta.display())).unwrap();
    let run = |room: &str| {
        let words = ["env", &format!("ROOM={room}"), &format!("NEW={new}"), "busybox", "ash", script.to_str().unwrap()];
        let said = place.busybox(&words, &[delta.to_str().unwrap()]);
        let left = fs::read_dir(place.folder.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("rootfs.delta."));
        assert_eq!(left.count(), 1, "only the statement is beside the delta: {}", said.1);
        said
    };
    assert_eq!(run("1000000"), (true, "same\n".to_owned()));
    let size = fs::metadata(&new).unwrap().len();
    assert_eq!(run("4095"), (false, format!("eve update: rootfs.delta makes an image of {size} bytes, and IMGB has room for 4095\n")));
    let good = fs::read(&delta).unwrap();
    let flip = |at: usize| {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&delta, bad).unwrap();
        run("1000000")
    };
    let (is_good, said) = flip(good.len() - 2);
    assert!(!is_good && said == "eve update: rootfs.delta is damaged: its frame and its end name different sizes\n", "{said}");
    // A byte of the image itself.
    let (is_good, said) = flip(40);
    assert!(!is_good && said.starts_with("eve update: rootfs.delta is damaged: what it makes has not the SHA-256 "), "{said}");
    // What nobody signed is not taken, although the delta itself is whole.
    let other = place.image("other.img", &[("etc/eve-release", "6.6.6")]);
    imagefs::delta::make(Path::new(&old), Path::new(&other), &delta).unwrap();
    let (is_good, said) = run("1000000");
    assert!(
        !is_good && said.starts_with("eve update: rootfs.delta.") && said.contains(" is damaged, or not 2.0-kvm-amd64: its SHA-256 is "),
        "{said}"
    );
    fs::write(&delta, &good).unwrap();
    fs::write(place.at("slot"), [7; 9000]).unwrap();
    let (is_good, said) = run("1000000");
    assert!(
        !is_good && said.starts_with("eve update: rootfs.delta begins with another image than IMGA holds: with the SHA-256 "),
        "{said}"
    );
}

#[test]
fn a_slot_can_start_only_when_it_holds_what_was_signed() {
    let Some(place) = Place::new() else { return };
    let text = fs::read_to_string(repository().join("pkg/gpt-tools/rootfs/usr/bin/eve-update")).unwrap();
    let functions =
        text.split_once("\nexec 8>").unwrap().0.replace("=/run/eve/update.", &format!("={}/update.", place.folder.path().display()));
    // The slot's state, as GRUB would find it, and what the slot begins with at that moment.
    let device = place.at("slot");
    let zboot = format!("echo \"$3 $(head -c 4 {})\" >> {}", device.display(), place.at("states").display());
    fake::program(&place.at("bin"), "zboot", &zboot);
    let file = place.at("image");
    let write = |bytes: &[u8], sha256: &str| {
        fs::write(&device, vec![b'o'; 5 << 20]).unwrap();
        let _ = fs::remove_file(place.at("states"));
        // A file has no buffers of its own.
        let call = format!("blockdev() {{ :; }}\nslot=IMGB device={} size={} sha256={sha256}\nwrite_slot\n", device.display(), bytes.len());
        fs::write(place.at("script"), format!("{functions}\n{call}")).unwrap();
        let (good, said) = place.busybox(&["ash", place.at("script").to_str().unwrap()], &[file.to_str().unwrap()]);
        (good, said, fs::read_to_string(place.at("states")).unwrap().replace('\0', ""), fs::read(&device).unwrap())
    };
    for length in [4096, 1 << 20, (3 << 20) + 512] {
        let bytes: Vec<u8> = b"hsqs".iter().copied().chain((4..length).map(|at| (at / 251) as u8)).collect();
        fs::write(&file, &bytes).unwrap();
        let sum = tool("sha256sum", &[file.to_str().unwrap()])[..64].to_owned();
        for sha256 in [sum.as_str(), ""] {
            let (good, said, states, slot) = write(&bytes, sha256);
            assert_eq!((good, said.as_str(), states.as_str()), (true, "", "unused oooo\nupdating \n"), "{length}");
            assert!(slot[..length] == bytes[..], "{length}");
        }
        // Other bytes than those that were signed: the slot was never one that starts.
        let (good, said, states, slot) = write(&bytes, &"0".repeat(64));
        assert_eq!(
            (good, said.as_str()),
            (false, "eve update: slot does not give back what was written, or image has changed: IMGB is unused\n")
        );
        assert_eq!(states, "unused oooo\nunused \n", "{length}");
        assert!(slot[..1 << 20].iter().all(|byte| *byte == 0), "{length}");
    }
}

#[test]
fn sign_refuses_what_no_machine_could_check() {
    let Some(place) = Place::new() else { return };
    let release = ("etc/eve-release", "2.0-kvm-amd64");
    let bare = place.image("bare.img", &[(loader(), "GRUB"), release]);
    let error = place.xtask(&["sign", &bare]).fails().1;
    assert!(
        error.contains("bare.img` holds no key of its owner (/etc/eve-update/image.pub)")
            && error.contains("hint: cargo xtask rootfs --sign"),
        "{error}"
    );
    let other = place.image("other.img", &[("etc/hosts", "")]);
    let error = place.xtask(&["sign", &other]).fails().1;
    assert!(error.contains("other.img` is no root file system of EVE: it has no /etc/eve-release"), "{error}");
    let file = place.update("rootfs.img", RUNS);
    tool("openssl", &["ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", place.key("ec.key").to_str().unwrap()]);
    for (words, why) in [
        (["--sign-key", place.key("ec.key").to_str().unwrap()], "it is no public RSA key with 2048 or 3072 bits"),
        (["--sign-key", "/none/image.key"], "`/none/image.key` is not there\nhint: cargo xtask keys init"),
    ] {
        let error = place.xtask(&["sign", &file]).args(words).fails().1;
        assert!(error.contains(why), "{error}");
    }
    // Another owner's key may sign, so that an image can hand a machine on: that is said.
    let output = place.xtask(&["sign", &file, "--sign-key", place.key("PK.key").to_str().unwrap()]).output();
    let (out, err) = texts(&output);
    assert!(output.status.success() && err.contains("holds another key than the one that signs it"), "{out}{err}");
    assert_eq!(UpdateStatement::parse(payload(&file).as_bytes()).unwrap().sha256().unwrap(), &tool("sha256sum", &[&file])[..64]);
    assert!(Path::new(&format!("{file}.update.jsonl")).is_file());
}
