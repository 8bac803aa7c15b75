#![allow(clippy::unwrap_used)]
use super::*;
use std::{
    fs, thread,
    time::{Duration, SystemTime},
};

/// build.yml and Dockerfile of every package of this repository.
fn packages() -> Vec<(PathBuf, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pkg");
    let folders = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let packages: Vec<_> = folders.map(|folder| (folder.join("build.yml"), folder.join("Dockerfile"))).collect();
    let packages: Vec<_> = packages.into_iter().filter(|(yml, dockerfile)| yml.is_file() && dockerfile.is_file()).collect();
    assert!(packages.len() > 15, "{packages:?}");
    packages
}

/// Compares all answers with those of the parsers.
fn check(known: &Known) {
    for (yml, dockerfile) in packages() {
        assert_eq!(known.names(&yml, None).unwrap(), BuildYml::read_names(&yml).unwrap(), "{}", yml.display());
        let parsed = Dockerfile::read(&dockerfile, "Dockerfile").unwrap();
        let images = known.images(&dockerfile, None).unwrap();
        assert_eq!(images.all().into_iter().cloned().collect::<Vec<_>>(), parsed.images(), "{}", dockerfile.display());
        for (arch, build) in [("amd64", "amd64"), ("arm64", "amd64"), ("riscv64", "arm64")] {
            assert_eq!(images.of(arch, build), Some(&parsed.images_for(arch, build, &BTreeMap::new())[..]), "{}", dockerfile.display());
        }
        assert_eq!(known.is_checked(&dockerfile), check_early(&parsed).is_ok(), "{}", dockerfile.display());
    }
}

fn count_of_new(known: &Known) -> usize {
    known.books().new.len()
}

#[test]
fn what_is_remembered_is_what_the_parsers_say() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cache/known");
    let first = Known::new(Some(file.clone()));
    check(&first);
    assert!(count_of_new(&first) > 30);
    drop(first);
    let second = Known::new(Some(file.clone()));
    check(&second);
    assert_eq!(count_of_new(&second), 0, "everything was in the file");
    let written = file.metadata().unwrap().modified().unwrap();
    drop(second);
    assert_eq!(file.metadata().unwrap().modified().unwrap(), written, "nothing is new");
    check(&Known::new(None));
}

#[test]
fn a_damaged_file_changes_no_answer_and_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known");
    check(&Known::new(Some(file.clone())));
    let whole = fs::read(&file).unwrap();
    let mut damaged = vec![Vec::new(), whole[..whole.len() / 2].to_vec(), [&whole[..], b"\n"].concat(), vec![0xff; 100]];
    for at in (0..whole.len()).step_by(whole.len() / 12) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        damaged.push(bytes);
    }
    // A wrong fact below the seal of the true ones.
    let text = String::from_utf8(whole.clone()).unwrap();
    assert!(text.contains("\teve-debug\t"));
    damaged.push(text.replace("\teve-debug\t", "\teve-other\t").into_bytes());
    for bytes in damaged {
        fs::write(&file, &bytes).unwrap();
        check(&Known::new(Some(file.clone())));
        assert_eq!(fs::read(&file).unwrap(), whole);
    }
}

#[test]
fn facts_of_other_code_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known");
    check(&Known::new(Some(file.clone())));
    let whole = fs::read_to_string(&file).unwrap();
    let (_, body) = whole.split_once('\n').unwrap();
    let wrong = body.replace("\teve-debug\t", "\teve-other\t");
    // Whole, and with the seal that another version of this program would write.
    let other = hex(&Sha256::new().chain_update("other code").chain_update(&wrong).finalize());
    fs::write(&file, format!("{other}\n{wrong}")).unwrap();
    check(&Known::new(Some(file)));
}

#[test]
fn a_changed_file_has_other_facts_and_an_error_is_not_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let (file, yml, dockerfile) = (folder.path().join("known"), folder.path().join("build.yml"), folder.path().join("Dockerfile"));
    let images = |known: &Known| {
        known.images(&dockerfile, None).map(|images| images.all().into_iter().map(|image| image.reference.clone()).collect())
    };
    for round in 0..2 {
        for (text, wanted) in
            [("FROM a:1\n", vec!["a:1"]), ("FROM b:1 AS x\nFROM scratch\nCOPY --from=x / /\n", vec!["b:1"]), ("FROM scratch\n", vec![])]
        {
            fs::write(&dockerfile, text).unwrap();
            let known = Known::new(Some(file.clone()));
            let found: Vec<String> = images(&known).unwrap();
            assert_eq!(found, wanted);
            assert!(known.is_checked(&dockerfile));
            assert_eq!(count_of_new(&known), usize::from(round == 0));
        }
        fs::write(&dockerfile, "FROM a:1\nHEALTHCHECK NONE\n").unwrap();
        let known = Known::new(Some(file.clone()));
        assert_eq!(images(&known).unwrap(), ["a:1"]);
        assert!(!known.is_checked(&dockerfile), "the builder says why it refuses this");
        fs::write(&dockerfile, "COPY a b\n").unwrap();
        let error = images(&known).unwrap_err().to_string();
        assert!(error.contains(&format!("{}:1: the first instruction must be FROM", dockerfile.display())), "{error}");
        fs::write(&yml, "org: a\n").unwrap();
        let error = known.names(&yml, None).unwrap_err().to_string();
        assert!(error.contains("`image:` is missing"), "{error}");
        // A word that would break a line is not kept, and nevertheless right.
        fs::write(&yml, "image: \"a\\tb\"\n").unwrap();
        assert_eq!(known.names(&yml, None).unwrap().image, "a\tb");
    }
}

