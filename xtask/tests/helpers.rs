//! The old helper scripts as commands: on this tree, on small ones, and against a web server of the test's own.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use common::{Xtask, git, init, repository, tool, wants};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::Path,
};

/// A tree with one package, and nothing that could be built.
fn small_tree(root: &Path) {
    let profile = std::fs::read_to_string(repository().join("xtask.toml")).unwrap();
    for (name, text) in [
        ("xtask.toml", profile.as_str()),
        ("pkg/a/build.yml", "org: o\nimage: eve-a\n"),
        ("pkg/a/Dockerfile", "FROM scratch\n"),
        ("pkg/kernel/build.yml", "org: o\nimage: eve-kernel\n"),
        ("pkg/kernel/Dockerfile", "FROM scratch\n"),
        ("pkg/b/Dockerfile", "FROM o/eve-a:old AS a\nFROM\to/eve-a:0123-amd64\nFROM o/eve-ab:old\n"),
        ("pkg/b/vendor/x/Dockerfile", "FROM o/eve-a:old\n"),
        ("images/rootfs.yml.in", "init:\n  - A_TAG # A_TAG\n  - FOO_TAG\n  - KERNEL_TAG\nfiles:\n  - {path: v, contents: EVE_VERSION}\n"),
        ("Makefile", "# o/eve-a:old\n"),
        ("x.yml", "a: o/eve-a:old\nb: [o/eve-a:old]\n"),
    ] {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    std::os::unix::fs::symlink("x.yml", root.join("link.yml")).unwrap();
    init(root, "main", "tree");
}

/// Serves `files` by name to whoever asks; the address.
fn serve(files: Vec<(&'static str, Vec<u8>)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let path = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
            let found = files.iter().find(|(name, _)| *name == path);
            let (status, body) = found.map_or(("404 Not Found", &b"none"[..]), |(_, body)| ("200 OK", body));
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    address
}

fn xtask(root: &Path) -> Xtask {
    Xtask::new(root).env("http_proxy", "").env("no_proxy", "127.0.0.1")
}

#[test]
fn old_helpers_are_one_line_that_forwards() {
    let mut scripts = Vec::new();
    for entry in std::fs::read_dir(repository().join("tools")).unwrap() {
        let path = entry.unwrap().path();
        // fake-zboot is mounted into containers that have no cargo.
        if path.extension().is_none_or(|extension| extension != "sh") || path.ends_with("fake-zboot.sh") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let work: Vec<&&str> = lines.iter().filter(|line| !line.starts_with('#')).collect();
        assert_eq!((work.len(), lines[0]), (1, "#!/bin/sh"), "{}", path.display());
        assert!(work[0].starts_with("exec cargo ") && work[0].ends_with(" \"$@\""), "{}", path.display());
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o111, 0o111, "{}", path.display());
        scripts.push(path.to_string_lossy().into_owned());
    }
    assert!(scripts.len() >= 12, "{scripts:?}");
    if !wants("shellcheck", "shellcheck") {
        return;
    }
    tool("shellcheck", &scripts.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn the_table_and_files_are_filled_in() {
    let folder = tempfile::tempdir().unwrap();
    small_tree(folder.path());
    let tag = xtask(folder.path()).args(["show-tag", "a"]).ok();
    let table = xtask(folder.path()).env("DOCKER_ARCH_TAG", "arm64").args(["parse-pkgs"]).ok();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("CURDIR=/"), "{table}");
    assert_eq!(lines[1], format!("A_TAG={}-arm64", tag.trim()));
    let composed = folder.path().join("out.yml");
    std::fs::write(folder.path().join("out.yml.yq"), ".init += [\"A_TAG\"]").unwrap();
    let words = ["compose-image-yml", "images/rootfs.yml.in", composed.to_str().unwrap(), "0.0.0-dev-12345678-kvm-amd64"];
    xtask(folder.path()).args(words).ok();
    let output = xtask(folder.path()).env("DOCKER_ARCH_TAG", "amd64").env("EVE_HASH", "1.2").args(["parse-pkgs", "out.yml"]).output();
    let (out, err) = common::texts(&output);
    assert_eq!(
        out,
        "init:\n  - o/eve-a:1.2-amd64\n  - FOO_TAG\n  - o/eve-kernel:1.2-amd64\n  - o/eve-a:1.2-amd64\nfiles:\n  - path: v\n    contents: '0.0.0-dev-12345678-kvm-amd64'\n"
    );
    assert!(err.contains("warning: out.yml: FOO_TAG is not in the table"), "{err}");
    let (code, err) = xtask(folder.path()).args(["compose-image-yml", "images/none.yml.in", "x", "1"]).fails();
    assert!(code == 1 && err.contains("images/none.yml.in"), "{code} {err}");
    assert_eq!(xtask(folder.path()).args(["compose-image-yml", "a"]).fails().0, 2);
}

#[test]
fn the_image_of_everything_has_another_tag_whenever_something_changes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    small_tree(root);
    let profile = std::fs::read_to_string(root.join("xtask.toml")).unwrap();
    std::fs::write(root.join("xtask.toml"), profile + "\n[eve]\nfolder = \"pkg/eve\"\ntag = \"z/eve\"\ncopies = []\n").unwrap();
    std::fs::create_dir_all(root.join("pkg/eve")).unwrap();
    std::fs::write(root.join("pkg/eve/build.yml"), "image: eve\n").unwrap();
    std::fs::write(root.join("pkg/eve/Dockerfile.in"), "FROM A_TAG\n").unwrap();
    let tag = || {
        let table = xtask(root).args(["parse-pkgs"]).ok();
        let line = table.lines().find_map(|line| line.strip_prefix("EVE_TAG=")).unwrap_or_else(|| panic!("{table}")).to_owned();
        assert!(line.starts_with("z/eve:"), "{line}");
        line
    };
    let mut seen = vec![tag()];
    assert_eq!(tag(), seen[0]);
    for (file, text) in [("pkg/eve/Dockerfile.in", "FROM A_TAG AS a\n"), ("pkg/a/Dockerfile", "FROM scratch\nUSER 1\n")] {
        std::fs::write(root.join(file), text).unwrap();
        seen.push(tag());
    }
    git(root, &["commit", "-q", "-am", "change"]);
    seen.push(tag());
    let all: std::collections::BTreeSet<&String> = seen.iter().collect();
    assert_eq!(all.len(), seen.len(), "{seen:?}");
}

#[test]
fn images_of_the_present_state_and_only_ones_are_not_old() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tree");
    small_tree(&root);
    let tag = xtask(&root).args(["show-tag", "a"]).ok();
    let (repository, tag) = tag.trim().split_once(':').unwrap();
    let list = format!("{repository}\\tnewer\\ti3\\n{repository}\\t{tag}-amd64\\ti2\\n{repository}\\told\\ti1\\no/eve\\t1\\ti0\\n");
    let docker = folder.path().join("docker");
    let script = format!(
        "#!/bin/sh\n[ \"$*\" = 'image ls --format {{{{.Repository}}}}\\t{{{{.Tag}}}}\\t{{{{.ID}}}} --filter reference=o/*' ] || exit 1\nprintf '{list}'\n"
    );
    std::fs::write(&docker, script).unwrap();
    tool("chmod", &["+x", docker.to_str().unwrap()]);
    let old = |words: &[&str]| xtask(&root).env("XTASK_TOOL_DOCKER", &docker).args(["oldimages"]).args(words).ok();
    assert_eq!(old(&[]), "i3 i1\n");
    assert_eq!(old(&["o/eve"]), "\n");
    std::fs::write(&docker, "#!/bin/sh\necho no daemon >&2; exit 1\n").unwrap();
    let (code, err) = xtask(&root).env("XTASK_TOOL_DOCKER", &docker).args(["oldimages"]).fails();
    assert!(code == 1 && err.contains("`docker` failed while listing its images") && err.contains("no daemon"), "{code} {err}");
}

