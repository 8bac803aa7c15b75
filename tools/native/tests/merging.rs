//! Images that overlap, from layers of the real GNU tar to rootfs.img, unpacked by the real unsquashfs. GNU tar unpacks the same layers one
//! after the other into one folder: what it has there, or what we refuse with both images' names, is right. A file that is lost is not.
#![allow(clippy::unwrap_used, missing_docs)]

use compose::{Images, Options, Yml, compose, compose_tree};
use diskimage::{recipes, squashfs::Compressor};
use filetree::{Spool, write_tar};
use oci::{Cache, NewImage, NewLayer};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

struct Cached<'c>(&'c Cache);

impl Images for Cached<'_> {
    fn find(&self, reference: &str) -> anyhow::Result<oci::Image> {
        self.0.find(reference, "amd64")?.ok_or_else(|| anyhow::anyhow!("it is not in the cache"))
    }
}

/// Runs a program that must be there; whether it succeeded.
fn run(program: &str, args: &[&str], folder: &Path) -> bool {
    Command::new(program).args(args).current_dir(folder).output().unwrap().status.success()
}

fn has_unsquashfs() -> bool {
    let found = Command::new("unsquashfs").arg("-v").output().is_ok();
    if !found {
        skips::missing("unsquashfs", "squashfs-tools");
    }
    found
}

/// A root file system of the images `t/0:1`, `t/1:1` … with these layers, packed into rootfs.img and unpacked into `folder`.
fn unpack_rootfs(layers: &[Vec<u8>], folder: &Path) -> Result<PathBuf, String> {
    let cache = Cache::open(&folder.join("cache")).unwrap();
    for (number, layer) in layers.iter().enumerate() {
        let layers = vec![NewLayer::Tar(layer.clone().into())];
        cache.write(NewImage { reference: format!("t/{number}:1"), arch: "amd64".into(), layers, ..NewImage::default() }).unwrap();
    }
    let names: Vec<String> = (0..layers.len()).map(|number| format!("'t/{number}:1'")).collect();
    let yml = Yml::parse(&format!("init: [{}]", names.join(", ")), "t.yml").unwrap();
    let mut tar = Vec::new();
    let composed = compose(&yml, &Cached(&cache), &Options::default(), &mut tar).map_err(|error| format!("{error:#}"));
    let direct = compose_tree(&yml, &Cached(&cache), &Options::default()).map_err(|error| format!("{error:#}"));
    assert_eq!(direct.as_ref().err(), composed.as_ref().err());
    composed?;
    let tree = recipes::read_tar(tar.as_slice(), &mut Spool::new_in(folder).unwrap()).unwrap();
    // What is packed without a tar is what the tar has.
    assert!(write_tar(&tree, Vec::new()).unwrap() == write_tar(&direct?.0, Vec::new()).unwrap());
    let image = folder.join("rootfs.img");
    recipes::pack_rootfs(tree, Compressor::Gzip, 1, &mut File::create(&image).unwrap()).unwrap();
    let out = folder.join("ours");
    assert!(run("unsquashfs", &["-no-progress", "-d", out.to_str().unwrap(), image.to_str().unwrap()], folder));
    Ok(out)
}

/// Folders that the composer adds.
const ADDED: &[&str] = &["dev", "etc", "proc", "sys"];

/// Type, mode and content of everything below a folder, by path, without [`ADDED`].
fn listing(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(folder).min_depth(1) {
        let entry = entry.unwrap();
        let path = entry.path().strip_prefix(folder).unwrap();
        if ADDED.iter().any(|name| path.starts_with(name)) {
            continue;
        }
        let meta = entry.metadata().unwrap();
        let text = if entry.file_type().is_symlink() {
            format!("-> {}", fs::read_link(entry.path()).unwrap().display())
        } else if meta.is_dir() {
            format!("folder {:o}", meta.permissions().mode())
        } else {
            format!("file {:o} {}", meta.permissions().mode(), String::from_utf8_lossy(&fs::read(entry.path()).unwrap()))
        };
        found.insert(path.to_owned(), text);
    }
    found
}

/// Pseudo-random numbers (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }

    fn pick<'w>(&mut self, words: &[&'w str]) -> &'w str {
        words[self.below(words.len())]
    }
}

/// The folders and files of a random image: names that meet those of the other image.
fn fill(folder: &Path, dice: &mut Dice, number: usize) {
    let paths = ["lib", "lib/x", "lib/modules", "lib/modules/a.ko", "usr", "usr/lib", "usr/lib/x", "usr/lib/y", "l", "d", "d/x", "d/e/f"];
    for step in 0..2 + dice.below(7) {
        let path = folder.join(dice.pick(&paths));
        // What stands in the way already stays: `create_dir_all` and the others then fail.
        let _ = fs::create_dir_all(path.parent().unwrap());
        let _ = match dice.below(4) {
            0 => fs::create_dir_all(&path),
            // From the folder of the path, or from one that is not there.
            1 => std::os::unix::fs::symlink(dice.pick(&["usr/lib", "usr", "d", "lib", "x", "none"]), &path),
            2 if path.symlink_metadata().is_err() => fs::hard_link(folder.join(dice.pick(&paths)), &path),
            _ if path.symlink_metadata().is_err() => fs::write(&path, format!("{number}.{step}")),
            _ => Ok(()),
        };
        if path.is_file() && !path.is_symlink() {
            let _ = fs::set_permissions(&path, fs::Permissions::from_mode([0o644, 0o755, 0o600][dice.below(3)]));
        }
    }
}

