//! Two small inputs with the entry lists of a real `linuxkit build` (3bf33c3a, `--no-sbom`). A list has one line per entry in
//! tar order: name, type, mode, owner, size, time, link, first digits of the content's SHA-256, PAX records. So every byte of
//! config.json and runtime.json is compared.
#![allow(clippy::unwrap_used, clippy::panic)]

use compose::{Images, Options, Yml, compose, compose_tree};
use filetree::{Kind, Spool, Tree, entries_to_tree, read_tar_stream};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Read,
    path::{Path, PathBuf},
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The second is the folder of the first.
struct Cache(oci::Cache, tempfile::TempDir);

impl Cache {
    fn of(names: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = oci::Cache::open(dir.path()).unwrap();
        for name in names {
            let named = cache.import(std::fs::File::open(fixture(&format!("{name}.tar"))).unwrap(), None).unwrap();
            assert_eq!(named, [format!("docker.io/spike/{name}:v1")]);
        }
        Self(cache, dir)
    }
}

impl Images for Cache {
    fn find(&self, reference: &str) -> anyhow::Result<oci::Image> {
        self.0.find(reference, "amd64")?.ok_or_else(|| anyhow::anyhow!("it is not in the cache"))
    }
}

/// The list of a tar, in the format of the fixtures.
fn list(tar: &[u8]) -> String {
    let mut list = String::new();
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let link = entry.link_name_bytes().map_or("-".to_owned(), |link| String::from_utf8(link.into_owned()).unwrap());
        let records = entry.pax_extensions().unwrap().into_iter().flatten().map(|r| r.unwrap());
        let records: BTreeMap<String, String> = records.map(|r| (r.key().unwrap().to_owned(), r.value().unwrap().to_owned())).collect();
        let records: Vec<String> = records.iter().map(|(key, value)| format!("{key:?}: {value:?}")).collect();
        let (kind, digest) = match header.entry_type() {
            tar::EntryType::Regular => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                ("f", sha256(&bytes)[..16].to_owned())
            }
            tar::EntryType::Directory => ("d", "-".to_owned()),
            tar::EntryType::Symlink => ("l", "-".to_owned()),
            tar::EntryType::Link => ("h", "-".to_owned()),
            other => panic!("an entry of kind {other:?}"),
        };
        let (mode, uid, gid) = (header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap());
        let (name, size, mtime) = (name.trim_end_matches('/'), header.size().unwrap(), header.mtime().unwrap());
        writeln!(list, "{name} {kind} {mode:04o} {uid}:{gid} {size} {mtime} {link} {digest} {{{}}}", records.join(", ")).unwrap();
    }
    list
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Metadata, kind, link and content of everything in a tree.
fn nodes(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    tree.walk(&mut |path, node| {
        let kind = match &node.kind {
            Kind::Dir(_) => "a folder".to_owned(),
            Kind::File { content, link } => format!("{} {link:?}", sha256(&content.read_all()?)),
            other => format!("{other:?}"),
        };
        found.push(format!("{} {:?} {kind}", String::from_utf8_lossy(path), node.meta));
        Ok(())
    })
    .unwrap();
    found
}

fn check(name: &str, images: &[&str]) {
    let cache = Cache::of(images);
    let file = format!("{name}.yml");
    let yml = Yml::parse(&std::fs::read_to_string(fixture(&file)).unwrap(), &file).unwrap();
    let mut tar = Vec::new();
    let summary = compose(&yml, &cache, &Options::default(), &mut tar).unwrap();
    let (ours, theirs) = (list(&tar), std::fs::read_to_string(fixture(&format!("{name}.list"))).unwrap());
    for (number, (ours, theirs)) in ours.lines().zip(theirs.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {} of {name}.list", number + 1);
    }
    assert_eq!(ours.lines().count(), theirs.lines().count());
    assert_eq!(summary.entries, theirs.lines().count() as u64);
    let mut again = Vec::new();
    compose(&yml, &cache, &Options::default(), &mut again).unwrap();
    assert!(tar == again, "the same input gave other bytes");
    // What is packed without a tar is what a reader of the tar finds.
    let (tree, of_tree) = compose_tree(&yml, &cache, &Options::default()).unwrap();
    assert_eq!(of_tree.entries, summary.entries);
    let read = entries_to_tree(read_tar_stream(tar.as_slice(), &mut Spool::new_in(cache.1.path()).unwrap()).unwrap()).unwrap();
    let (tree, read) = (nodes(&tree), nodes(&read));
    assert!(read.len() > 40, "{read:?}");
    assert_eq!(tree, read);
}

#[test]
fn one_is_as_linuxkit_makes_it() {
    check("one", &["kernel", "init", "init2", "onboot", "svc", "rosvc"]);
}

#[test]
fn two_is_as_linuxkit_makes_it() {
    check("two", &["kernel", "ml"]);
}