#[test]
fn a_kernel_says_who_changed_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    small_tree(root);
    std::fs::write(root.join(".gitignore"), "build.yml\n").unwrap();
    let template =
        "org: o\nimage: eve-kernel\nbuildArgs:\n  - KBUILD_BUILD_TIMESTAMP=\n  - KBUILD_BUILD_USER=eve\n  - SOURCE_DATE_EPOCH=\n";
    std::fs::write(root.join("pkg/kernel/build.yml.in"), template).unwrap();
    git(root, &["rm", "-q", "--cached", "pkg/kernel/build.yml"]);
    git(root, &["add", "-A"]);
    git(root, &["commit", "-q", "-m", "kernel"]);
    let made = || {
        xtask(root).env("USER", "somebody").args(["kernel-build-yml"]).ok();
        std::fs::read_to_string(root.join("pkg/kernel/build.yml")).unwrap()
    };
    let clean = made();
    assert!(
        clean
            .ends_with("  - KBUILD_BUILD_TIMESTAMP=Fri Jan 2 03:04:05 2026\n  - KBUILD_BUILD_USER=eve\n  - SOURCE_DATE_EPOCH=1767323045\n"),
        "{clean}"
    );
    let tag = xtask(root).args(["show-tag", "kernel"]).ok();
    std::fs::write(root.join("pkg/a/x"), "").unwrap();
    assert_eq!(made(), clean, "another package's change");
    for names in [&["x"][..], &["x", "y"]] {
        names.iter().for_each(|name| std::fs::write(root.join("pkg/kernel").join(name), "").unwrap());
        let dirty = made();
        assert!(dirty.contains("KBUILD_BUILD_USER=somebody\n") && !dirty.contains("SOURCE_DATE_EPOCH=1767323045"), "{dirty}");
        assert_eq!(made(), dirty, "the time is that of the change");
    }
    assert_ne!(xtask(root).args(["show-tag", "kernel"]).ok(), tag);
}

