//! The cache through its public interface: images survive a round trip, concurrent writers lose nothing, damage is detected.
#![allow(clippy::unwrap_used)]

use filetree::{Content, Kind, Node, Tree};
use oci::{Cache, Config, NewImage, NewLayer};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (path, text) in files {
        tree.insert(path, Node::file(0o644, 7, Content::from(*text))).unwrap();
    }
    tree
}

fn image(reference: &str, arch: &str, text: &str) -> NewImage {
    NewImage {
        reference: reference.to_owned(),
        arch: arch.to_owned(),
        config: Config { cmd: vec!["/bin/sh".into()], labels: [("k".to_owned(), "v".to_owned())].into(), ..Config::default() },
        layers: vec![NewLayer::Tree(tree(&[("etc/a", text), ("etc/b", "below")])), NewLayer::Tree(tree(&[("etc/b", "above")]))],
        created: 1_492_533_000,
        history: vec!["first".into()],
        ..NewImage::default()
    }
}

fn read(tree: &Tree, path: &str) -> String {
    match &tree.get(path).unwrap().kind {
        Kind::File { content, .. } => String::from_utf8(content.read_all().unwrap()).unwrap(),
        other => unreachable!("{path} is {other:?}"),
    }
}

fn index(dir: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(dir.join("index.json")).unwrap()).unwrap()
}

fn blobs(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn what_is_written_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("cache");
    let cache = Cache::open(&home).unwrap();
    assert!(cache.find("lfedge/x:1", "amd64").unwrap().is_none());
    assert!(!home.exists(), "a look made the cache");

    let digest = cache.write(image("lfedge/x:1", "amd64", "one")).unwrap();
    cache.write(image("lfedge/x:1", "arm64", "two")).unwrap();
    for name in ["lfedge/x:1", "docker.io/lfedge/x:1", "lfedge/x:1-amd64"] {
        let found = cache.find(name, "amd64").unwrap().unwrap();
        assert_eq!(found.digest, digest);
        assert_eq!(found.config.cmd, ["/bin/sh"]);
        let tree = found.tree().unwrap();
        assert_eq!((read(&tree, "etc/a"), read(&tree, "etc/b")), ("one".to_owned(), "above".to_owned()));
    }
    assert_eq!(read(&cache.find("lfedge/x:1", "arm64").unwrap().unwrap().tree().unwrap(), "etc/a"), "two");
    assert!(cache.contains("lfedge/x:1", "arm64").unwrap());
    assert!(cache.find("lfedge/x:1", "riscv64").unwrap().is_none());
    assert!(cache.find("lfedge/x:1-amd64", "arm64").unwrap().is_none());
    let names: Vec<String> = cache.list().unwrap().into_keys().collect();
    assert_eq!(names, ["docker.io/lfedge/x:1", "docker.io/lfedge/x:1-amd64", "docker.io/lfedge/x:1-arm64"]);
    assert!(cache.tag("lfedge/x:1", "lfedge/x:latest").unwrap());
    assert_eq!(cache.find("lfedge/x", "amd64").unwrap().unwrap().digest, digest);

    let base = cache.find("lfedge/x:1", "amd64").unwrap().unwrap();
    let mut layers: Vec<NewLayer> = base.layers.into_iter().map(NewLayer::Layer).collect();
    layers.push(NewLayer::Tree(tree(&[("etc/.wh.a", ""), ("top", "top")])));
    cache.write(NewImage { layers, ..image("lfedge/y:1", "amd64", "") }).unwrap();
    let above = cache.find("lfedge/y:1", "amd64").unwrap().unwrap().tree().unwrap();
    assert!(above.get("etc/a").is_none());
    assert_eq!(read(&above, "top"), "top");
}

#[test]
fn the_order_of_builds_does_not_matter() {
    let [one, two] = [0, 1].map(|_| tempfile::tempdir().unwrap());
    for (dir, order) in [(&one, ["amd64", "arm64"]), (&two, ["arm64", "amd64"])] {
        for arch in order {
            Cache::open(dir.path()).unwrap().write(image("a/b:1", arch, "x")).unwrap();
        }
    }
    let digests = |dir: &Path| Cache::open(dir).unwrap().list().unwrap();
    assert_eq!(digests(one.path()), digests(two.path()));
}

