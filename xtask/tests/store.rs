//! Builds with the store and builds from clean give the same bytes, whatever was edited between them and whoever else uses the store. The
//! trees are small and made for the test. XTASK_TEST_EDITS=200 makes 200 random edits instead of a few; XTASK_TEST_SEED=N makes others.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, git, small_tree::small_tree, texts, tool, wants};
use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};
use tempfile::TempDir;

/// A tree of small packages, and the caches of the person who builds it.
struct Tree {
    folder: PathBuf,
    home: PathBuf,
    store: PathBuf,
}

impl Tree {
    fn new(folder: &Path) -> Self {
        let tree = Self { folder: folder.join("tree"), home: folder.join("home"), store: folder.join("store") };
        fs::create_dir(&tree.folder).unwrap();
        small_tree(&tree.folder);
        tree
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn package(&self, name: &str) {
        self.write(&format!("pkg/{name}/build.yml"), &format!("org: lfedge\nimage: eve-{name}\n"));
        self.write(&format!("pkg/{name}/Dockerfile"), "FROM scratch\nCOPY files/ /\n");
        self.write(&format!("pkg/{name}/files/etc/{name}"), name);
    }

    /// Names all packages in the yml.
    fn compose(&self) {
        let mut text = String::from("kernel:\n  image: BASE_TAG\n  cmdline: \"console=ttyS0\"\ninit:\n");
        self.names("pkg").iter().for_each(|name| writeln!(text, "  - {}_TAG", name.to_uppercase()).unwrap());
        self.write("images/rootfs.yml.in", &text);
    }

    /// The names in a folder, sorted.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.folder.join(folder)).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn xtask(&self, version: &str) -> Xtask {
        Xtask::new(&self.folder)
            .env("HOME", &self.home)
            .env("LINUXKIT_CACHE", self.home.join("images"))
            .env("XDG_CACHE_HOME", self.home.join("cache"))
            .env("STORE", &self.store)
            .env("ZARCH", "amd64")
            .env("ROOTFS_VERSION", version)
            .env("ROOTFS_COMPRESSION", "gzip")
    }

    /// The tree as it is now in another folder, with empty caches and without a store.
    fn clean(&self, to: &Path) -> Self {
        tool("cp", &["-a", self.folder.to_str().unwrap(), to.to_str().unwrap()]);
        let _ = fs::remove_dir_all(to.join("dist"));
        Self { folder: to.to_owned(), home: to.with_extension("home"), store: "off".into() }
    }

    /// The artifacts of a version, with their digests.
    fn digests(&self, version: &str) -> Vec<(String, String)> {
        let names = ["installer/rootfs.img", "installer/config.img", "installer/firmware/CODE.fd", "live.qcow2"];
        let paths = names.map(|name| (name, self.folder.join("dist/amd64").join(version).join(name)));
        let there = paths.into_iter().filter(|(_, path)| path.exists());
        there.map(|(name, path)| (name.to_owned(), tool("sha256sum", &[path.to_str().unwrap()])[..64].to_owned())).collect()
    }

    /// Entries of the store of artifacts.
    fn entries(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.store.join("artifacts")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.join("record.json").exists()).collect()
    }
}

/// Numbers that are the same in every run with one seed.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }

    /// Bytes of which some repeat.
    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.throw(most);
        let variety = 1 + self.throw(255);
        (0..length).map(|_| u8::try_from(self.throw(variety)).unwrap()).collect()
    }

    fn one<'a>(&mut self, of: &'a [String]) -> &'a str {
        &of[self.throw(of.len())]
    }
}

