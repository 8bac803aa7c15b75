//! The archive and deploy steps in process, compared with the scripts that do the same in docker.

use super::*;
use filetree::{Meta, Node};
use std::{collections::BTreeMap, path::PathBuf};

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (path, text) in files {
        tree.insert(path, Node::file(if path.contains("bin/") { 0o755 } else { 0o644 }, 7, Content::from(*text))).unwrap();
    }
    tree
}

/// A small archive: names, dependencies and files.
fn packages() -> Vec<(Pin, Vec<u8>)> {
    let mut twins = tree(&[("usr/bin/app", "app"), ("usr/share/doc/app/copyright", "free"), ("usr/share/doc/app/README", "read")]);
    if let Some(Node { kind: Kind::File { link, .. }, .. }) = twins.get_mut("usr/bin/app") {
        *link = Some(1);
    }
    let twin = twins.get("usr/bin/app").unwrap().clone();
    twins.insert("usr/bin/twin", twin).unwrap();
    twins.insert("usr/share/doc/lib", Node { meta: Meta::root(0o777, 0), kind: Kind::Symlink(b"app".to_vec()) }).unwrap();
    let all = [
        ("app", "1:2-3", &["lib", "odd"][..], twins),
        ("lib", "1", &["ca"], tree(&[("lib/x/lib.so", "lib"), ("usr/share/man/man3/lib.3", "man"), ("usr/share/locale/de", "ja")])),
        ("ca", "1", &["lib"], tree(&[("usr/share/ca-certificates/z/a.crt", "Z\n"), ("usr/share/ca-certificates/b.crt", "B\n")])),
        ("odd", "1", &[], tree(&[("etc/odd.conf", "odd"), ("lib/x/more", "more")])),
        ("busybox-static", "1", &[], tree(&[("bin/busybox", "box"), ("usr/share/man/man1/busybox.1", "man")])),
    ];
    let make = |(name, version, depends, files): (&str, &str, &[&str], Tree)| {
        let bytes = make_deb(name, version, "amd64", &files);
        let mut pin = pin_of(name, version, &bytes, depends);
        pin.path = pin.path.replace(':', "%3a");
        (pin, bytes)
    };
    all.map(make).into()
}

fn lock() -> Lock {
    Lock { pins: packages().into_iter().map(|(pin, _)| (pin.name.clone(), pin)).collect() }
}

fn fetched(folder: &Path, lock: &Lock) -> Fetched {
    let files = packages().into_iter().filter(|(pin, _)| lock.pins.contains_key(&pin.name)).map(|(pin, bytes)| {
        let path = folder.join(&pin.sha256);
        std::fs::write(&path, bytes).unwrap();
        (pin, path)
    });
    Fetched { files: files.collect() }
}

fn build(stage: &mut Tree, fetch: &dyn Fn(&Lock, &str, &str) -> anyhow::Result<Fetched>) -> anyhow::Result<()> {
    stage.insert("etc/eve-debian/mirrors/bookworm/amd64.lock", Node::file(0o644, 0, Content::from(lock().to_text("").as_str())))?;
    stage.insert("etc/eve-debian/applets", Node::file(0o644, 0, Content::from("# links\nsh\ntar\n")))?;
    build_archive(stage, "amd64", &ArchiveOptions { fetch, spool: &std::env::temp_dir(), mtime: 9 })
}

