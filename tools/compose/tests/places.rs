//! Images that disagree on what stands at a path: the tar has every file of both, or there is an error that names both.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Cached, tar};
use compose::{ComposeMeter, Options, Yml, compose};
use filetree::{Content, EntryKind, Kind, Meta, TarWriter, Tree};
use oci::{Cache, NewImage, NewLayer};
use std::sync::{Arc, Mutex};

/// Composes `text` with the images `t/0:1`, `t/1:1` … that have these members; returns the names in the tar, and its tree.
fn try_compose(images: &[&[&str]], text: &str) -> Result<(Vec<String>, Tree), String> {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    for (number, members) in images.iter().enumerate() {
        let mut layer = TarWriter::new(Vec::new());
        let members = tar(members);
        // `t/0:1` is a kernel's image, too.
        for (path, bytes) in [("kernel", b"k".to_vec()), ("kernel.tar", members.clone())] {
            let kind = EntryKind::Node(Kind::File { content: bytes.into(), link: None });
            layer.append(path.as_bytes(), &Meta::root(0o644, 1), &kind, &[]).unwrap();
        }
        let kernel = text.contains("kernel:") && number == 0;
        let layer = if kernel { layer.finish().unwrap() } else { members };
        let layers = vec![NewLayer::Tar(layer.into())];
        cache.write(NewImage { reference: format!("t/{number}:1"), arch: "amd64".into(), layers, ..NewImage::default() }).unwrap();
    }
    let yml = Yml::parse(text, "t.yml").unwrap();
    let mut tar = Vec::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let progress = ComposeMeter(Arc::new(move |done, total| told.lock().unwrap().push((done, total))));
    compose(&yml, &Cached(&cache), &Options { progress, ..Options::default() }, &mut tar).map_err(|error| format!("{error:#}"))?;
    let (seen, begun) = (std::mem::take(&mut *seen.lock().unwrap()), images.len());
    assert!(seen.is_sorted() && seen.len() == begun + 1 && seen[0].0 == 0 && seen[begun].0 == seen[begun].1, "{seen:?}");
    let content = Content::from(tar);
    let entries: Vec<_> = filetree::read_tar_content(&content).unwrap().into_iter().map(|(entry, _)| entry).collect();
    let names = entries.iter().map(|entry| String::from_utf8(entry.path.clone()).unwrap()).collect();
    Ok((names, filetree::entries_to_tree(entries).unwrap()))
}

const TWO: &str = "init: ['t/0:1', 't/1:1']";

fn merged(first: &[&str], second: &[&str]) -> Tree {
    try_compose(&[first, second], TWO).unwrap().1
}

fn refused(first: &[&str], second: &[&str]) -> String {
    let error = try_compose(&[first, second], TWO).unwrap_err();
    let error = error.strip_prefix("`t.yml`: init[1]: image `docker.io/t/1:1`: ").unwrap();
    error.strip_suffix("\nhint: let both write into the same folder, or to different paths").unwrap().to_owned()
}

fn text(tree: &Tree, path: &str) -> String {
    match &tree.get(path).unwrap_or_else(|| panic!("no {path}")).kind {
        Kind::File { content, .. } => String::from_utf8(content.read_all().unwrap()).unwrap(),
        Kind::Symlink(target) => format!("-> {}", String::from_utf8(target.clone()).unwrap()),
        Kind::Dir(_) => "a folder".to_owned(),
        _ => "special".to_owned(),
    }
}

#[test]
fn a_link_in_the_place_of_the_kernels_modules_is_refused() {
    let yml = "kernel: {image: 't/0:1'}\ninit: ['t/1:1']";
    let modules = &["lib/", "lib/modules/", "lib/modules/6.1/", "lib/modules/6.1/a.ko"];
    let error = try_compose(&[modules, &["usr/", "usr/lib/", "usr/lib/libc.so", "lib -> usr/lib"]], yml).unwrap_err();
    assert_eq!(
        error,
        "`t.yml`: init[0]: image `docker.io/t/1:1`: `lib/modules/6.1/a.ko` of kernel (docker.io/t/0:1) would be lost: \
         init[0] (docker.io/t/1:1) has a link to `usr/lib` at `lib` there\nhint: let both write into the same folder, or to different paths"
    );
    // The other way round, as both images have a folder or neither has a file there.
    for init in [&["lib/", "lib/x"][..], &["usr/lib/x"]] {
        let (_, tree) = try_compose(&[modules, init], yml).unwrap();
        assert_eq!(text(&tree, "lib/modules/6.1/a.ko"), "lib/modules/6.1/a.ko");
    }
}

