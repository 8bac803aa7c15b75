//! An image that takes blocks from the store has the bytes of one that does not, whatever happened to the store.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::squashfs::{Options, Summary, write_with};
use filetree::{Content, Node, Tree};
use std::os::unix::fs::FileExt as _;

const BLOCK: u32 = 8 << 10;
const PLENTY: u64 = 1 << 30;

/// Numbers that follow from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ mixed >> 31) % limit as u64).unwrap()
    }

    /// Text, machine-like bytes, noise or zeros.
    fn content(&mut self) -> Vec<u8> {
        let most = [40, 3000, 3 * BLOCK as usize, 9 * BLOCK as usize][self.below(4)];
        let length = self.below(most);
        match self.below(4) {
            0 => vec![0; length],
            1 => (0..length).map(|_| u8::try_from(self.below(256)).unwrap()).collect(),
            _ => (0..length).map(|_| b" etaoinshrdlu\n"[self.below(14)]).collect(),
        }
    }

    fn file(&mut self) -> Node {
        Node::file(if self.below(2) == 0 { 0o644 } else { 0o755 }, 1_700_000_000, Content::from(self.content()))
    }

    /// A package of one to thirty files.
    fn package(&mut self, tree: &mut Tree) {
        let name = self.below(1_000_000);
        for number in 0..=self.below(30) {
            tree.insert(format!("containers/{name}/lower/usr/{number}"), self.file()).unwrap();
        }
    }

    /// Changes one thing.
    fn edit(&mut self, tree: &mut Tree) -> &'static str {
        let mut paths = Vec::new();
        tree.walk(&mut |path, node| {
            if matches!(node.kind, filetree::Kind::File { .. }) {
                paths.push(path.to_vec());
            }
            Ok(())
        })
        .unwrap();
        let path = paths[self.below(paths.len())].clone();
        match self.below(7) {
            0 => {
                let mut node = tree.get(&path).unwrap().clone();
                node.meta.mode ^= 0o111;
                tree.insert(path, node).unwrap();
                "a mode"
            }
            1 if paths.len() > 20 => {
                tree.remove(&path).unwrap();
                "a file less"
            }
            2 => {
                let new = format!("new/{}", self.below(1_000_000));
                tree.insert(new, self.file()).unwrap();
                "a file more"
            }
            3 => {
                let node = tree.remove(&path).unwrap();
                tree.insert([&path[..], b"-renamed"].concat(), node).unwrap();
                "a name"
            }
            4 => {
                self.package(tree);
                "a package"
            }
            5 => {
                tree.insert("etc/eve-release", Node::file(0o644, 1_700_000_000, Content::from(self.below(1 << 40).to_string().as_str())))
                    .unwrap();
                "the version"
            }
            _ => {
                tree.insert(path, self.file()).unwrap();
                "a content"
            }
        }
    }
}

pub(super) fn options(compressor: Compressor) -> Options {
    Options { compressor, block_size: BLOCK, mtime: 1_700_000_000, threads: 2 }
}

/// The bytes of the image of `tree`, and its numbers.
pub(super) fn image(tree: &Tree, compressor: &Compressor, store: Option<&BlockStore>) -> (Vec<u8>, Summary) {
    let mut out = tempfile::tempfile().unwrap();
    let seen = std::cell::Cell::new((0, 0));
    let progress = |done, total| {
        assert!(seen.get().0 < done && done <= total, "it only grows");
        seen.set((done, total));
    };
    let summary = write_with(tree, &options(compressor.clone()), store, &progress, &mut out).unwrap();
    assert_eq!(seen.get().0, seen.get().1, "at the end all is read");
    let mut bytes = vec![0; usize::try_from(summary.bytes).unwrap()];
    out.read_exact_at(&mut bytes, 0).unwrap();
    (bytes, summary)
}

fn xz() -> Compressor {
    Compressor::Xz { bcj: vec![] }
}

fn start(dice: &mut Dice) -> Tree {
    let mut tree = Tree::new();
    (0..12).for_each(|_| dice.package(&mut tree));
    tree
}

/// The packs of a store.
pub(super) fn packs(folder: &Path) -> Vec<PathBuf> {
    let mut packs: Vec<PathBuf> = list(folder).map(|(path, _)| path).collect();
    packs.sort();
    packs
}