#[test]
fn an_archive_is_made_and_made_again_from_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Tree::new();
    build(&mut stage, &|lock, _, _| Ok(fetched(folder.path(), lock))).unwrap();
    let image = Tree { root: stage.get("archive").unwrap().clone() };
    let paths: Vec<String> = list(&image).lines().map(|line| line.split(" file ").next().unwrap().to_owned()).collect();
    assert_eq!(
        paths,
        [
            " 755 dir",
            "bin 755 dir",
            "bin/busybox 755",
            "bin/sh 777 -> busybox",
            "bin/tar 777 -> busybox",
            "packages 755 dir",
            "packages/amd64 755 dir",
            "packages/amd64/app_1%3a2-3_amd64.deb 644",
            "packages/amd64/busybox-static_1_amd64.deb 644",
            "packages/amd64/ca_1_amd64.deb 644",
            "packages/amd64/lib_1_amd64.deb 644",
            "packages/amd64/lock 644",
            "packages/amd64/odd_1_amd64.deb 644",
            "tmp 1777 dir",
        ]
    );
    // A stage based on that image fetches nothing.
    let mut again = image.clone();
    build(&mut again, &|_, _, _| anyhow::bail!("not needed")).unwrap();
    assert_eq!(list(&Tree { root: again.get("archive").unwrap().clone() }), list(&image));
    // A damaged package of the older archive is fetched again.
    again.insert("packages/amd64/lib_1_amd64.deb", Node::file(0o644, 0, Content::from("x"))).unwrap();
    let seen = std::cell::RefCell::new(Vec::new());
    let fetch = |lock: &Lock, _: &str, _: &str| {
        seen.borrow_mut().extend(lock.pins.keys().cloned());
        Ok(fetched(folder.path(), lock))
    };
    build(&mut again, &fetch).unwrap();
    assert_eq!(*seen.borrow(), ["lib"]);
}

#[test]
fn a_missing_lock_or_damaged_store_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let options = ArchiveOptions { fetch: &|_, _, _| anyhow::bail!("no"), spool: folder.path(), mtime: 0 };
    let error = build_archive(&mut Tree::new(), "riscv64", &options).unwrap_err().to_string();
    assert!(error.starts_with("no Debian release is pinned for riscv64"), "{error}");
    let mut twice = Tree::new();
    for release in ["bookworm", "trixie"] {
        twice.insert(format!("etc/eve-debian/mirrors/{release}/amd64.lock"), Node::file(0o644, 0, Content::from(""))).unwrap();
    }
    let error = build_archive(&mut twice, "amd64", &options).unwrap_err().to_string();
    assert!(error.starts_with("bookworm, trixie are all pinned for amd64"), "{error}");
    let damaged = |lock: &Lock, _: &str, _: &str| {
        let fetched = fetched(folder.path(), lock);
        std::fs::write(&fetched.files[0].1, "junk")?;
        Ok(fetched)
    };
    let error = build(&mut Tree::new(), &damaged).unwrap_err().to_string();
    assert!(error.contains("damaged") && error.contains("hint: run the command again"), "{error}");
    // Another pin of the same name does not replace the lock's.
    let other = |lock: &Lock, _: &str, _: &str| {
        let mut fetched = fetched(folder.path(), lock);
        std::fs::write(&fetched.files[0].1, "junk")?;
        fetched.files[0].0.sha256 = super::super::download::digest(&mut &b"junk"[..])?;
        Ok(fetched)
    };
    let error = build(&mut Tree::new(), &other).unwrap_err().to_string();
    assert!(error.contains("damaged"), "{error}");
}

#[test]
fn packages_below_usr_alone_are_found_at_the_old_places() {
    let folder = tempfile::tempdir().unwrap();
    let lib = tree(&[
        ("usr/bin/sh", "shell"),
        ("usr/lib/ld.so.1", "loader"),
        ("usr/lib/x/lib.so", "lib"),
        ("usr/sbin/tool", "tool"),
        ("lib/own", "own"),
    ]);
    let made = [("busybox-static", tree(&[("usr/bin/busybox", "box")])), ("lib", lib)].map(|(name, files)| {
        let bytes = make_deb(name, "1", "amd64", &files);
        let pin = pin_of(name, "1", &bytes, &[]);
        std::fs::write(folder.path().join(&pin.sha256), bytes).unwrap();
        pin
    });
    let lock = Lock { pins: made.into_iter().map(|pin| (pin.name.clone(), pin)).collect() };
    let mut stage = Tree::new();
    let text = Content::from(lock.to_text("").as_str());
    stage.insert("etc/eve-debian/mirrors/trixie/amd64.lock", Node::file(0o644, 0, text)).unwrap();
    let fetch = |lock: &Lock, _: &str, _: &str| {
        Ok(Fetched { files: lock.pins.values().map(|pin| (pin.clone(), folder.path().join(&pin.sha256))).collect() })
    };
    build_archive(&mut stage, "amd64", &ArchiveOptions { fetch: &fetch, spool: folder.path(), mtime: 9 }).unwrap();
    let mut image = Tree { root: stage.get("archive").unwrap().clone() };
    assert!(image.get("bin/busybox").is_some() && image.get("packages/amd64/merged-usr").is_some());
    assert!(list(&image).contains("bin/sh 777 -> busybox\n"));
    run_deploy(&mut image, &[("PKGS", "lib"), ("BUILD_PKGS", "busybox-static lib")], 1).unwrap();
    // A program replaces the link to busybox.
    assert!(list(&image).contains("bin/sh 777 -> ../usr/bin/sh\n") && list(&image).contains("bin/busybox 755 file"));
    let out = list(&Tree { root: image.get("out").unwrap().clone() });
    for line in ["lib 755 dir", "lib/ld.so.1 777 -> ../usr/lib/ld.so.1", "lib/x 777 -> ../usr/lib/x", "sbin/tool 777 -> ../usr/sbin/tool"] {
        assert!(out.lines().any(|found| found == line), "{line}: {out}");
    }
    assert!(out.contains("lib/own 644 file ") && !out.contains("lib/own ->") && !out.contains("bin/busybox"), "{out}");
    // A later deploy finds the links of the first one.
    run_deploy(&mut image, &[("PKGS", "lib")], 1).unwrap();
    assert_eq!(list(&Tree { root: image.get("out").unwrap().clone() }), out);
    same_as_the_script(&image_of(&lock, folder.path()), &[("PKGS", "lib")]);
}