#[test]
fn folders_are_merged_and_files_replaced() {
    let tree = merged(
        &["a/", "a/x", "f", "l -> f", "m -> f", "n", "empty/", "gone/"],
        &["a/", "a/y", "f", "l -> a", "m", "n -> f", "empty -> a", "gone"],
    );
    for (path, want) in [("a/x", "a/x"), ("a/y", "a/y"), ("l", "-> a"), ("m", "m"), ("n", "-> f"), ("empty", "-> a"), ("gone", "gone")] {
        assert_eq!(text(&tree, path), want, "{path}");
    }
}

#[test]
fn a_folder_over_a_link_goes_through_it() {
    for target in ["usr/lib", "/usr/lib", "./usr/../usr/lib", "../../usr/lib", "chain"] {
        let link = format!("lib -> {target}");
        let first = ["chain -> usr/lib", "usr/", "usr/lib/", "usr/lib/libc", &link];
        let (names, tree) = try_compose(&[&first, &["lib/", "lib/sub/", "lib/sub/y", "hard => lib/sub/y"]], TWO).unwrap();
        assert_eq!(text(&tree, "lib"), format!("-> {target}"));
        assert_eq!((text(&tree, "usr/lib/libc").as_str(), text(&tree, "usr/lib/sub/y").as_str()), ("usr/lib/libc", "lib/sub/y"));
        assert_eq!(text(&tree, "hard"), "lib/sub/y");
        // The tar itself leads through no link, so that its reader does not matter.
        assert!(names.contains(&"usr/lib/sub/y".to_owned()) && !names.iter().any(|name| name.starts_with("lib/")), "{names:?}");
    }
    let (_, tree) =
        try_compose(&[&["run/", "var/", "var/run -> /run"]], "init: ['t/0:1']\nfiles: [{path: var/run/x/y, contents: hi}]").unwrap();
    assert_eq!((text(&tree, "var/run").as_str(), text(&tree, "run/x/y").as_str()), ("-> /run", "hi"));
}

#[test]
fn links_of_a_container_stay_in_it() {
    let members = &["usr/lib/", "lib -> /usr/lib", "up -> ../../../../../../usr", "etc/x"][..];
    let yml = "init: ['t/0:1']\nvolumes: [{name: v, image: 't/1:1'}]";
    let (names, tree) = try_compose(&[&["usr/lib/own"], members], yml).unwrap();
    assert_eq!(text(&tree, "usr/lib/own"), "usr/lib/own");
    assert!(names.contains(&"containers/volumes/v/lower/etc/x".to_owned()));
    let (_, tree) = try_compose(&[&["containers -> elsewhere", "elsewhere/"], members], yml).unwrap();
    assert_eq!(text(&tree, "elsewhere/volumes/v/lower/etc/x"), "etc/x");
}

#[test]
fn what_would_make_a_file_disappear_is_refused_with_both_images() {
    let (old, new) = ("init[0] (docker.io/t/0:1) would be lost: init[1] (docker.io/t/1:1) has", "there");
    for (first, second, lost, by) in [
        (&["a/", "a/x"][..], &["a"][..], "`a/x`", "a file at `a`"),
        (&["a/b/c"], &["a -> z"], "`a/b/c`", "a link to `z` at `a`"),
        (&["a"], &["a/", "a/x"], "the file `a`", "a folder"),
        (&["a"], &["a/x"], "the file `a`", "a folder with `x`"),
        (&["l -> none"], &["l/"], "the link `l` -> `none`, which leads to no folder", "a folder"),
        (&["d/x", "l -> d"], &["l"], "the link `l` -> `d`, which leads to a folder with entries", "a file"),
        (&["d/x", "l -> d"], &["e/", "l -> e"], "the link `l` -> `d`, which leads to a folder with entries", "a link to `e`"),
    ] {
        assert_eq!(refused(first, second), format!("{lost} of {old} {by} {new}"));
    }
    merged(&["d/x", "l -> d"], &["l -> /d"]);
    let error = try_compose(&[&["l -> l"], &["l/x"]], TWO).unwrap_err();
    assert!(error.ends_with("too many levels of symbolic links in `l/x`"), "{error}");
}