#[test]
fn random_edits_have_the_bytes_of_a_clean_build() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(10);
    let rounds = if std::env::var_os("XTASK_TEST_BOOTS").is_some() { 200 } else { 25 };
    eprintln!("SEED={seed}, {rounds} edits");
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(seed);
    let mut tree = start(&mut dice);
    let (mut known, mut compressed) = (0, 0);
    for round in 0..rounds {
        let what = dice.edit(&mut tree);
        let compressor = if round % 5 == 4 { xz() } else { Compressor::Gzip };
        let (bytes, summary) = image(&tree, &compressor, Some(&BlockStore::open(folder.path(), PLENTY)));
        assert!(bytes == image(&tree, &compressor, None).0, "edit {round}, {what}, of SEED={seed}");
        assert_eq!(summary.not_kept, None);
        if round > 5 {
            (known, compressed) = (known + summary.known, compressed + summary.compressed);
        }
    }
    assert!(compressed > 0 && known > 10 * compressed, "{known} blocks were known, {compressed} were compressed");
}

#[test]
fn an_edit_of_a_small_file_leaves_most_fragments_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let mut tree = Tree::new();
    for number in 0..2000 {
        tree.insert(format!("usr/share/{number}"), Node::file(0o644, 1, Content::from(format!("{number} ").repeat(100).as_str()))).unwrap();
    }
    image(&tree, &xz(), Some(&BlockStore::open(folder.path(), PLENTY)));
    tree.insert("usr/share/1", Node::file(0o644, 1, Content::from("1 ".repeat(333).as_str()))).unwrap();
    let summary = image(&tree, &xz(), Some(&BlockStore::open(folder.path(), PLENTY))).1;
    assert!(summary.fragments > 90 && summary.compressed <= 6, "{summary:?}");
}

#[test]
fn what_is_damaged_is_noticed_and_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let tree = start(&mut Dice(3));
    let (clean, first) = image(&tree, &Compressor::Gzip, Some(&BlockStore::open(folder.path(), PLENTY)));
    let [pack] = &packs(folder.path())[..] else { panic!("one pack") };
    let whole = std::fs::read(pack).unwrap();
    // A byte anywhere: in the magic, blocks, rows, number or digest. The test of rows and foot makes the pack useless, that of a block only this block.
    let mut dice = Dice(4);
    let places = (0..30).map(|_| dice.below(whole.len())).chain([0, 16, whole.len() - 1, whole.len() - 33, whole.len() - 41]);
    for at in places.collect::<Vec<_>>() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::remove_dir_all(folder.path()).unwrap();
        std::fs::create_dir_all(folder.path()).unwrap();
        std::fs::write(pack, bytes).unwrap();
        let (again, summary) = image(&tree, &Compressor::Gzip, Some(&BlockStore::open(folder.path(), PLENTY)));
        assert!(again == clean && summary.compressed + summary.tables >= 1, "byte {at}: {summary:?}");
        let (_, summary) = image(&tree, &Compressor::Gzip, Some(&BlockStore::open(folder.path(), PLENTY)));
        assert_eq!((summary.known, summary.compressed, summary.tables), (first.compressed, 0, 0), "byte {at} was mended");
    }
    // Half of a pack, as after a power cut.
    for length in [0, 10, 60, whole.len() / 2, whole.len() - 1] {
        std::fs::write(pack, &whole[..length]).unwrap();
        packs(folder.path()).iter().filter(|path| *path != pack).for_each(|path| std::fs::remove_file(path).unwrap());
        let (again, summary) = image(&tree, &Compressor::Gzip, Some(&BlockStore::open(folder.path(), PLENTY)));
        assert!(again == clean && summary.known == 0 && summary.tables == first.tables, "{length} bytes of a pack: {summary:?}");
    }
}

#[test]
fn other_options_do_not_share_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let tree = start(&mut Dice(5));
    for compressor in [xz(), Compressor::Gzip, Compressor::Xz { bcj: vec![crate::squashfs::Bcj::X86] }] {
        let (bytes, summary) = image(&tree, &compressor, Some(&BlockStore::open(folder.path(), PLENTY)));
        assert!(bytes == image(&tree, &compressor, None).0 && summary.known == 0, "{compressor:?}: {summary:?}");
    }
}

