//! `attest` says from what an artifact was made, and `verify FILE` makes it again from what the statement says.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, git, python::python, small_tree::SmallTree, texts, tool, wants};
use std::{
    fs,
    path::{Path, PathBuf},
};

struct Tree(SmallTree);

impl Tree {
    fn new() -> Self {
        Self(SmallTree::new())
    }

    fn root(&self) -> &Path {
        self.0.root()
    }

    fn xtask(&self, words: &[&str]) -> Xtask {
        self.0.xtask().args(words)
    }

    /// Builds and attests `live-raw`; the disk.
    fn attest(&self, words: &[&str]) -> PathBuf {
        let made = self.xtask(&[&["attest", "live-raw"], words].concat()).ok();
        let statement = made.lines().last().unwrap().strip_prefix("made: ").unwrap();
        let file = statement.strip_suffix(".intoto.json").or(statement.strip_suffix(".intoto.jsonl")).unwrap();
        self.root().join(file)
    }

    fn verify(&self, file: &Path, words: &[&str]) -> (bool, String) {
        let output = self.xtask(&[&["verify", file.to_str().unwrap()], words].concat()).output();
        let (out, err) = texts(&output);
        (output.status.success(), out + &err)
    }
}

#[test]
fn an_artifact_is_built_again_from_its_statement() {
    let tree = Tree::new();
    let disk = tree.attest(&[]);
    let statement = PathBuf::from(format!("{}.intoto.json", disk.display()));
    let json: serde_json::Value = serde_json::from_slice(&fs::read(&statement).unwrap()).unwrap();
    assert_eq!(json["subject"][0]["name"], "live.raw");
    assert_eq!(json["subject"][0]["digest"]["sha256"], tool("sha256sum", &[disk.to_str().unwrap()])[..64]);
    let asked = &json["predicate"]["buildDefinition"]["externalParameters"];
    assert_eq!((asked["target"].as_str(), asked["knobs"]["ZARCH"].as_str()), (Some("live-raw"), Some("amd64")));
    if let Some(python) = python("in_toto_attestation", &["in-toto-attestation"]) {
        let check = "import sys, json; from google.protobuf.json_format import ParseDict; from in_toto_attestation.v1.statement import Statement; \
            from in_toto_attestation.v1 import statement_pb2; from in_toto_attestation.predicates.provenance.v1 import provenance_pb2; \
            d = json.load(open(sys.argv[1])); s = Statement.copy_from_pb(ParseDict(d, statement_pb2.Statement())); s.validate(); \
            p = ParseDict(d['predicate'], provenance_pb2.Provenance()); assert p.run_details.builder.id == 'urn:eve-xtask'";
        tool(python.to_str().unwrap(), &["-c", check, statement.to_str().unwrap()]);
    }
    // The next commit and the state of the tree do not matter.
    fs::write(tree.root().join("conf/server"), "elsewhere.example.org\n").unwrap();
    git(tree.root(), &["commit", "-q", "-a", "-m", "two"]);
    fs::write(tree.root().join("pkg/base/files/etc/base"), "changed").unwrap();
    let (good, said) = tree.verify(&disk, &[]);
    assert!(good && said.contains("live.raw: the bytes that commit "), "{said}");
    let left: Vec<_> = fs::read_dir(tree.root().join("dist/tmp")).into_iter().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    // The same build in another folder says the same, byte for byte.
    let other = Tree::new();
    let twin = other.attest(&[]);
    assert!(fs::read(format!("{}.intoto.json", twin.display())).unwrap() == fs::read(&statement).unwrap());
}

#[test]
fn verify_finds_what_does_not_come_from_the_commit() {
    let tree = Tree::new();
    let (file, tag) = (tree.root().join("pkg/base/files/etc/base"), tree.xtask(&["show-tag", "base"]).ok());
    let tag = tag.trim().rsplit_once(':').unwrap().1.to_owned();
    // An image that lies: its tag is that of the commit's files, and its content is another.
    fs::write(&file, "evil").unwrap();
    tree.xtask(&["pkg", "base", &format!("EVE_HASH={tag}")]).ok();
    fs::write(&file, "base").unwrap();
    git(tree.root(), &["update-index", "-q", "--refresh"]);
    let disk = tree.attest(&[]);
    let (good, said) = tree.verify(&disk, &[]);
    assert!(!good && said.contains(&format!("lfedge/eve-base:{tag}-amd64: the first package that differs\n")), "{said}");
    assert!(said.contains("etc/base") && said.contains("differs from what commit "), "{said}");
    // One changed byte of the disk.
    let mut bytes = fs::read(&disk).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&disk, bytes).unwrap();
    let (good, said) = tree.verify(&disk, &[]);
    assert!(!good && said.contains("live.raw` is not what its statement describes: its SHA-256 is "), "{said}");
}

