//! What the rules are checked on: the files that git tracks, read from disk, and the workspace's manifests.

use super::source::Source;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Path and text of every text file that is tracked, or would be after `git add`.
pub fn texts() -> &'static [(String, String)] {
    static TEXTS: OnceLock<Vec<(String, String)>> = OnceLock::new();
    TEXTS.get_or_init(|| {
        let root = repository();
        let list = Command::new("git").args(["ls-files", "-z", "-co", "--exclude-standard"]).current_dir(&root).output().unwrap();
        assert!(list.status.success(), "{list:?}");
        let names = String::from_utf8(list.stdout).unwrap();
        let mut names: Vec<&str> = names.split('\0').filter(|name| !name.is_empty()).collect();
        names.sort_unstable();
        let read = |name: &str| Some((name.to_owned(), String::from_utf8(fs::read(root.join(name)).ok()?).ok()?));
        let texts: Vec<_> = names.into_iter().filter_map(read).collect();
        assert!(texts.len() > 400, "{} files", texts.len());
        texts
    })
}

/// The Rust files of xtask and tools.
pub fn sources() -> &'static [Source] {
    static SOURCES: OnceLock<Vec<Source>> = OnceLock::new();
    SOURCES.get_or_init(|| {
        let rust = texts().iter().filter(|(name, _)| name.ends_with(".rs"));
        let sources: Vec<_> = rust.map(|(name, text)| Source::new(name, text)).collect();
        assert!(sources.len() > 250, "{} files", sources.len());
        sources
    })
}

/// A crate of the workspace.
pub struct Member {
    pub name: String,
    /// Its folder from the root: `tools/oci`.
    pub folder: String,
    pub manifest: toml::Table,
}

/// The workspace's own manifest and its members.
pub fn workspace() -> (toml::Table, Vec<Member>) {
    let parse = |folder: &str| -> toml::Table {
        toml::from_str(&fs::read_to_string(repository().join(folder).join("Cargo.toml")).unwrap()).unwrap()
    };
    let root = parse("");
    let folders = root["workspace"]["members"].as_array().unwrap().iter().map(|folder| folder.as_str().unwrap());
    let member = |folder: &str| {
        let manifest = parse(folder);
        Member { name: manifest["package"]["name"].as_str().unwrap().to_owned(), folder: folder.to_owned(), manifest }
    };
    let members: Vec<_> = folders.map(member).collect();
    assert!(members.len() > 15);
    (root, members)
}

/// The crate that a file belongs to: `oci` of `tools/oci/src/lib.rs`.
pub fn crate_of(name: &str) -> &str {
    let mut parts = name.split('/');
    match parts.next() {
        Some("tools") => parts.next().unwrap_or_default(),
        first => first.unwrap_or_default(),
    }
}