#[test]
fn what_others_wrote_stays() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = serde_json::json!({
        "schemaVersion": 2, "x-more": [1],
        "manifests": [
            { "mediaType": "application/x-foreign", "size": 3, "digest": format!("sha256:{}", "0".repeat(64)), "urls": ["u"],
              "annotations": { "org.opencontainers.image.ref.name": "docker.io/a/foreign:1", "k": "v" } },
            { "mediaType": "application/x-foreign", "size": 3, "digest": format!("sha256:{}", "1".repeat(64)) },
        ],
    });
    fs::write(dir.path().join("index.json"), serde_json::to_vec(&foreign).unwrap()).unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    cache.write(image("a/b:1", "amd64", "x")).unwrap();
    let after = index(dir.path());
    assert_eq!(after["manifests"].as_array().unwrap()[..2], foreign["manifests"].as_array().unwrap()[..]);
    assert_eq!(after["x-more"], foreign["x-more"]);
    let attested = serde_json::json!({ "schemaVersion": 2, "manifests": null });
    fs::write(dir.path().join("index.json"), serde_json::to_vec(&attested).unwrap()).unwrap();
    assert!(cache.find("a/b:1", "amd64").unwrap().is_none());
}

#[test]
fn attestations_go_with_what_they_speak_of() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let old = cache.write(image("a/b:1", "amd64", "old")).unwrap();
    let other = cache.write(image("a/b:1", "arm64", "other")).unwrap();
    // As buildkit writes it: an attestation is a manifest in the index, for the platform `unknown`.
    let mut root = index(dir.path());
    let at = root["manifests"].as_array().unwrap().iter().position(|m| m["annotations"].to_string().contains("b:1\"")).unwrap();
    let digest = root["manifests"][at]["digest"].as_str().unwrap().to_owned();
    let blob = |digest: &str| dir.path().join("blobs/sha256").join(&digest[7..]);
    let mut list: serde_json::Value = serde_json::from_slice(&fs::read(blob(&digest)).unwrap()).unwrap();
    for subject in [&old, &other] {
        list["manifests"].as_array_mut().unwrap().push(serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1, "digest": format!("sha256:{}", &subject[7..].replace('a', "b")),
            "platform": { "architecture": "unknown", "os": "unknown" },
            "annotations": { "vnd.docker.reference.digest": subject, "vnd.docker.reference.type": "attestation-manifest" },
        }));
    }
    let bytes = serde_json::to_vec(&list).unwrap();
    let digest = format!("sha256:{}", hex(&bytes));
    fs::write(blob(&digest), &bytes).unwrap();
    root["manifests"][at]["digest"] = digest.into();
    root["manifests"][at]["size"] = bytes.len().into();
    fs::write(dir.path().join("index.json"), serde_json::to_vec(&root).unwrap()).unwrap();

    cache.write(image("a/b:1", "amd64", "new")).unwrap();
    let digest = cache.list().unwrap()["docker.io/a/b:1"].clone();
    let list: serde_json::Value = serde_json::from_slice(&fs::read(blob(&digest)).unwrap()).unwrap();
    let subjects: Vec<&str> =
        list["manifests"].as_array().unwrap().iter().filter_map(|m| m["annotations"]["vnd.docker.reference.digest"].as_str()).collect();
    assert_eq!(subjects, [other]);
    assert_eq!(list["manifests"].as_array().unwrap().len(), 3);
}

fn hex(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Set for the child processes of the test below.
const WRITER: &str = "OCI_TEST_WRITER";

#[test]
fn writers_at_the_same_time_lose_nothing() {
    let writes = |dir: &Path, process: &str| {
        let cache = Cache::open(dir).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let cache = &cache;
                scope.spawn(move || {
                    for number in 0..8 {
                        let name = format!("a/p{process}-t{thread}:{number}");
                        cache.write(image(&name, "amd64", &name)).unwrap();
                        cache.write(image("a/shared:1", &format!("arch{process}{thread}{number}"), &name)).unwrap();
                        assert!(cache.find(&name, "amd64").unwrap().is_some());
                    }
                });
            }
        });
    };
    if let Ok(given) = std::env::var(WRITER) {
        let (process, dir) = given.split_once(':').unwrap();
        return writes(Path::new(dir), process);
    }
    let dir = tempfile::tempdir().unwrap();
    let mut children = Vec::new();
    for process in ["0", "1"] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "writers_at_the_same_time_lose_nothing"]).env(WRITER, format!("{process}:{}", dir.path().display()));
        children.push(command.stdout(Stdio::null()).spawn().unwrap());
    }
    writes(dir.path(), "2");
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let cache = Cache::open(dir.path()).unwrap();
    for process in 0..3 {
        for (thread, number) in (0..3).flat_map(|thread| (0..8).map(move |number| (thread, number))) {
            let name = format!("a/p{process}-t{thread}:{number}");
            assert_eq!(read(&cache.find(&name, "amd64").unwrap().unwrap().tree().unwrap(), "etc/a"), name);
            assert!(cache.find("a/shared:1", &format!("arch{process}{thread}{number}")).unwrap().is_some());
        }
    }
    let litter: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).filter(|n| n.to_string_lossy().contains("new-")).collect();
    assert!(litter.is_empty(), "{litter:?}");
}

