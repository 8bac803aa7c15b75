//! Invalid input gives errors with their place; hostile input stays inside the root file system.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Cached, tar};
use compose::{Options, Yml, compose, image_references};
use filetree::Content;
use oci::{Cache, Config, NewImage, NewLayer};
use std::collections::BTreeMap;

fn try_compose(members: &[&str], label: &str, text: &str) -> Result<Vec<String>, String> {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let labels = if label.is_empty() { BTreeMap::new() } else { [(oci::names::LABEL_CONFIG.to_owned(), label.to_owned())].into() };
    let image = NewImage {
        reference: "a/b:1".into(),
        arch: "amd64".into(),
        config: Config { labels, ..Config::default() },
        layers: vec![NewLayer::Tar(tar(members).into())],
        ..NewImage::default()
    };
    cache.write(image).unwrap();
    let error = |error: anyhow::Error| format!("{error:#}");
    let yml = Yml::parse(text, "t.yml").map_err(error)?;
    let mut tar = Vec::new();
    compose(&yml, &Cached(&cache), &Options { sources: dir.path().to_owned(), ..Options::default() }, &mut tar).map_err(error)?;
    let content = Content::from(tar);
    let entries = filetree::read_tar_content(&content).map_err(error)?;
    Ok(entries.into_iter().map(|(entry, _)| String::from_utf8(entry.path).unwrap()).collect())
}

fn error(members: &[&str], label: &str, text: &str) -> String {
    try_compose(members, label, text).unwrap_err()
}

const SERVICE: &str = "services:\n  - {name: s, image: 'a/b:1'}\n";

#[test]
fn missing_images_are_named_together() {
    let text = "init: ['x/one:1']\nonboot:\n  - {name: first, image: 'x/two:1'}\nservices:\n  - {name: s, image: 'a/b:1'}\n";
    assert_eq!(
        error(&[], "", text),
        "`t.yml` needs 2 images that cannot be found:\n  init[0]: `x/one:1`: it is not in the cache\nhint: build it\n  \
         onboot[0] first: `x/two:1`: it is not in the cache\nhint: build it"
    );
}

#[test]
fn hostile_layers_stay_inside() {
    for members in [&["../x"][..], &["a/../../x"], &["a => ../../etc/passwd"], &["a => b"], &["a => a"]] {
        let error = error(members, "", SERVICE);
        assert!(error.starts_with("`t.yml`: services[0]: image `docker.io/a/b:1`"), "{error}");
    }
    let paths = try_compose(&["/etc/x", "./usr/./y", "out -> /etc", "out/passwd", "k => /etc/x"], "", SERVICE).unwrap();
    for path in &paths {
        assert!(path.starts_with("containers") && !path.contains("..") && !path.ends_with("out/passwd"), "{path}");
    }
    assert!(paths.contains(&"containers/services/s/lower/etc/x".to_owned()));
}

#[test]
fn a_kernel_must_have_its_files() {
    assert!(error(&["kernel"], "", "kernel: {image: 'a/b:1'}").contains("has no file `kernel.tar`"));
    assert!(error(&["x"], "", "kernel: {image: 'a/b:1', tar: none}").contains("has no file `kernel`"));
    assert!(error(&["kernel -> x"], "", "kernel: {image: 'a/b:1', tar: none}").contains("is not a regular file"));
    assert!(error(&["kernel", "kernel.tar"], "", "kernel: {image: 'a/b:1'}").contains("the tar `kernel.tar`"));
    let paths = try_compose(&["vmlinuz", "u", "other"], "", "kernel: {image: 'a/b:1', tar: none, binary: vmlinuz, ucode: u}").unwrap();
    assert_eq!(paths, ["boot", "boot/cmdline", "boot/kernel", "boot/ucode.cpio"]);
}

#[test]
fn settings_are_checked() {
    for (label, text, part) in [
        ("{\"labels\":1}", SERVICE.to_owned(), "additional property `labels`"),
        ("", SERVICE.replace("name: s", "name: s, uid: nobody"), "the owner `nobody` is not the name of a container"),
        ("", SERVICE.replace("name: s", "name: s, capabilities: [CAP_NONE]"), "`CAP_NONE` is not a capability"),
        ("", SERVICE.replace("name: s", "name: s, binds: [/a]"), "the bind `/a`"),
        ("", SERVICE.replace("name: s", "name: s, binds: ['v:/a']"), "no volume `v`"),
        ("", SERVICE.replace("name: s", "name: s, rlimits: ['x,1,2']"), "has an unknown name"),
        ("", SERVICE.replace("name: s", "name: s, mounts: [{type: x}]"), "has no destination"),
        ("", SERVICE.replace("name: s", "name: s, oomScoreAdj: a"), "line 2: services.0.oomScoreAdj: expected a whole number"),
        ("", "files: [{path: x}]".to_owned(), "files[0] `x`"),
        ("", "files: [{path: ../x, contents: a}]".to_owned(), "leaves the root"),
        ("", "files: [{path: x, source: none}]".to_owned(), "cannot read the metadata of"),
        ("", "files: [{path: x, source: ~/a}]".to_owned(), "depends on the user's home folder"),
        ("", "files: [{path: x, contents: a, mode: '9'}]".to_owned(), "is not octal"),
        ("", "files: [{path: x, metadata: toml}]".to_owned(), "metadata must be"),
    ] {
        let error = error(&["x"], label, &text);
        assert!(error.contains(part) && error.starts_with("`t.yml`"), "{text}: {error}");
    }
    assert_eq!(
        try_compose(&[], "", "files: [{path: x, source: none, optional: true}, {path: /a/b/, directory: true}]").unwrap(),
        ["a", "a/b", "a/b"]
    );
}

#[test]
fn an_image_for_another_machine_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    cache
        .write(NewImage {
            reference: "a/b:1".into(),
            arch: "amd64".into(),
            layers: vec![NewLayer::Tar(tar(&["x"]).into())],
            ..NewImage::default()
        })
        .unwrap();
    let options = Options { arch: "arm64".into(), ..Options::default() };
    let error = compose(&Yml::parse(SERVICE, "t.yml").unwrap(), &Cached(&cache), &options, Vec::new()).unwrap_err();
    assert!(format!("{error:#}").contains("it is for amd64 instead of arm64"));
}

#[test]
fn references_say_where_they_stand() {
    let yml = Yml::parse(include_str!("fixtures/two.yml"), "two.yml").unwrap();
    let found: Vec<String> = image_references(&yml).into_iter().map(|r| format!("{} {}", r.place, r.image)).collect();
    assert_eq!(
        found,
        [
            "kernel spike/kernel:v1",
            "init[0] spike/ml:v1",
            "volumes[0] vola spike/ml:v1",
            "onshutdown[0] down spike/ml:v1",
            "services[0] s1 spike/ml:v1",
            "services[1] s2 spike/ml:v1"
        ]
    );
}