/// A stage with the archive of these packages, which have files below /usr only.
fn image_of(lock: &Lock, folder: &Path) -> Tree {
    let mut stage = Tree::new();
    for pin in lock.pins.values() {
        let bytes = std::fs::read(folder.join(&pin.sha256)).unwrap();
        stage.insert(format!("packages/amd64/{}", pin.file_name()), Node::file(0o644, 0, Content::from(bytes))).unwrap();
    }
    stage.insert("packages/amd64/lock", Node::file(0o644, 0, Content::from(lock.to_text("# x\n").as_str()))).unwrap();
    stage.insert("packages/amd64/merged-usr", Node::file(0o644, 0, Content::from(""))).unwrap();
    stage.insert("tmp", Node::dir(0o1777, 0)).unwrap();
    stage
}

/// A stage based on the archive image.
fn stage() -> Tree {
    let mut stage = Tree::new();
    for (pin, bytes) in packages() {
        stage.insert(format!("packages/amd64/{}", pin.file_name()), Node::file(0o644, 0, Content::from(bytes))).unwrap();
    }
    stage.insert("packages/amd64/lock", Node::file(0o644, 0, Content::from(lock().to_text("# x\n").as_str()))).unwrap();
    stage.insert("tmp", Node::dir(0o1777, 0)).unwrap();
    stage
}

fn run_deploy(stage: &mut Tree, env: &[(&str, &str)], jobs: usize) -> anyhow::Result<Deployed> {
    let env: BTreeMap<String, String> = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    deploy(stage, "amd64", &env, &DeployOptions { spool: &std::env::temp_dir(), jobs, mtime: 3 })
}

#[test]
fn closures_land_in_their_places() {
    let mut one = stage();
    let env = [("PKGS", " app "), ("BUILD_PKGS_amd64", "odd"), ("PKGS_arm64", "never"), ("DROP_PKGS", "ca unknown")];
    let done = run_deploy(&mut one, &env, 1).unwrap();
    assert_eq!(done, Deployed { build: vec!["odd 1".into()], out: vec!["app 1:2-3".into(), "lib 1".into(), "odd 1".into()] });
    assert!(one.get("etc/odd.conf").is_some() && one.get("usr/bin/app").is_none());
    for there in ["usr/bin/twin", "lib/x/more", "usr/share/doc/app/copyright", "usr/share/doc/lib", "var/lib/dpkg/status.d/lib"] {
        assert!(one.get(format!("out/{there}")).is_some(), "{there}");
    }
    for absent in ["usr/share/man", "usr/share/locale", "usr/share/doc/app/README", "var/lib/dpkg/status.d/ca"] {
        assert!(one.get(format!("out/{absent}")).is_none(), "{absent}");
    }
    let mut many = stage();
    run_deploy(&mut many, &env, 4).unwrap();
    assert_eq!(list(&one), list(&many), "threads change nothing");
}