/// A statement is data of somebody else: it must not decide what this machine does, nor which file is compared.
#[test]
fn a_statement_cannot_lead_elsewhere() {
    let tree = Tree::new();
    let disk = tree.attest(&[]);
    let path = PathBuf::from(format!("{}.intoto.json", disk.display()));
    let written: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let asked = "/predicate/buildDefinition/externalParameters";
    for (pointer, value, message) in [
        (format!("{asked}/target"), "clean", "its target `clean` makes no artifact"),
        (format!("{asked}/target"), "pkgs", "its target `pkgs` makes no artifact"),
        (format!("{asked}/knobs"), "--root", "its `--root` decides about no artifact's bytes"),
        (format!("{asked}/knobs"), "STORE", "its `STORE` decides about no artifact's bytes"),
        (format!("{asked}/knobs"), "SIGN", "its `SIGN` would sign with a key of this machine"),
        ("/subject/0/name".to_owned(), "/proc/self/cwd/live.raw", "its subject `/proc/self/cwd/live.raw` is no path below dist/"),
        ("/subject/0/name".to_owned(), "../../live.raw", "its subject `../../live.raw` is no path below dist/"),
    ] {
        let mut hostile = written.clone();
        let place = hostile.pointer_mut(&pointer).unwrap();
        match place.as_object_mut() {
            Some(knobs) => drop(knobs.insert(value.to_owned(), tree.root().to_str().unwrap().into())),
            None => *place = value.into(),
        }
        fs::write(&path, hostile.to_string()).unwrap();
        let (good, said) = tree.verify(&disk, &[]);
        assert!(!good && said.contains(&format!("the statement cannot be trusted: {message}")), "{said}");
        assert!(disk.exists());
    }
}

#[test]
fn what_comes_from_outside_of_the_commit_is_named_and_compared() {
    let tree = Tree::new();
    let own = tree.root().join("home/own");
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("server"), "mine.example.org\n").unwrap();
    let disk = tree.attest(&["CONF_DIR=home/own"]);
    let (good, said) = tree.verify(&disk, &[]);
    assert!(good && said.contains("gives for live-raw CONF_DIR=home/own "), "{said}");
    fs::write(own.join("server"), "other.example.org\n").unwrap();
    let (good, said) = tree.verify(&disk, &[]);
    assert!(!good && said.contains("it was built with CONF_DIR=home/own, whose content was another than that of"), "{said}");
    fs::remove_dir_all(&own).unwrap();
    let (good, said) = tree.verify(&disk, &[]);
    assert!(!good && said.contains("it was built with CONF_DIR=home/own, and `") && said.contains("is not here"), "{said}");
    let (_, error) = tree.xtask(&["attest", "config"]).env("SOURCE_DATE_EPOCH", "1").fails();
    assert!(error.contains("SOURCE_DATE_EPOCH is set, and no statement could say so"), "{error}");
    let (code, error) = tree.xtask(&["attest", "live-raw", "--sign"]).fails();
    assert!(code == 2 && error.contains("hint: attest what is built without SIGN"), "{error}");
}

