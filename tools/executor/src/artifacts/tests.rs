use super::*;
use std::{
    fs::{self, File},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
    time::{Duration, SystemTime},
};

fn key(text: &str) -> ArtifactKey {
    ArtifactKey::of("recipe", "node", text, &BTreeMap::new(), &BTreeMap::new())
}

fn record(keep: Keep, files: usize) -> ArtifactRecord {
    let file = FileRecord { size: 3, digest: "sha256:1".into() };
    ArtifactRecord { node: "rootfs.img".into(), keep, files: vec![file; files] }
}

/// A store in `folder`, and a file there.
fn store(folder: &Path, text: &str) -> (LocalStore, PathBuf) {
    let file = folder.join("file");
    fs::write(&file, text).expect("written");
    (LocalStore::new(folder.join("store"), 1 << 30), file)
}

fn ages(folder: &Path, key: &ArtifactKey, seconds: u64) {
    let record = File::options().write(true).open(folder.join("store").join(key.to_string()).join("record.json")).expect("a record");
    record.set_modified(SystemTime::now() - Duration::from_secs(seconds)).expect("a time");
}

#[test]
fn a_key_is_another_one_for_another_input() {
    let of = |recipe, node, step, input: &str, need: &str| {
        let one = |value: &str| BTreeMap::from([("a".to_owned(), value.to_owned())]);
        ArtifactKey::of(recipe, node, step, &one(input), &one(need)).to_string()
    };
    let keys = [
        of("r", "n", "s", "i", "d"),
        of("R", "n", "s", "i", "d"),
        of("r", "N", "s", "i", "d"),
        of("r", "n", "S", "i", "d"),
        of("r", "n", "s", "I", "d"),
        of("r", "n", "s", "i", "D"),
        of("r", "n", "s", "i\nneed a d", "d"),
        of("rn", "", "s", "i", "d"),
    ];
    assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), keys.len());
    assert!(keys.iter().all(|key| key.len() == 64));
    assert_eq!(of("r", "n", "s", "i", "d"), keys[0]);
}

#[test]
fn a_step_has_the_same_text_in_another_tree_and_version() {
    let text =
        |tree: &str, out: &str| step_text(&(Path::new(out).join("a"), Path::new(tree).join("b"), "other"), tree.as_ref(), out.as_ref());
    assert_eq!(text("/x", "/x/dist/amd64/1"), text("/y/z", "/y/z/dist/amd64/2"));
    assert_eq!(text("/x", "/x/dist/amd64/1"), "(\"OUT/a\", \"TREE/b\", \"other\")");
}

#[test]
fn a_copy_is_another_file_and_a_link_the_same() {
    let folder = tempfile::tempdir().expect("folder");
    let (store, file) = store(folder.path(), "one");
    for (keep, same) in [(Keep::Copied, false), (Keep::Linked, true)] {
        let (key, out) = (key(&format!("{keep:?}")), folder.path().join("below/out"));
        assert_eq!(store.find(&key), None);
        assert!(!store.get(&key, std::slice::from_ref(&out), &|_, _| {}).expect("no entry"));
        store.put(&key, &record(keep, 1), std::slice::from_ref(&file)).expect("put");
        assert_eq!(store.find(&key), Some(record(keep, 1)));
        // The second time, the place is a name of the same file.
        for _ in 0..2 {
            assert!(store.get(&key, std::slice::from_ref(&out), &|_, _| {}).expect("an entry"));
            assert_eq!(fs::read(&out).expect("read"), b"one");
            assert_eq!(fs::read_dir(folder.path().join("below")).expect("read").count(), 1, "a part is left");
        }
        assert_eq!(out.metadata().expect("there").ino() == file.metadata().expect("there").ino(), same, "{keep:?}");
        if !same {
            fs::write(&out, "written by a machine").expect("written");
            assert!(store.get(&key, std::slice::from_ref(&out), &|_, _| {}).expect("an entry"));
            assert_eq!(fs::read(&out).expect("read"), b"one");
        }
        fs::remove_file(&out).expect("removed");
    }
}