#[test]
fn what_the_archive_lacks_is_named() {
    let error = format!("{:#}", run_deploy(&mut stage(), &[("PKGS", "apq lib")], 1).unwrap_err());
    assert!(error.starts_with("in PKGS: the Debian archive has no `apq` (did you mean `app`?)"), "{error}");
    let error = deploy(&mut stage(), "arm64", &BTreeMap::new(), &DeployOptions { spool: &std::env::temp_dir(), jobs: 1, mtime: 0 });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("for arm64 (`/packages/arm64`), but one for amd64\nhint:"), "{error}");
}

fn package_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pkg/debian")
}

/// Writes a tree to disk for the script.
fn write_out(tree: &Tree, to: &Path) {
    tree.walk(&mut |path, node| {
        let path = to.join(std::str::from_utf8(path)?);
        match &node.kind {
            Kind::Dir(_) => std::fs::create_dir_all(path)?,
            Kind::File { content, .. } => std::fs::write(path, content.read_all()?)?,
            other => panic!("{other:?}"),
        }
        Ok(())
    })
    .unwrap();
}

/// A busybox for the scripts, or a note that it is missing.
fn busybox() -> Option<&'static str> {
    let Some(busybox) = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists()) else {
        skips::missing("busybox", "busybox-static");
        return None;
    };
    if !tool(Path::new("/"), &[busybox, "--list"], &[])?.lines().any(|applet| applet == "ar") {
        skips::missing("busybox with ar", "busybox-static");
        return None;
    }
    Some(busybox)
}

/// Compares what the script unpacks of a stage's archive with what [`deploy`] does, and returns the script's root.
fn same_as_the_script(stage: &Tree, env: &[(&str, &str)]) -> Option<(tempfile::TempDir, &'static str)> {
    let busybox = busybox()?;
    let folder = tempfile::tempdir().unwrap();
    let mut ours = stage.clone();
    run_deploy(&mut ours, env, 2).unwrap();
    let root = folder.path().join("root");
    write_out(stage, &root);
    let script = package_folder().join("eve-debian-deploy.sh");
    let more = [("EVE_DEBIAN_ROOT", root.to_str().unwrap()), ("EVE_DEBIAN_BUSYBOX", busybox)];
    tool(folder.path(), &[busybox, "sh", script.to_str().unwrap()], &[env, &more].concat());
    let theirs = filetree::read_dir(&root, &mut |_, meta| {
        meta.mode &= 0o777;
        true
    });
    // Compares unpacked files only: the modes of the others are set by this test.
    let unpacked = |tree: &Tree| -> String {
        let lines = list(tree);
        lines
            .lines()
            .filter(|line| !line.starts_with("tmp") && !line.starts_with("packages") && !line.starts_with(' '))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(unpacked(&ours), unpacked(&theirs.unwrap()));
    Some((folder, busybox))
}

#[test]
fn the_script_for_docker_does_the_same() {
    let env = [("PKGS", "lib"), ("PKGS_amd64", "app"), ("BUILD_PKGS", "busybox-static odd"), ("DROP_PKGS", "nothing")];
    let Some((folder, busybox)) = same_as_the_script(&stage(), &env) else { return };
    let root = folder.path().join("root");
    assert_eq!(std::fs::read_dir(root.join("tmp")).unwrap().count(), 0, "the script tidies up");
    let certificates = std::fs::read_to_string(root.join("out/etc/ssl/certs/ca-certificates.crt")).unwrap();
    assert_eq!(certificates, "B\nZ\n");
    let script = package_folder().join("eve-debian-deploy.sh");
    let more = [("EVE_DEBIAN_ROOT", root.to_str().unwrap()), ("EVE_DEBIAN_BUSYBOX", busybox)];
    let failed = Command::new(busybox).arg("sh").arg(script).envs(more).env("PKGS", "apq").output().unwrap();
    assert!(!failed.status.success());
    assert!(String::from_utf8_lossy(&failed.stderr).contains("the Debian archive has no `apq`"));
}

#[test]
fn the_scripts_pass_shellcheck() {
    tool(&package_folder(), &["shellcheck", "--shell=dash", "eve-debian-deploy.sh", "eve-debian-archive.sh"], &[]);
}