#[test]
fn every_damaged_blob_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    cache.write(NewImage { layers: image("", "", "x").layers, ..image("a/b:1-amd64", "amd64", "x") }).unwrap();
    let look = || cache.find("a/b:1-amd64", "amd64").and_then(|found| found.unwrap().tree());
    look().unwrap();
    let all = blobs(dir.path());
    assert_eq!(all.len(), 5, "an index, a manifest, a configuration and two layers");
    for path in all {
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        for bad in [&flipped[..], &good[..good.len() - 1], &[]] {
            fs::write(&path, bad).unwrap();
            let error = format!("{:#}", look().unwrap_err());
            assert!(error.contains(&*path.file_name().unwrap().to_string_lossy()), "{error}");
            assert!(error.contains("hint: rm "), "{error}");
        }
        fs::remove_file(&path).unwrap();
        assert!(format!("{:#}", look().unwrap_err()).contains("is missing in the cache"));
        fs::write(&path, good).unwrap();
        look().unwrap();
    }
    fs::write(dir.path().join("index.json"), "{").unwrap();
    assert!(format!("{:#}", look().unwrap_err()).contains("index.json"));
    let escape = r#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1,"digest":"sha256:../../../etc/passwd","annotations":{"org.opencontainers.image.ref.name":"docker.io/a/b:1-amd64"}}]}"#;
    fs::write(dir.path().join("index.json"), escape).unwrap();
    assert!(format!("{:#}", look().unwrap_err()).contains("is not a sha256 digest"));
}

#[test]
fn archives_go_out_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(&dir.path().join("one")).unwrap();
    let digest = cache.write(image("a/b:1", "amd64", "x")).unwrap();
    let mut bytes = Vec::new();
    cache.export_docker_archive("a/b:1", "amd64", &mut bytes).unwrap();
    let other = Cache::open(&dir.path().join("two")).unwrap();
    assert_eq!(other.import(&bytes[..], None).unwrap(), ["docker.io/a/b:1"]);
    assert_eq!(other.find("a/b:1", "amd64").unwrap().unwrap().digest, digest);
    assert_eq!(other.import(&bytes[..], Some("c/d:2")).unwrap(), ["docker.io/c/d:2"]);
    assert_eq!(read(&other.find("c/d:2", "amd64").unwrap().unwrap().tree().unwrap(), "etc/a"), "x");
    let error = format!("{:#}", cache.export_docker_archive("a/none:1", "amd64", Vec::new()).unwrap_err());
    let missing = format!("the cache `{}` does not contain it", cache.dir().display());
    assert_eq!(error, format!("cannot export the image `docker.io/a/none:1` for amd64: {missing}"));

    let mut damaged = bytes.clone();
    let at = bytes.windows(8).position(|w| w == b"PaxHeade" || w == b"below\0\0\0").unwrap();
    damaged[at] ^= 1;
    assert!(format!("{:#}", other.import(&damaged[..], None).unwrap_err()).contains("damaged"));
    let error = format!("{:#}", other.import(&b"nonsense"[..], None).unwrap_err());
    assert!(error.starts_with("cannot read the image archive: "), "{error}");
    let empty = filetree::write_tar(&Tree::new(), Vec::new()).unwrap();
    let error = format!("{:#}", other.import(&empty[..], None).unwrap_err());
    assert_eq!(error, "this is no image archive: it contains neither `index.json` nor `manifest.json`");
}

