//! `attest --push` sends an artifact and its statement to a registry; who has the artifact alone takes the statement from there and verifies.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;
#[path = "../../tools/registry/tests/common/mod.rs"]
mod registry;

use common::{Xtask, small_tree::small_tree, tool, wants};
use registry::Registry;
use std::fs;

#[test]
fn a_statement_in_the_registry_proves_an_artifact() {
    let Some(server) = Registry::start(false) else { return };
    if !wants("openssl", "openssl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (root, home, cache) = (folder.path().join("tree"), folder.path().join("home"), format!("CACHE={}/team", server.address));
    small_tree(&root);
    let xtask = |words: &[&str]| {
        let xtask = Xtask::new(&root).env("HOME", &home).env("LINUXKIT_CACHE", home.join("images")).env("ZARCH", "amd64");
        xtask.env("XDG_CACHE_HOME", home.join("cache")).args(words)
    };
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for name in ["key", "other"] {
        let (private, public) = (at(&format!("{name}.pem")), at(&format!("{name}.pub")));
        tool("openssl", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &private]);
        tool("openssl", &["pkey", "-in", &private, "-pubout", "-out", &public]);
    }
    let (code, error) = xtask(&["attest", "rootfs", "--push"]).fails();
    assert!(
        code == 2 && error.contains("`attest --push` needs a registry") && error.contains("hint: cargo xtask attest --push CACHE="),
        "{error}"
    );
    let made = xtask(&["attest", "rootfs", "--push", "--sign-key", &at("key.pem"), &cache]).ok();
    assert!(
        made.lines().any(|line| line.starts_with(&format!("sent: {}/team/attested:", server.address)) && line.ends_with("-rootfs.img")),
        "{made}"
    );

    // Somebody has the file and nothing else.
    let statement = root.join("dist/amd64/current/installer/rootfs.img.intoto.jsonl");
    fs::create_dir(folder.path().join("elsewhere")).unwrap();
    fs::copy(root.join("dist/amd64/current/installer/rootfs.img"), at("elsewhere/rootfs.img")).unwrap();
    let file = at("elsewhere/rootfs.img");
    let (_, error) = xtask(&["verify", &file, "--pull", &cache, "--key", &at("other.pub")]).fails();
    assert!(error.contains("none of 1 statements about") && error.contains("no signature of it is by the owner of"), "{error}");
    let said = xtask(&["verify", &file, "--pull", "-n", &cache]).ok();
    assert!(said.starts_with(&format!("take the statement about {file} from {}/team, ", server.address)), "{said}");
    assert!(!folder.path().join("elsewhere/rootfs.img.intoto.jsonl").exists());
    let said = xtask(&["verify", &file, "--pull", &cache, "--key", &at("key.pub")]).ok();
    assert!(said.contains("rootfs.img: the bytes that commit "), "{said}");
    assert!(fs::read(at("elsewhere/rootfs.img.intoto.jsonl")).unwrap() == fs::read(statement).unwrap());
    // A signed statement is not replaced by one that nobody has checked.
    let beside = at("elsewhere/rootfs.img.intoto.jsonl");
    fs::write(&beside, "mine").unwrap();
    let (code, error) = xtask(&["verify", &file, "--pull", &cache]).fails();
    assert!(code == 2 && error.contains("is a signed statement, and without a key nobody has checked"), "{error}");
    assert_eq!(fs::read_to_string(&beside).unwrap(), "mine");
    // One other byte is another file, of which nobody has said anything.
    let mut bytes = fs::read(&file).unwrap();
    bytes[100] ^= 1;
    fs::write(&file, bytes).unwrap();
    let (_, error) = xtask(&["verify", &file, "--pull", &cache]).fails();
    assert!(error.contains("has no statement about `") && error.contains("hint: cargo xtask attest TARGET --push"), "{error}");
}