#[test]
fn holes_links_folders_and_permissions_are_kept() {
    let folder = tempfile::tempdir().expect("folder");
    let (store, _) = store(folder.path(), "");
    let [disk, link, efi] = ["disk", "link", "EFI"].map(|name| folder.path().join(name));
    let file = File::create(&disk).expect("create");
    file.set_len(64 << 20).and_then(|()| file.write_all_at(b"x", 32 << 20)).expect("written");
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o640)).expect("mode");
    std::os::unix::fs::symlink("disk", &link).expect("link");
    fs::create_dir_all(efi.join("BOOT")).expect("folder");
    fs::write(efi.join("BOOT/grub.cfg"), "menu").expect("written");
    let key = key("disk");
    store.put(&key, &record(Keep::Copied, 3), &[disk, link, efi]).expect("put");
    let places = ["a", "b", "c"].map(|name| folder.path().join("out").join(name));
    // What was there before goes.
    fs::create_dir_all(places[2].join("old")).expect("folder");
    assert!(store.get(&key, &places, &|_, _| {}).expect("an entry"));
    let metadata = places[0].metadata().expect("there");
    assert!(metadata.blocks() * 512 < 1 << 20 && metadata.len() == 64 << 20 && metadata.mode() & 0o777 == 0o640);
    assert_eq!(fs::read_link(&places[1]).expect("a link"), Path::new("disk"));
    assert_eq!(fs::read(places[2].join("BOOT/grub.cfg")).expect("read"), b"menu");
    assert!(!places[2].join("old").exists());
}

#[test]
fn what_was_used_last_stays_and_what_a_killed_process_left_goes() {
    let folder = tempfile::tempdir().expect("folder");
    let (mut store, file) = store(folder.path(), &"x".repeat(100_000));
    let keys = ["a", "b", "c"].map(key);
    for (key, seconds) in keys.iter().zip([300, 200, 100]) {
        store.put(key, &record(Keep::Copied, 1), std::slice::from_ref(&file)).expect("put");
        ages(folder.path(), key, seconds);
    }
    let left = |store: &LocalStore| keys.each_ref().map(|key| store.find(key).is_some());
    store.tidy();
    assert_eq!(left(&store), [true; 3]);
    // Use makes the oldest one the latest.
    assert!(store.get(&keys[0], &[folder.path().join("out")], &|_, _| {}).expect("an entry"));
    store.limit = 300_000;
    assert!(store.prune() <= 300_000);
    assert_eq!(left(&store), [true, false, true]);
    ages(folder.path(), &keys[2], 31 * 24 * 3600);
    let part = folder.path().join("store/.new-1");
    fs::create_dir(&part).expect("a part");
    store.tidy();
    assert_eq!(left(&store), [true, false, false]);
    assert!(part.exists(), "another process may be writing it");
    File::open(&part).and_then(|part| part.set_modified(SystemTime::now() - Duration::from_secs(7200))).expect("a time");
    store.tidy();
    assert!(!part.exists());
    assert_eq!(fs::read(folder.path().join("out")).expect("read").len(), 100_000, "what a build has taken stays");
}

#[test]
fn a_record_without_files_gives_none_and_another_record_replaces_it() {
    let folder = tempfile::tempdir().expect("folder");
    let (store, file) = store(folder.path(), "one");
    let (key, places) = (key("a"), [file]);
    store.put(&key, &record(Keep::Digests, 1), &places).expect("put");
    assert!(store.find(&key).is_some_and(|record| !record.has_files()));
    assert!(!store.get(&key, &places, &|_, _| {}).expect("no files"));
    store.put(&key, &record(Keep::Copied, 1), &places).expect("put");
    assert!(store.get(&key, &places, &|_, _| {}).expect("files"));
    // An entry that lost a file is none.
    fs::remove_file(folder.path().join("store").join(key.to_string()).join("0")).expect("removed");
    assert!(!store.get(&key, &places, &|_, _| {}).expect("no file"));
    store.remove(&key);
    assert_eq!(store.find(&key), None);
    assert_eq!(fs::read_dir(folder.path().join("store")).expect("read").count(), 0);
}

#[test]
fn several_threads_put_take_and_remove_at_once() {
    let folder = tempfile::tempdir().expect("folder");
    let (mut store, file) = store(folder.path(), "one");
    store.limit = 0;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (store, file, out) = (&store, &file, folder.path().join(format!("out-{thread}")));
            scope.spawn(move || {
                for round in 0..60 {
                    let key = key(&(round % 3).to_string());
                    store.put(&key, &record(Keep::Copied, 1), std::slice::from_ref(file)).expect("put");
                    if store.get(&key, std::slice::from_ref(&out), &|_, _| {}).expect("an entry or none") {
                        assert_eq!(fs::read(&out).expect("read"), b"one");
                    }
                    if round % 7 == thread {
                        store.tidy();
                    }
                }
            });
        }
    });
    let names = fs::read_dir(store.folder()).expect("read").map(|entry| entry.expect("an entry").file_name());
    assert!(names.into_iter().all(|name| name.len() == 64), "nothing half made or half removed is left");
}