#[test]
fn compressed_layers_of_an_old_docker_archive_are_read() {
    use std::io::Write as _;
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let plain = filetree::write_tar(&tree(&[("a", "gzip")]), Vec::new()).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let second = filetree::write_tar(&tree(&[("b", "zstd")]), Vec::new()).unwrap();
    let zstd = ruzstd::encoding::compress_to_vec(&second[..], ruzstd::encoding::CompressionLevel::Fastest);
    let ids = [&plain, &second].map(|tar| format!("sha256:{}", hex(tar)));
    let config = serde_json::json!({ "architecture": "amd64", "os": "linux", "config": null, "rootfs": { "type": "layers", "diff_ids": [ids[0], ids[1], ids[0]] } });
    let list =
        serde_json::json!([{ "Config": "c.json", "RepoTags": ["old:1"], "Layers": ["one/layer.tar", "two/layer.tar", "three/layer.tar"] }]);
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, bytes).unwrap();
    };
    add("c.json", config.to_string().as_bytes());
    add("one/VERSION", b"1.0");
    add("one/layer.tar", &gzip.finish().unwrap());
    add("two/layer.tar", &zstd);
    add("manifest.json", list.to_string().as_bytes());
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    tar.append_link(&mut link, "three/layer.tar", "../one/layer.tar").unwrap();
    assert_eq!(cache.import(&tar.into_inner().unwrap()[..], None).unwrap(), ["docker.io/library/old:1"]);
    let image = cache.find("old:1", "amd64").unwrap().unwrap();
    assert_eq!(image.layers.iter().map(oci::Layer::diff_id).collect::<Vec<_>>(), [&ids[0], &ids[1], &ids[0]]);
    let tree = image.tree().unwrap();
    assert_eq!((read(&tree, "a"), read(&tree, "b")), ("gzip".to_owned(), "zstd".to_owned()));
}

#[test]
fn foreign_tools_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(&dir.path().join("cache")).unwrap();
    cache.write(image("a/b:1", "amd64", "x")).unwrap();
    let archive = dir.path().join("image.tar");
    cache.export_docker_archive("a/b:1", "amd64", fs::File::create(&archive).unwrap()).unwrap();
    let run = |tool: &str, args: &[&str]| Command::new(tool).args(args).stdin(Stdio::null()).output();
    if run("skopeo", &["--version"]).is_err() {
        skips::missing("skopeo", "skopeo");
    } else {
        for place in [
            format!("oci:{}:docker.io/a/b:1", cache.dir().display()),
            format!("oci:{}:docker.io/a/b:1-amd64", cache.dir().display()),
            format!("oci-archive:{}", archive.display()),
            format!("docker-archive:{}", archive.display()),
        ] {
            let copy = format!("dir:{}", dir.path().join("copy").display());
            let done = run("skopeo", &["--insecure-policy", "--override-arch=amd64", "copy", &place, &copy]).unwrap();
            assert!(done.status.success(), "{place}: {}", String::from_utf8_lossy(&done.stderr));
            let seen = run("skopeo", &["--override-arch=amd64", "inspect", &place]).unwrap();
            let seen: serde_json::Value = serde_json::from_slice(&seen.stdout).unwrap();
            assert_eq!((seen["Architecture"].as_str(), seen["Labels"]["k"].as_str()), (Some("amd64"), Some("v")), "{place}");
            assert_eq!(seen["Created"], "2017-04-18T16:30:00Z");
        }
    }
    if !run("docker", &["info"]).is_ok_and(|info| info.status.success()) {
        skips::skipped(skips::Lack::Unpackaged, "no docker daemon answers; `docker load` would take the archive");
        return;
    }
    let loaded = run("docker", &["load", "--input", &archive.to_string_lossy()]).unwrap();
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    assert!(run("docker", &["image", "rm", "a/b:1"]).unwrap().status.success());
}

#[test]
fn an_index_that_is_remembered_is_read_again_after_a_change() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, other) = (Cache::open(dir.path()).unwrap(), Cache::open(dir.path()).unwrap());
    other.write(image("lfedge/x:1", "amd64", "one")).unwrap();
    // Old enough that its time and size are trusted.
    let index = dir.path().join("index.json");
    let past = std::time::SystemTime::now() - std::time::Duration::from_secs(100);
    fs::File::options().write(true).open(&index).unwrap().set_modified(past).unwrap();
    for _ in 0..2 {
        assert!(cache.contains("lfedge/x:1", "amd64").unwrap() && !cache.contains("lfedge/y:1", "amd64").unwrap());
    }
    // linuxkit of another process, or another cache object: the file is replaced.
    other.write(image("lfedge/y:1", "amd64", "two")).unwrap();
    assert!(cache.contains("lfedge/x:1", "amd64").unwrap() && cache.contains("lfedge/y:1", "amd64").unwrap());
    fs::remove_file(&index).unwrap();
    assert!(!cache.contains("lfedge/x:1", "amd64").unwrap());
}