#[test]
fn images_get_their_tags_everywhere_or_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    small_tree(root);
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let dry = xtask(root).args(["-n", "update-component-sha", "--image", "o/eve-a", "new"]).ok();
    assert_eq!(dry, "pkg/b/Dockerfile\nx.yml\n");
    assert!(read("x.yml").contains("a: o/eve-a:old"));
    xtask(root).args(["update-component-sha", "--image", "o/eve-a:new"]).ok();
    assert_eq!(read("pkg/b/Dockerfile"), "FROM o/eve-a:new AS a\nFROM\to/eve-a:new\nFROM o/eve-ab:old\n");
    assert_eq!(read("x.yml"), "a: o/eve-a:new\nb: [o/eve-a:new]\n");
    assert_eq!(read("pkg/b/vendor/x/Dockerfile"), "FROM o/eve-a:old\n");
    assert!(root.join("link.yml").is_symlink());
    assert_eq!(xtask(root).args(["update-component-sha", "new", "newer"]).ok(), "pkg/b/Dockerfile\nx.yml\n");
    assert_eq!(read("x.yml"), "a: o/eve-a:newer\nb: [o/eve-a:newer]\n");
    let tag = xtask(root).args(["show-tag", "a"]).ok();
    xtask(root).args(["update-component-sha", "--pkg", "./pkg/a"]).ok();
    assert!(read("pkg/b/Dockerfile").starts_with(&format!("FROM {} AS a\n", tag.trim())));
    for (words, code) in [
        (&["update-component-sha"][..], 2),
        (&["update-component-sha", "--image", "o/eve-a"], 2),
        (&["update-component-sha", "--image", "o/eve-a", "a b"], 2),
        (&["update-component-sha", "--pkg", "pkg/none"], 2),
        (&["update-component-sha", "--hash", "nowhere", "x"], 1),
    ] {
        assert_eq!(xtask(root).args(words).fails().0, code, "{words:?}");
    }
}

