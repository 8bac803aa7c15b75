//! `lock` writes and signs a list of digests; with `--locked` a build takes only what it names, and what it makes must be what it names.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;
#[path = "../../tools/registry/tests/common/mod.rs"]
mod registry;

use common::{Xtask, git, small_tree::small_tree, texts, tool, wants};
use registry::{Registry, has_skopeo, output};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A tree, keys, and machines: each has caches of its own.
struct Tree {
    folder: tempfile::TempDir,
}

impl Tree {
    /// None, and a skip, without openssl.
    fn new() -> Option<Self> {
        if !wants("openssl", "openssl") {
            return None;
        }
        let tree = Self { folder: tempfile::tempdir().unwrap() };
        small_tree(&tree.root());
        for name in ["key", "other"] {
            let (private, public) = (tree.at(&format!("{name}.pem")), tree.at(&format!("{name}.pub")));
            tool("openssl", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", private.to_str().unwrap()]);
            tool("openssl", &["pkey", "-in", private.to_str().unwrap(), "-pubout", "-out", public.to_str().unwrap()]);
        }
        Some(tree)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn root(&self) -> PathBuf {
        self.at("tree")
    }

    fn xtask(&self, machine: &str, words: &[&str]) -> Xtask {
        let home = self.at(machine);
        let xtask = Xtask::new(&self.root()).env("HOME", &home).env("LINUXKIT_CACHE", home.join("images"));
        xtask.env("XDG_CACHE_HOME", home.join("cache")).env("ZARCH", "amd64").args(words)
    }

    /// Writes a list, signed by `key.pem`.
    fn lock(&self, machine: &str) -> PathBuf {
        let (key, list) = (self.at("key.pem"), self.at("list.jsonl"));
        let words = ["lock", "rootfs", "--sign-key", key.to_str().unwrap(), "--out", list.to_str().unwrap()];
        self.xtask(machine, &words).ok();
        list
    }

    /// Builds the root file system with the list, from nothing but caches; success and what it printed.
    fn build(&self, machine: &str, list: &Path, key: &str, more: &[&str]) -> (bool, String) {
        let _ = fs::remove_dir_all(self.root().join("dist"));
        self.build_on(machine, list, key, more)
    }

    /// The same with what is in dist/.
    fn build_on(&self, machine: &str, list: &Path, key: &str, more: &[&str]) -> (bool, String) {
        let key = self.at(key);
        let words = ["rootfs", "--locked", list.to_str().unwrap(), "--lock-key", key.to_str().unwrap()];
        let output = self.xtask(machine, &[&words, more].concat()).output();
        let (out, err) = texts(&output);
        (output.status.success(), out + &err)
    }

    fn image(&self) -> Vec<u8> {
        fs::read(self.root().join("dist/amd64/current/installer/rootfs.img")).unwrap()
    }

    fn tag(&self) -> String {
        let shown = self.xtask("one", &["show-tag", "base"]).ok();
        shown.trim().rsplit_once(':').unwrap().1.to_owned()
    }

    /// Puts an image with other content than its tag says into the image cache of a machine.
    fn lie(&self, machine: &str) {
        let (file, tag) = (self.root().join("pkg/base/files/etc/base"), self.tag());
        fs::write(&file, "evil").unwrap();
        self.xtask(machine, &["pkg", "base", &format!("EVE_HASH={tag}")]).ok();
        fs::write(&file, "base").unwrap();
        git(&self.root(), &["update-index", "-q", "--refresh"]);
    }
}

#[test]
fn a_build_takes_what_a_signed_list_names_and_builds_what_lies() {
    let Some(tree) = Tree::new() else { return };
    let list = tree.lock("one");
    let image = tree.image();
    let envelope: serde_json::Value = serde_json::from_slice(&fs::read(&list).unwrap()).unwrap();
    let decode = |name: &str, text: &serde_json::Value| {
        let (encoded, decoded) = (tree.at(&format!("{name}.b64")), tree.at(name));
        fs::write(&encoded, text.as_str().unwrap()).unwrap();
        let words = ["base64", "-d", "-A", "-in", encoded.to_str().unwrap(), "-out", decoded.to_str().unwrap()];
        tool("openssl", &words);
        decoded
    };
    let (payload, signature) = (decode("payload", &envelope["payload"]), decode("signature", &envelope["signatures"][0]["sig"]));
    let json = fs::read(&payload).unwrap();
    let kind = envelope["payloadType"].as_str().unwrap();
    let signed = [format!("DSSEv1 {} {kind} {} ", kind.len(), json.len()).as_bytes(), &json].concat();
    fs::write(&payload, signed).unwrap();
    let [public, signature, payload] = [tree.at("key.pub"), signature, payload].map(|path| path.to_str().unwrap().to_owned());
    assert!(tool("openssl", &["dgst", "-sha256", "-verify", &public, "-signature", &signature, &payload]).contains("Verified OK"));
    let listed: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let base = format!("lfedge/eve-base:{}-amd64", tree.tag());
    assert_eq!(listed["subject"][0]["name"], base);
    let artifacts = listed["predicate"]["artifacts"].as_object().unwrap();
    assert!(artifacts.values().any(|artifact| artifact["name"] == "rootfs.img"), "{listed}");

    let (good, said) = tree.build("one", &list, "key.pub", &[]);
    assert!(good && said.contains("rootfs.img") && said.contains("taken from the store") && !said.contains("warning"), "{said}");
    let (good, said) = tree.build("two", &list, "key.pub", &[]);
    assert!(good && tree.image() == image, "{said}");
    // An image cache that lies.
    tree.lie("liar");
    let (good, said) = tree.build("liar", &list, "key.pub", &[]);
    let manifest = listed["subject"][0]["digest"]["sha256"].as_str().unwrap();
    assert!(said.contains(&format!("warning: not taken from the image cache: {base} has the digest sha256:")), "{said}");
    assert!(said.contains(&format!("and `{}` names sha256:{manifest}; it is built here", list.display())), "{said}");
    assert!(good && tree.image() == image, "{said}");
    // A list that was made from a cache that lies is found out by who builds the package.
    tree.lie("signer");
    fs::remove_dir_all(tree.root().join("dist")).unwrap();
    let wrong = tree.lock("signer");
    let (good, said) = tree.build("three", &wrong, "key.pub", &[]);
    assert!(!good && said.contains("it was built here from its sources") && said.contains(&format!("{base} has the digest")), "{said}");
    assert!(said.contains("hint: the list is of another commit, or of other sources"), "{said}");
}

#[test]
fn a_list_that_is_not_to_be_trusted_or_of_another_commit_is_refused() {
    let Some(tree) = Tree::new() else { return };
    let list = tree.lock("one");
    let refused = |list: &Path, key: &str| {
        let (good, said) = tree.build_on("one", list, key, &[]);
        assert!(!good, "{said}");
        said
    };
    let said = refused(&list, "other.pub");
    assert!(said.contains("list.jsonl` cannot be trusted") && said.contains("no signature of it is by the owner of"), "{said}");
    let text = fs::read_to_string(&list).unwrap();
    let at = text.find("\"payload\":\"").unwrap() + 200;
    let changed = format!("{}{}{}", &text[..at], if &text[at..=at] == "A" { "B" } else { "A" }, &text[at + 1..]);
    fs::write(tree.at("changed.jsonl"), changed).unwrap();
    let said = refused(&tree.at("changed.jsonl"), "key.pub");
    assert!(said.contains("no signature of it is by the owner of"), "{said}");
    let said = refused(&tree.at("none.jsonl"), "key.pub");
    assert!(said.contains("cannot be trusted\n  cause: cannot read"), "{said}");
    let (code, said) = tree.xtask("one", &["rootfs", "--locked", list.to_str().unwrap()]).fails();
    assert!(code == 2 && said.contains("LOCKED without LOCK_KEY") && said.contains("hint: --lock-key PUBLIC.pem"), "{said}");
    // Another commit, of which the list knows nothing.
    fs::write(tree.root().join("pkg/base/files/etc/base"), "next").unwrap();
    let key = tree.at("key.pem");
    let (code, said) = tree.xtask("one", &["lock", "rootfs", "--sign-key", key.to_str().unwrap()]).fails();
    assert!(code == 2 && said.contains("a list is of a commit\nhint: git commit"), "{said}");
    git(&tree.root(), &["commit", "-q", "-a", "-m", "two"]);
    let words = ["lock", "rootfs", "--sign-key", key.to_str().unwrap()];
    let (code, said) = tree.xtask("one", &words).env("SOURCE_DATE_EPOCH", "1").fails();
    assert!(code == 2 && said.contains("SOURCE_DATE_EPOCH is set, and no list could say so\nhint: unset it"), "{said}");
    let said = refused(&list, "key.pub");
    let name = format!("lfedge/eve-base:{}-amd64", tree.tag());
    assert!(said.contains(&format!("list.jsonl` names no image {name}\n")) && said.contains("hint: a list is of one commit"), "{said}");
    // Also if somebody has built it already.
    tree.xtask("one", &["rootfs"]).ok();
    assert!(refused(&list, "key.pub").contains("names no image"));
}

#[test]
fn an_artifact_in_the_store_that_the_list_does_not_name_is_made() {
    let Some(tree) = Tree::new() else { return };
    let list = tree.lock("one");
    let image = tree.image();
    let store = tree.at("one/cache/eve-xtask/store/artifacts");
    let entries = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path());
    let is_image = |entry: &PathBuf| fs::read_to_string(entry.join("record.json")).is_ok_and(|text| text.contains("\"rootfs.img\""));
    let entry = entries.into_iter().find(is_image).unwrap();
    // Another image with a record that fits it: only the list can tell.
    let lie = || {
        fs::remove_file(entry.join("0")).unwrap();
        fs::write(entry.join("0"), vec![7; image.len()]).unwrap();
        let digest = &tool("sha256sum", &[entry.join("0").to_str().unwrap()])[..64];
        let mut record: serde_json::Value = serde_json::from_slice(&fs::read(entry.join("record.json")).unwrap()).unwrap();
        record["files"][0]["digest"] = format!("sha256:{digest}").into();
        fs::write(entry.join("record.json"), record.to_string()).unwrap();
    };
    lie();
    let _ = fs::remove_dir_all(tree.root().join("dist"));
    tree.xtask("one", &["rootfs"]).ok();
    assert!(tree.image() != image, "without a list nobody sees it");
    let (good, said) = tree.build_on("one", &list, "key.pub", &[]);
    assert!(!good && said.contains("rootfs.img has the digest sha256:") && said.contains("hint: cargo xtask clean"), "{said}");
    let (good, said) = tree.build("one", &list, "key.pub", &[]);
    assert!(good && said.contains("warning: not taken from the store: rootfs.img has the digest"), "{said}");
    assert!(tree.image() == image, "{said}");
    // The wrong one is gone.
    let (good, said) = tree.build("one", &list, "key.pub", &[]);
    assert!(good && said.contains("taken from the store") && !said.contains("warning"), "{said}");
}

#[test]
fn what_a_build_without_the_list_has_taken_counts_only_if_the_list_names_it() {
    let Some(tree) = Tree::new() else { return };
    // The list is of rootfs: it does not name what only the disk needs.
    let list = tree.lock("one");
    let (list, key) = (list.to_str().unwrap(), tree.at("key.pub"));
    let locked = ["live-raw", "--locked", list, "--lock-key", key.to_str().unwrap()];
    for _ in 0..2 {
        let _ = fs::remove_dir_all(tree.root().join("dist"));
        tree.xtask("one", &["live-raw"]).ok();
    }
    let (_, said) = tree.xtask("one", &locked).fails();
    assert!(said.contains("was taken from the store or the registry by an earlier build, and `"), "{said}");
    assert!(said.contains("list.jsonl` does not name it\nhint: cargo xtask clean"), "{said}");
    fs::remove_dir_all(tree.root().join("dist")).unwrap();
    tree.xtask("one", &locked).ok();
    // What is made here needs no name in the list.
    tree.xtask("one", &locked).ok();
}

#[test]
fn a_registry_that_lies_is_not_believed() {
    let Some(server) = Registry::start(false) else { return };
    let Some(tree) = Tree::new() else { return };
    if !has_skopeo() {
        return;
    }
    let place = format!("{}/team", server.address);
    let list = tree.lock("one");
    let (image, right) = (tree.image(), tree.tag());
    let file = tree.root().join("pkg/base/files/etc/base");
    fs::write(&file, "evil").unwrap();
    git(&tree.root(), &["commit", "-q", "-a", "-m", "evil"]);
    let wrong = tree.tag();
    tree.xtask("evil", &["pkg", "base"]).env("CACHE", &place).env("CACHE_MODE", "write").ok();
    git(&tree.root(), &["reset", "-q", "--hard", "HEAD~1"]);
    let name = |tag: &str| format!("docker://{place}/eve-base:{tag}-amd64");
    let flags = ["--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false"];
    output("skopeo", &[&flags[..], &[&name(&wrong), &name(&right)]].concat());
    let cache = format!("CACHE={place}");
    let (good, said) = tree.build("two", &list, "key.pub", &[&cache]);
    assert!(said.contains(&format!("warning: not taken from {place}: lfedge/eve-base:{right}-amd64 has the digest sha256:")), "{said}");
    assert!(good && tree.image() == image, "{said}");
}
