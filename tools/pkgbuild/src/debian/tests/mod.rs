//! Tests of several modules together, with a test server, dpkg-deb, and the scripts for docker.
#![allow(clippy::unwrap_used, clippy::panic)]

mod archive;
mod debs;
mod evil;
mod fetch;
mod repository;

use super::*;
use filetree::{Content, Kind, Tree};
use std::{path::Path, process::Command};

/// Runs a tool in `folder`; prints a message and returns `None` if it is missing.
fn tool(folder: &Path, argv: &[&str], env: &[(&str, &str)]) -> Option<String> {
    match Command::new(argv[0]).args(&argv[1..]).envs(env.iter().copied()).current_dir(folder).output() {
        Ok(output) if output.status.success() => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => panic!("{argv:?} failed: {}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => {
            skips::missing(argv[0], if argv[0] == "shellcheck" { "shellcheck" } else { "dpkg" });
            None
        }
    }
}

/// A tree as text, one line per node.
fn list(tree: &Tree) -> String {
    let mut lines = String::new();
    tree.walk(&mut |path, node| {
        let what = match &node.kind {
            Kind::Dir(_) => "dir".to_owned(),
            Kind::File { content, .. } => format!("file {}", super::download::digest(&mut content.open()?)?),
            Kind::Symlink(target) => format!("-> {}", String::from_utf8_lossy(target)),
            other => format!("{other:?}"),
        };
        let mode = if matches!(node.kind, Kind::Symlink(_)) { 0o777 } else { node.meta.mode };
        lines += &format!("{} {mode:o} {what}\n", String::from_utf8_lossy(path));
        Ok(())
    })
    .unwrap();
    lines
}

/// An `ar` archive with these members.
fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in members {
        bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len()).into_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    bytes
}

/// An uncompressed .deb of the given control stanza and tree.
fn make_deb(name: &str, version: &str, arch: &str, files: &Tree) -> Vec<u8> {
    let mut control = Tree::new();
    let text = format!("Package: {name}\nVersion: {version}\nArchitecture: {arch}\nDescription: made for a test\n");
    control.insert("control", filetree::Node::file(0o644, 5, Content::from(text.as_str()))).unwrap();
    let pack = |tree: &Tree| filetree::write_tar(tree, Vec::new()).unwrap();
    ar(&[("debian-binary", b"2.0\n"), ("control.tar", pack(&control).as_slice()), ("data.tar", pack(files).as_slice())])
}

fn pin_of(name: &str, version: &str, bytes: &[u8], depends: &[&str]) -> Pin {
    Pin {
        name: name.to_owned(),
        version: version.to_owned(),
        arch: "amd64".to_owned(),
        sha256: super::download::digest(&mut &bytes[..]).unwrap(),
        size: bytes.len() as u64,
        suite: Suite::Main,
        path: format!("pool/main/{name}_{version}_amd64.deb"),
        depends: depends.iter().map(|name| (*name).to_owned()).collect(),
    }
}