/// Changes something in the tree, and says what.
fn edit(tree: &Tree, dice: &mut Dice, version: &mut String, round: usize) -> String {
    let package = dice.one(&tree.names("pkg")).to_owned();
    let etc = format!("pkg/{package}/files/etc");
    let file = dice.one(&tree.names(&etc)).to_owned();
    let path = tree.folder.join(&etc).join(&file);
    match dice.throw(9) {
        0 => {
            fs::File::options().append(true).open(path).unwrap().write_all(&dice.bytes(3000)).unwrap();
            format!("more content in {etc}/{file}")
        }
        1 => {
            fs::write(path, dice.bytes(500_000)).unwrap();
            format!("other content of {etc}/{file}")
        }
        2 => {
            let mode = if path.metadata().unwrap().permissions().mode() & 0o100 == 0 { 0o755 } else { 0o644 };
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            format!("mode of {etc}/{file}")
        }
        3 => {
            fs::write(tree.folder.join(&etc).join(format!("file-{round}")), dice.bytes(200_000)).unwrap();
            format!("a file added to {etc}")
        }
        4 if file != package => {
            fs::remove_file(path).unwrap();
            format!("{etc}/{file} removed")
        }
        5 => {
            tree.package(&format!("p{round}"));
            tree.compose();
            "a package added".to_owned()
        }
        6 if package != "base" => {
            fs::remove_dir_all(tree.folder.join("pkg").join(&package)).unwrap();
            tree.compose();
            format!("package {package} removed")
        }
        7 => {
            *version = format!("9.9.{}", dice.throw(3));
            format!("version {version}")
        }
        _ => {
            fs::write(tree.folder.join("conf/server"), dice.bytes(100)).unwrap();
            "conf/".to_owned()
        }
    }
}

#[test]
fn after_random_edits_a_build_with_the_store_has_the_bytes_of_one_from_clean() {
    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (edits, seed) = (number("XTASK_TEST_EDITS", 8), number("XTASK_TEST_SEED", 10));
    let folder = tempfile::tempdir().unwrap();
    let tree = Tree::new(folder.path());
    let (mut dice, mut version) = (Dice(seed), "9.9.0".to_owned());
    for round in 0..usize::try_from(edits).unwrap() {
        let what = edit(&tree, &mut dice, &mut version, round);
        git(&tree.folder, &["add", "-A"]);
        // A package without a commit has no tag.
        if dice.throw(2) == 0 || what == "a package added" {
            git(&tree.folder, &["commit", "-q", "--allow-empty", "-m", &what]);
        }
        // Now and then all of it comes from the store.
        if dice.throw(4) == 0 {
            let _ = fs::remove_dir_all(tree.folder.join("dist"));
        }
        let clean = tree.clean(&folder.path().join("clean"));
        tree.xtask(&version).args(["live"]).ok();
        clean.xtask(&version).args(["live"]).ok();
        let (ours, theirs) = (tree.digests(&version), clean.digests(&version));
        assert!(ours.len() == 4 && ours == theirs, "seed {seed}, round {round}, {what}:\n{ours:#?}\n{theirs:#?}");
        [&clean.folder, &clean.home].into_iter().for_each(|folder| fs::remove_dir_all(folder).unwrap());
    }
}