#[test]
fn a_file_that_is_as_it_was_read_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (file, yml, dockerfile) = (folder.path().join("known"), folder.path().join("build.yml"), folder.path().join("Dockerfile"));
    fs::write(&yml, "image: a\n").unwrap();
    fs::write(&dockerfile, "FROM a:1\n").unwrap();
    // A young file is not noted.
    thread::sleep(Duration::from_secs(4));
    let ids = [&yml, &dockerfile].map(|path| settled_id(path, &path.metadata().unwrap(), SystemTime::now()).unwrap());
    let known = Known::new(Some(file.clone()));
    known.names(&yml, None).unwrap();
    assert_eq!(count_of_new(&known), 1, "without an id only the bytes are noted");
    // An id that nobody noted, and one of a file of another kind.
    assert_eq!(known.names(&yml, Some(&blob_id(b"image: a\n"))).unwrap().image, "a");
    assert_eq!(known.images(&dockerfile, Some(&ids[0])).unwrap().all().first().unwrap().reference, "a:1");
    assert_eq!(count_of_new(&known), 4);
    drop(known);
    fs::remove_file(&yml).unwrap();
    fs::remove_file(&dockerfile).unwrap();
    let known = Known::new(Some(file));
    assert_eq!(known.names(&yml, Some(&ids[0])).unwrap().image, "a");
    assert_eq!(known.images(&dockerfile, Some(&ids[1])).unwrap().all().first().unwrap().reference, "a:1");
    assert!(known.is_checked(&dockerfile));
    for id in [None, Some(&*ids[1]), Some(&*blob_id(b"image: a\n"))] {
        let error = known.names(&yml, id).unwrap_err().to_string();
        assert!(error.contains("cannot read"), "{error}");
    }
    // The file came back with other bytes, after git's index was read: what is noted is of the file that was read.
    fs::write(&yml, "image: b\n").unwrap();
    thread::sleep(Duration::from_secs(4));
    assert_eq!(known.names(&yml, Some("an id of before")).unwrap().image, "b");
    let id = settled_id(&yml, &yml.metadata().unwrap(), SystemTime::now()).unwrap();
    fs::remove_file(&yml).unwrap();
    assert_eq!(known.names(&yml, Some(&id)).unwrap().image, "b");
    let error = known.names(&yml, Some("an id of before")).unwrap_err().to_string();
    assert!(error.contains("cannot read"), "{error}");
}

#[test]
fn several_writers_leave_a_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known");
    thread::scope(|scope| {
        for writer in 0..4 {
            let (folder, file) = (folder.path(), file.clone());
            scope.spawn(move || {
                for round in 0..20 {
                    let dockerfile = folder.join(format!("Dockerfile.{writer}"));
                    fs::write(&dockerfile, format!("FROM image:{writer}.{round}\n")).unwrap();
                    let images = Known::new(Some(file.clone())).images(&dockerfile, None).unwrap();
                    assert_eq!(images.of("amd64", "arm64").unwrap()[0].reference, format!("image:{writer}.{round}"));
                }
            });
        }
    });
    assert!(!read(&file).unwrap().lines.is_empty());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5, "four Dockerfiles and the facts");
}

#[test]
fn facts_that_nobody_uses_do_not_stay_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let (file, dockerfile) = (folder.path().join("known"), folder.path().join("Dockerfile"));
    let mut body: Vec<String> =
        (0..=MOST_UNUSED).map(|number| format!("{}\ttrue\n", key(YML, &blob_id(number.to_string().as_bytes())))).collect();
    body.sort();
    let body = body.concat();
    fs::write(&file, format!("{}\n{body}", seal(&body))).unwrap();
    fs::write(&dockerfile, "FROM a\n").unwrap();
    let known = Known::new(Some(file.clone()));
    known.images(&dockerfile, None).unwrap();
    assert_eq!(known.books().lines.len(), MOST_UNUSED + 1);
    drop(known);
    assert_eq!(read(&file).unwrap().lines.len(), 1);
}

#[test]
fn the_seal_has_every_file_of_the_parsers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dockerfile");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(path.ends_with("tests.rs") || CODE.contains(&text.as_str()), "{} is not in CODE", path.display());
    }
}