/// Layers of random images, and the folders they were made of.
fn images(folder: &Path, dice: &mut Dice) -> Vec<(PathBuf, Vec<u8>)> {
    let one = |number| {
        let source = folder.join(format!("image{number}"));
        fs::create_dir(&source).unwrap();
        fill(&source, dice, number);
        let layer = folder.join(format!("{number}.tar"));
        assert!(run("tar", &["--sort=name", "--owner=0", "--group=0", "-cf", layer.to_str().unwrap(), "."], &source));
        (source, fs::read(layer).unwrap())
    };
    (0..2).map(one).collect()
}

/// The files of the first image that are not found at their path any more although the second has nothing there.
fn lost(images: &[(PathBuf, Vec<u8>)], merged: &Path) -> Vec<PathBuf> {
    let (first, second) = (&images[0].0, &images[1].0);
    let files = walkdir::WalkDir::new(first).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    let paths = files.map(|entry| entry.path().strip_prefix(first).unwrap().to_owned());
    let is_kept = |path: &PathBuf| fs::read(merged.join(path)).ok() == fs::read(first.join(path)).ok();
    // Where a file of the second came instead, also through a link of the first, it replaces the first's.
    let is_replaced = |path: &PathBuf| {
        let came = fs::read(merged.join(path)).unwrap_or_default();
        let mut others = walkdir::WalkDir::new(second).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
        second.join(path).symlink_metadata().is_ok() || others.any(|entry| fs::read(entry.path()).unwrap() == came)
    };
    paths.filter(|path| !is_kept(path) && !is_replaced(path)).collect()
}

#[test]
fn two_random_images_lose_no_file_of_either() {
    if !has_unsquashfs() {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seed, rounds) = (number("XTASK_TEST_SEED").unwrap_or(1), number("XTASK_TEST_ROUNDS").unwrap_or(60));
    println!("XTASK_TEST_SEED={seed} XTASK_TEST_ROUNDS={rounds}");
    let (mut merged, mut refused) = (0, 0);
    for round in seed..seed + rounds {
        let place = tempfile::tempdir().unwrap();
        let images = images(place.path(), &mut Dice(round));
        let referee = place.path().join("referee");
        fs::create_dir(&referee).unwrap();
        let unpack = |number: usize| {
            let layer = place.path().join(format!("{number}.tar"));
            run("tar", &["--keep-directory-symlink", "-xpf", layer.to_str().unwrap()], &referee)
        };
        let is_unpacked = unpack(0) && unpack(1);
        let layers: Vec<Vec<u8>> = images.iter().map(|(_, layer)| layer.clone()).collect();
        let of = format!("XTASK_TEST_SEED={round} XTASK_TEST_ROUNDS=1: {:?}", images.iter().map(|(at, _)| listing(at)).collect::<Vec<_>>());
        match unpack_rootfs(&layers, place.path()) {
            Ok(ours) => {
                merged += 1;
                assert!(lost(&images, &ours).is_empty(), "lost {:?} of {of}", lost(&images, &ours));
                if is_unpacked && lost(&images, &referee).is_empty() {
                    assert_eq!(listing(&ours), listing(&referee), "{of}");
                }
            }
            Err(error) => {
                refused += 1;
                // Through a link of the first, a path of the second may meet another of its own.
                let names_both = error.matches("docker.io/t/").count() >= 3 && error.contains(" would be lost: ");
                assert!(names_both || error.contains("too many levels of symbolic links"), "{error}");
            }
        }
    }
    println!("{merged} merged, {refused} refused");
    assert!(merged * 10 > rounds && refused * 50 > rounds, "{merged} merged, {refused} refused: the generator is not what it was");
}

#[test]
fn sparse_files_reach_the_image_with_their_bytes() {
    if !has_unsquashfs() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("source");
    fs::create_dir(&source).unwrap();
    for (name, size, pieces) in [("s", 3u64 << 20, 2u64), ("many", 8 << 20, 60), ("hole", 1 << 20, 0)] {
        let file = File::create(source.join(name)).unwrap();
        (0..pieces).for_each(|n| file.write_all_at(&[n as u8 + 1; 4096], n * 3 * (8 << 10)).unwrap());
        file.set_len(size).unwrap();
    }
    for (number, format) in [
        &["--format=posix", "--sparse-version=0.0"][..],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
        &["--format=gnu"],
    ]
    .iter()
    .enumerate()
    {
        let folder = place.path().join(number.to_string());
        fs::create_dir(&folder).unwrap();
        let archive = folder.join("layer.tar");
        let mut args = vec!["-S", "--owner=0", "--group=0", "-cf", archive.to_str().unwrap()];
        args.splice(1..1, format.iter().copied());
        args.push(".");
        assert!(run("tar", &args, &source));
        assert!(archive.metadata().unwrap().size() < 2 << 20, "{format:?}: the archive is not sparse");
        let ours = unpack_rootfs(&[fs::read(&archive).unwrap()], &folder).unwrap();
        assert_eq!(listing(&ours).keys().collect::<Vec<_>>(), listing(&source).keys().collect::<Vec<_>>(), "{format:?}");
        for name in ["s", "many", "hole"] {
            assert!(fs::read(ours.join(name)).unwrap() == fs::read(source.join(name)).unwrap(), "{format:?} {name}");
        }
    }
}