#[test]
fn a_signed_statement_is_taken_from_its_signer_alone() {
    if !wants("openssl", "openssl") {
        return;
    }
    let tree = Tree::new();
    let at = |name: &str| tree.root().join("home").join(name).to_str().unwrap().to_owned();
    fs::create_dir_all(tree.root().join("home")).unwrap();
    for name in ["us", "them"] {
        tool("openssl", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &at(name)]);
        tool("openssl", &["pkey", "-in", &at(name), "-pubout", "-out", &at(&format!("{name}.pub"))]);
    }
    let disk = tree.attest(&["--sign-key", &at("us")]);
    let envelope = format!("{}.intoto.jsonl", disk.display());
    if let Some(python) = python("securesystemslib", &["securesystemslib[crypto]"]) {
        let check = "import sys, json; from securesystemslib.dsse import Envelope; from securesystemslib.signer import SSlibKey; \
            from cryptography.hazmat.primitives.serialization import load_pem_public_key as load; \
            key = SSlibKey.from_crypto(load(open(sys.argv[2], 'rb').read())); \
            e = Envelope.from_dict(json.load(open(sys.argv[1]))); e.signatures = {key.keyid: list(e.signatures.values())[0]}; \
            [setattr(s, 'keyid', key.keyid) for s in e.signatures.values()]; e.verify([key], 1)";
        tool(python.to_str().unwrap(), &["-c", check, &envelope, &at("us.pub")]);
    }
    let (good, said) = tree.verify(&disk, &["--key", &at("us.pub")]);
    assert!(good, "{said}");
    let (good, said) = tree.verify(&disk, &["--key", &at("them.pub"), "-n"]);
    assert!(!good && said.contains("no signature of it is by the owner of"), "{said}");
    let (good, said) = tree.verify(&disk, &["-n"]);
    assert!(good && said.contains("note: nobody has checked the signature of") && said.contains("would build in a clone of"), "{said}");
    // A statement without a signature does not replace one with a signature.
    tree.attest(&[]);
    assert!(!Path::new(&envelope).exists());
    let (good, said) = tree.verify(&disk, &["--key", &at("us.pub"), "-n"]);
    assert!(!good && said.contains("it is not signed\nhint: cargo xtask attest TARGET --sign-key KEY.pem"), "{said}");
}

#[test]
fn what_no_commit_describes_is_not_attested() {
    let tree = Tree::new();
    let fails = |words: &[&str]| tree.xtask(words).fails().1;
    assert!(fails(&["attest", "pkg/base"]).contains("`pkg/base` makes no file that a statement could be about"));
    assert!(fails(&["attest", "pkgs"]).contains("`pkgs` makes no file that a statement could be about"));
    assert!(fails(&["attest", "kernel-yml"]).contains("`kernel-yml` makes no file that a statement could be about"));
    assert!(fails(&["attest", "nonsense"]).contains("`nonsense` makes no file"));
    let refusal = fails(&["verify", "conf/server"]);
    assert!(refusal.contains("no statement is beside `conf/server` (conf/server.intoto.json)\nhint: cargo xtask attest"), "{refusal}");
    assert!(fails(&["verify", "base", "--key", "x"]).contains("--key is for artifacts"));
    // A new file is no change of a tracked one.
    for (file, said) in [
        ("pkg/base/files/new", "pkg/base has files that no commit has, so no commit describes what would be built\nhint: git add pkg/base"),
        ("conf/new", "no commit has `conf/new`, a file of the configuration"),
    ] {
        fs::write(tree.root().join(file), "new").unwrap();
        let refusal = fails(&["attest", "live-raw"]);
        assert!(refusal.contains(said), "{refusal}");
        fs::remove_file(tree.root().join(file)).unwrap();
    }
    fs::write(tree.root().join("conf/server"), "elsewhere.example.org\n").unwrap();
    assert!(
        fails(&["attest", "config"]).contains("tracked files have changed, so no commit describes what would be built\nhint: git commit")
    );
    assert!(!tree.root().join("dist").exists() || tree.root().join("dist").read_dir().unwrap().next().is_none());
}

#[test]
fn the_image_of_a_package_names_the_commit_that_has_its_files_or_none() {
    let tree = Tree::new();
    let revision = || {
        tree.xtask(&["pkg", "base"]).ok();
        let tag = tree.xtask(&["show-tag", "base"]).ok();
        let image = oci::Cache::open(&tree.root().join("home/images")).unwrap().find(tag.trim(), "amd64").unwrap().unwrap();
        image.config.labels.get(oci::names::LABEL_REVISION).cloned()
    };
    assert_eq!(revision(), Some(tool("git", &["-C", tree.root().to_str().unwrap(), "rev-parse", "HEAD"]).trim().to_owned()));
    fs::write(tree.root().join("pkg/base/files/new"), "new").unwrap();
    assert_eq!(revision(), None);
}