#[test]
fn several_writers_and_a_pruner_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let folder = folder.path();
            scope.spawn(move || {
                let mut dice = Dice(seed / 2);
                let mut tree = start(&mut dice);
                for round in 0..8 {
                    let store = BlockStore::open(folder, if seed == 3 { 0 } else { PLENTY });
                    let what = dice.edit(&mut tree);
                    let clean = image(&tree, &Compressor::Gzip, None).0;
                    assert!(image(&tree, &Compressor::Gzip, Some(&store)).0 == clean, "edit {round}, {what}");
                }
            });
        }
    });
}

#[test]
fn the_store_stays_small() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(6);
    let mut tree = start(&mut dice);
    image(&tree, &Compressor::Gzip, Some(&BlockStore::open(folder.path(), PLENTY)));
    let whole = packs(folder.path())[0].metadata().unwrap().len();
    for _ in 0..2 * MOST_PACKS {
        tree.insert("version", Node::file(0o644, 1, Content::from(dice.below(1 << 40).to_string().as_str()))).unwrap();
        let summary = image(&tree, &Compressor::Gzip, Some(&BlockStore::open(folder.path(), 2 * whole))).1;
        assert!(summary.compressed <= 2, "what is used stays: {summary:?}");
        let left: u64 = packs(folder.path()).iter().map(|path| path.metadata().unwrap().len()).sum();
        assert!(left <= 2 * whole && packs(folder.path()).len() <= MOST_PACKS);
    }
    // A month without use; and a writer that was killed.
    let past = SystemTime::now() - MOST_AGE - Duration::from_secs(1);
    let unfinished = folder.path().join(format!("{UNFINISHED}x{SUFFIX}"));
    std::fs::write(&unfinished, "half").unwrap();
    for path in packs(folder.path()).iter().chain([&unfinished]) {
        File::options().write(true).open(path).unwrap().set_modified(past).unwrap();
    }
    assert_eq!(BlockStore::prune(folder.path(), PLENTY), 0);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn without_room_the_image_is_made_and_says_why_nothing_was_kept() {
    let folder = tempfile::tempdir().unwrap();
    let tree = start(&mut Dice(7));
    std::fs::write(folder.path().join("file"), "").unwrap();
    let (bytes, summary) = image(&tree, &Compressor::Gzip, Some(&BlockStore::open(&folder.path().join("file/below"), PLENTY)));
    assert!(bytes == image(&tree, &Compressor::Gzip, None).0);
    assert!(summary.not_kept.unwrap().starts_with("cannot keep compressed blocks in `"));
}

#[test]
fn unsquashfs_extracts_what_was_put_together_from_the_store() {
    if std::process::Command::new("unsquashfs").arg("-version").output().is_err() {
        return skips::missing("unsquashfs", "squashfs-tools");
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut dice, store) = (Dice(8), folder.path().join("store"));
    let mut tree = start(&mut dice);
    image(&tree, &xz(), Some(&BlockStore::open(&store, PLENTY)));
    dice.edit(&mut tree);
    let (bytes, _) = image(&tree, &xz(), Some(&BlockStore::open(&store, PLENTY)));
    let (file, out) = (folder.path().join("image"), folder.path().join("out"));
    std::fs::write(&file, bytes).unwrap();
    let run = std::process::Command::new("unsquashfs").args(["-quiet", "-no-progress", "-d"]).arg(&out).arg(&file).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    tree.walk(&mut |path, node| {
        if let filetree::Kind::File { content, .. } = &node.kind {
            let path = out.join(std::str::from_utf8(path).unwrap());
            assert!(std::fs::read(&path).unwrap() == content.read_all()?, "{}", path.display());
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn the_rules_name_the_versions_of_the_compressors() {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).unwrap();
    for part in RULES.split(", ") {
        let (name, version) = part.split_once(' ').unwrap();
        assert_eq!(lock.matches(&format!("name = \"{name}\"\n")).count(), 1, "{name}");
        assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n")), "RULES says {part}, Cargo.lock another version");
    }
    // If these bytes change although neither a version nor compress.rs did, RULES lacks what has changed.
    let block: Vec<u8> = (0..20_000_u32).flat_map(|number| (number * number % 1000).to_string().into_bytes()).collect();
    let sums = [xz(), Compressor::Gzip, Compressor::Xz { bcj: vec![crate::squashfs::Bcj::X86] }].map(|compressor| {
        let bytes = compressor.compress(&block, 128 << 10).unwrap().unwrap();
        (bytes.len(), bytes.iter().fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte))))
    });
    assert_eq!(sums, [(592, 10239708427849659257), (1156, 18071910061070885835), (592, 10239708427849659257)]);
}