#[test]
fn an_artifact_is_taken_from_the_store_in_another_tree_and_another_version() {
    if !wants("qemu-img", "qemu-utils") {
        return;
    }
    let folders: [TempDir; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let [tree, other] = folders.each_ref().map(|folder| Tree::new(folder.path()));
    tree.xtask("1").args(["live"]).ok();
    tree.xtask("1").args(["live-vmdk"]).ok();
    let other = Tree { store: tree.store.clone(), ..other };
    let why = other.xtask("1").args(["pkg", "base"]).output();
    assert!(why.status.success());
    let why = other.xtask("1").args(["why", "live-vmdk"]).ok();
    for node in ["rootfs.img", "config.img", "firmware", "live.vmdk"] {
        assert!(why.contains(&format!("{node}: due, it has not been made yet; in the store\n")), "{why}");
    }
    // Without qemu-img: nothing is converted.
    let (out, err) = texts(&other.xtask("1").env("XTASK_TOOL_QEMU_IMG", tree.store.join("no")).args(["live-vmdk"]).output());
    assert!(!out.contains("taken from the store"), "an unknown qemu-img may write other bytes: {out}{err}");
    let (out, err) = texts(&other.xtask("1").args(["live-vmdk"]).output());
    assert!(out.starts_with("taken from the store: dist/amd64/1/live.vmdk"), "{out}{err}");
    // This one is made as fast as it would be copied.
    let (out, err) = texts(&other.xtask("1").args(["live"]).output());
    assert!(out.starts_with("made: dist/amd64/1/live.qcow2"), "{out}{err}");
    assert_eq!(tree.digests("1"), other.digests("1"));
    let (_, err) = texts(&other.xtask("2").args(["live"]).output());
    assert!(err.contains("firmware: taken from the store, ") && err.contains("rootfs.img: made"), "{err}");
    // What a machine writes to a disk stays in its tree.
    let disk = fs::File::options().write(true).open(other.folder.join("dist/amd64/1/live.qcow2")).unwrap();
    disk.write_all_at(b"written by a machine", 1000).unwrap();
    other.xtask("1").args(["live"]).ok();
    assert_eq!(tree.digests("1"), other.digests("1"));
    let off = other.xtask("3").env("STORE", "off").args(["why", "live"]).ok();
    assert!(!off.contains("in the store"), "{off}");
}

#[test]
fn a_damaged_entry_is_noticed_and_a_full_store_is_one_warning() {
    let folder = tempfile::tempdir().unwrap();
    let tree = Tree::new(folder.path());
    tree.xtask("1").args(["live-raw"]).ok();
    let whole = tree.digests("1");
    let mut damaged = 0;
    for entry in tree.entries() {
        let Ok(file) = fs::File::options().write(true).open(entry.join("0")) else { continue };
        let metadata = file.metadata().unwrap();
        file.write_all_at(b"?", metadata.len() / 2).unwrap();
        file.set_modified(metadata.modified().unwrap()).unwrap();
        damaged += 1;
    }
    assert!(damaged >= 3, "{damaged} entries with files");
    fs::remove_dir_all(tree.folder.join("dist")).unwrap();
    let (_, err) = texts(&tree.xtask("1").args(["live-raw"]).output());
    assert!(err.contains("warning: rootfs.img: its entry in the store was damaged and is removed"), "{err}");
    assert_eq!(tree.digests("1"), whole);
    fs::remove_dir_all(tree.folder.join("dist")).unwrap();
    let (_, err) = texts(&tree.xtask("1").args(["live-raw"]).output());
    assert!(!err.contains("warning") && err.contains("rootfs.img: taken from the store"), "{err}");

    let small = folder.path().join("small");
    fs::create_dir(&small).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=100k", "tmpfs"]).arg(&small).status();
    if !mount.is_ok_and(|status| status.success()) {
        return skips::refused("mount refuses a tmpfs of 100 KiB");
    }
    let output = tree.xtask("4").env("STORE", &small).args(["live-raw"]).output();
    let names = tool("ls", &["-A", small.join("artifacts").to_str().unwrap_or_default()]);
    tool("umount", &[small.to_str().unwrap()]);
    let (_, err) = texts(&output);
    let lines = |text: &str| err.lines().filter(|line| line.contains("warning: ") && line.contains(text)).count();
    assert!(output.status.success() && lines("in the store `") == 1 && lines("the build goes on without it") == 1, "{err}");
    assert!(!names.contains(".new"), "{names}");
}

#[test]
fn two_trees_and_two_versions_share_a_store_that_is_cleaned_meanwhile() {
    let folders: [TempDir; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let [one, two] = folders.each_ref().map(|folder| Tree::new(folder.path()));
    let two = Tree { store: one.store.clone(), ..two };
    let wanted = ["1", "2"].map(|version| {
        one.xtask(version).env("STORE", "off").args(["live-raw"]).ok();
        one.digests(version)
    });
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let builders = [&one, &two].map(|tree| {
            let wanted = &wanted;
            scope.spawn(move || {
                for round in 0..4 {
                    let version = ["1", "2"][round % 2];
                    let _ = fs::remove_dir_all(tree.folder.join("dist"));
                    // Every other round nearly nothing may stay in the store.
                    let limit = if round < 2 { "4096" } else { "0" };
                    tree.xtask(version).env("STORE_LIMIT", limit).args(["live-raw"]).ok();
                    assert_eq!(tree.digests(version), wanted[round % 2], "round {round}");
                }
            })
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let elsewhere = Tree { folder: one.folder.with_extension("cleaner"), home: one.home.clone(), store: one.store.clone() };
                fs::create_dir_all(&elsewhere.folder).unwrap();
                fs::copy(one.folder.join("xtask.toml"), elsewhere.folder.join("xtask.toml")).unwrap();
                elsewhere.xtask("1").args(["clean", "--store"]).ok();
                std::thread::sleep(std::time::Duration::from_millis(30));
            }
        });
        let results = builders.map(std::thread::ScopedJoinHandle::join);
        done.store(true, Ordering::Relaxed);
        results.into_iter().for_each(Result::unwrap);
    });
}