#[test]
fn a_kernels_sources_are_fetched_whole_or_not_at_all() {
    if !wants("curl", "curl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    small_tree(folder.path());
    let address = serve(vec![("v5/linux-5.1.tar.xz", b"kernel".to_vec())]);
    let dockerfile = |name: &str| {
        format!(
            "FROM x AS t-amd64\nENV V=5.1\nFROM t-${{TARGETARCH}} AS b\nADD {address}/v5/{name} /k\nFROM scratch\nCOPY --from=b /k /k\n"
        )
    };
    std::fs::write(folder.path().join("good"), dockerfile("linux-${V}.tar.xz")).unwrap();
    std::fs::write(folder.path().join("bad"), dockerfile("none")).unwrap();
    let name = format!("{}_v5_linux-5.1.tar.xz", address.trim_start_matches("http://"));
    let words = ["get-kernel-source", "-s", "out", "-p", "kernel", "-u", "urls", "good", "ZARCH=amd64"];
    assert_eq!(xtask(folder.path()).args(words).ok(), format!("kernel,{address}/v5/linux-5.1.tar.xz,,kernel/{name}\n"));
    assert_eq!(std::fs::read(folder.path().join("out/kernel").join(&name)).unwrap(), b"kernel");
    assert_eq!(std::fs::read_to_string(folder.path().join("out/urls")).unwrap(), format!("{address}/v5/linux-5.1.tar.xz\n"));
    let (code, err) = xtask(folder.path()).args(words).fails();
    assert!(code == 2 && err.contains("already exists"), "{code} {err}");
    let (code, err) = xtask(folder.path()).args(["get-kernel-source", "-s", "out2", "bad", "ZARCH=amd64"]).fails();
    assert!(code == 1 && err.contains("`curl` failed while fetching") && err.contains("404"), "{code} {err}");
    assert_eq!(std::fs::read_dir(folder.path().join("out2")).unwrap().count(), 0);
    xtask(folder.path()).args(["generate-sources-manifests", "out"]).ok();
    let manifest = std::fs::read_to_string(folder.path().join("out/collected_sources_manifest.csv")).unwrap();
    assert!(manifest.ends_with(&format!(",5.1,,kernel/{name}\n")), "{manifest}");
}

#[test]
fn alpine_sources_are_checked_by_their_digests() {
    if !wants("curl", "curl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (root, aports) = (folder.path().join("tree"), folder.path().join("aports"));
    small_tree(&root);
    let address = serve(vec![("foo-1.tar", b"good".to_vec()), ("evil.tar", b"<!DOCTYPE html>".to_vec())]);
    let sum = tool("sh", &["-c", "printf good | sha512sum | cut -d' ' -f1"]);
    let sum = sum.trim();
    let script = format!(
        "pkgname=foo\npkgver=1\nsource=\"{address}/$pkgname-$pkgver.tar\n\t{address}/evil.tar\n\t{address}/gone.tar\n\tfix.patch\"\nsha512sums=\"{sum}  foo-1.tar\n{sum}  evil.tar\n{sum}  gone.tar\n{sum}  fix.patch\"\n"
    );
    std::fs::create_dir_all(aports.join("community/foo")).unwrap();
    std::fs::write(aports.join("community/foo/APKBUILD"), script).unwrap();
    std::fs::write(aports.join("community/foo/fix.patch"), "good").unwrap();
    init(&aports, "main", "foo");
    let commit = tool("git", &["-C", aports.to_str().unwrap(), "rev-parse", "HEAD"]);
    let commit = commit.trim();
    let database = folder.path().join("rootfs/containers/x/lib/apk/db");
    std::fs::create_dir_all(&database).unwrap();
    std::fs::write(
        database.join("installed"),
        format!("P:foo-libs\nV:1-r0\nL:MIT\no:foo\nc:{commit}\n\nP:foo\nV:1-r0\nL:MIT\no:foo\nc:{commit}\n\n"),
    )
    .unwrap();
    let (out, urls) = (folder.path().join("out"), folder.path().join("urls"));
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let words = [
        "get-alpine-pkg-source",
        "-s",
        &path(&out),
        "-p",
        "alpine",
        "-u",
        &path(&urls),
        "-g",
        &path(&aports),
        "-e",
        &path(&folder.path().join("rootfs")),
    ];
    let output = xtask(&root).args(words).output();
    let (stdout, stderr) = common::texts(&output);
    assert!(output.status.success(), "{stderr}");
    let place = format!("alpine/foo-1-r0.{commit}");
    assert_eq!(stdout, format!("alpine,foo-1-r0,{commit},{place}\nalpine,foo-libs-1-r0,{commit},{place}\n"));
    for bad in ["bad-content", "404-not-found"] {
        assert!(stderr.contains(&format!("  {bad}:{place}:")), "{stderr}");
    }
    let read = |name: &str| std::fs::read_to_string(out.join(&place).join(name)).unwrap();
    assert_eq!(read("sha512sums.received"), format!("{sum} foo-1.tar\n{sum} fix.patch\n"));
    assert!(!out.join(&place).join("evil.tar").exists());
    let line = std::fs::read_to_string(&urls).unwrap();
    assert!(line.starts_with("foo https://") && line.ends_with(&format!("?id={commit} MIT\n")), "{line}");
    assert_eq!(xtask(&root).args(["get-alpine-pkg-source"]).fails().0, 2);
}

#[test]
fn all_sources_of_an_image_are_one_archive() {
    if !wants("curl", "curl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tree");
    small_tree(&root);
    // A tree without an archive of Debian packages: its packages are Alpine's.
    let profile = std::fs::read_to_string(root.join("xtask.toml")).unwrap();
    std::fs::write(root.join("xtask.toml"), profile.replace("archive = \"debian\"\n", "")).unwrap();
    let address = serve(vec![("linux.tar", b"kernel".to_vec())]);
    std::fs::write(root.join("pkg/kernel/Dockerfile"), format!("FROM scratch\nADD {address}/linux.tar /k\n")).unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir_all(folder.path().join("rootfs/bin")).unwrap();
    std::fs::write(folder.path().join("rootfs/bin/agent"), "elf").unwrap();
    tool("tar", &["-cf", &path("rootfs.tar"), "-C", &path("rootfs"), "."]);
    // The stand-in for the collector of Go modules sees the image's programs, and leaves a file.
    let script = "#!/bin/sh\n[ \"$1 $4 $5\" = 'sources --find --out' ] || exit 1\nif [ -f \"$3/bin/agent\" ]; then mkdir -p \"$6/golang\"; echo src > \"$6/golang/m.zip\"; echo golang,m@v1,v1,golang/m.zip; fi\n";
    let program = folder.path().join("go-sources");
    std::fs::write(&program, script).unwrap();
    tool("chmod", &["+x", &path("go-sources")]);
    let collect = |words: &[&str]| xtask(&root).env("XTASK_TOOL_GO_SOURCES_AND_LICENSES", &program).args(["collect-sources"]).args(words);
    let tree = root.to_str().unwrap();
    collect(&[&path("rootfs.tar"), tree, &path("out.tar.gz")]).ok();
    let list = tool("tar", &["-tzf", &path("out.tar.gz")]);
    assert!(
        list.contains("kernel/127.0.0.1") && list.contains("golang/m.zip") && list.contains("collected_sources_manifest.csv"),
        "{list}"
    );
    let manifest = tool("tar", &["-xzOf", &path("out.tar.gz"), "collected_sources_manifest.csv"]);
    assert!(
        manifest.starts_with(&format!("kernel,{address}/linux.tar,,kernel/")) && manifest.ends_with("golang,m@v1,v1,golang/m.zip\n"),
        "{manifest}"
    );
    let first = std::fs::read(folder.path().join("out.tar.gz")).unwrap();
    let second = collect(&[&path("rootfs.tar"), tree]).output();
    assert!(second.status.success() && second.stdout == first, "standard output has the same bytes");
    std::fs::write(root.join("pkg/kernel/Dockerfile"), format!("FROM scratch\nADD {address}/gone /k\n")).unwrap();
    assert_eq!(collect(&[&path("rootfs.tar"), tree, &path("none.tar.gz")]).fails().0, 1);
    assert!(!folder.path().join("none.tar.gz").exists());
    assert_eq!(collect(&[&path("rootfs.tar"), "/", &path("none.tar.gz")]).fails().0, 2);
    let (code, err) = xtask(&root).args(["collected_sources"]).fails();
    assert!(code == 2 && err.contains("has no pin of go-sources-and-licenses"), "{code} {err}");
}

#[test]
fn the_sources_of_debian_packages_are_collected_by_digest() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let root = folder.path().join("tree");
    small_tree(&root);
    let address = serve(vec![
        ("pool/main/g/glibc/glibc_2.dsc", b"glibc dsc".to_vec()),
        ("pool/main/t/tools/tools_3.dsc", b"tools dsc".to_vec()),
        ("pool/main/t/tools/tools_3.tar.xz", b"garbled".to_vec()),
    ]);
    std::fs::create_dir_all(root.join("sources")).unwrap();
    let digest = |text: &str| {
        std::fs::write(folder.path().join("text"), text).unwrap();
        tool("sha256sum", &[&path("text")])[..64].to_owned()
    };
    let line = |name: &str, version: &str, text: &str, file: &str| {
        format!("{name} {version} {} {} main pool/main/{}/{name}/{file}\n", digest(text), text.len(), &name[..1])
    };
    let glibc = line("glibc", "2", "glibc dsc", "glibc_2.dsc");
    let tools = line("tools", "1:3", "tools dsc", "tools_3.dsc");
    let lock = |text: &str| std::fs::write(root.join("sources/bookworm.lock"), text).unwrap();
    let records = folder.path().join("rootfs/containers/a/lower/var/lib/dpkg/status.d");
    std::fs::create_dir_all(&records).unwrap();
    let record = "Package: tool\nSource: tools (1:3)\nVersion: 1:3+b1\nArchitecture: amd64\nBuilt-Using: glibc (= 2)\n";
    std::fs::write(records.join("tool"), record).unwrap();
    tool("tar", &["-cf", &path("rootfs.tar"), "-C", &path("rootfs"), "."]);
    let out = path("out.tar.gz");
    let collect = |more: &[&str]| {
        let cache = folder.path().join("cache");
        let words = ["collect-sources", &path("rootfs.tar"), root.to_str().unwrap()];
        xtask(&root).env("XDG_CACHE_HOME", cache).env("DEBIAN_MIRROR", &address).args(words).args(more)
    };
    lock(&glibc);
    let (_, err) = collect(&[&out]).fails();
    assert!(err.contains("tools 1:3 (of tool)\nhint: cargo xtask pins --sources"), "{err}");
    lock(&(glibc.clone() + &tools + &line("tools", "1:3", "gone", "tools_3.orig.tar.xz")));
    let (_, err) = collect(&[&out]).fails();
    assert!(err.contains("no mirror has 1 of 3 pinned files of sources: tools_3.orig.tar.xz"), "{err}");
    lock(&(glibc.clone() + &tools + &line("tools", "1:3", "correct", "tools_3.tar.xz")));
    let (_, err) = collect(&[&out]).fails();
    assert!(err.contains("has the SHA-256") && !Path::new(&out).exists(), "{err}");
    lock(&(glibc + &tools));
    collect(&[&out]).ok();
    let list = tool("tar", &["-tzf", &out]);
    assert_eq!(list, "collected_sources_manifest.csv\nglibc_2/\nglibc_2/glibc_2.dsc\ntools_1%3a3/\ntools_1%3a3/tools_3.dsc\n");
    let manifest = tool("tar", &["-xzOf", &out, "collected_sources_manifest.csv"]);
    assert!(manifest.ends_with(&format!("tools,1:3,tools_1%3a3/tools_3.dsc,sha256:{}\n", digest("tools dsc"))), "{manifest}");
    // What was downloaded serves without a network, and gives the same bytes on standard output.
    let again = collect(&["--offline"]).output();
    assert!(again.status.success() && again.stdout == std::fs::read(&out).unwrap());
}

#[test]
fn paths_are_told_without_building() {
    let folder = tempfile::tempdir().unwrap();
    small_tree(folder.path());
    let path = xtask(folder.path()).args(["sbom_info", "ROOTFS_VERSION=1.2", "ZARCH=arm64"]).ok();
    assert!(path.ends_with("/dist/arm64/1.2/installer/rootfs.spdx.json\n"), "{path}");
    let path = xtask(folder.path()).args(["collected_sources_info", "ROOTFS_VERSION=1.2", "ZARCH=arm64"]).ok();
    assert!(path.ends_with("/dist/arm64/1.2/collected_sources.tar.gz\n"), "{path}");
    let output = xtask(folder.path()).args(["kernel-build-yml"]).output();
    assert!(output.status.success() && common::texts(&output).1.contains("nothing to do: "));
    let (code, err) = xtask(folder.path()).args(["getimgversion", "x.yml"]).fails();
    assert!(code == 1 && err.contains("neither a squashfs nor a disk"), "{code} {err}");
    std::fs::create_dir(folder.path().join("m")).unwrap();
    std::fs::write(folder.path().join("m/go.mod"), "module m\n").unwrap();
    assert!(xtask(folder.path()).args(["go-pkg-pseudo-version", "m"]).ok().starts_with("v0.0.0-20260102030405-"));
    assert_eq!(xtask(folder.path()).args(["go-pkg-pseudo-version", "pkg"]).fails().0, 2);
}
