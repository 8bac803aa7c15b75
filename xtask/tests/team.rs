//! Several clones with caches of their own and one registry: what one builds, the others take; what is dirty stays at home; what lies is
//! found by `verify`.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;
#[path = "../../tools/registry/tests/common/mod.rs"]
mod registry;

use common::{Xtask, git, init, shell, small_tree::small_tree, texts};
use registry::{Registry, has_skopeo, output};
use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};
use xshell::cmd;

const PROFILE: &str = "[tree]\nname = \"small\"\nengine = \"native\"\n[packages]\nfolder = \"pkg\"\n[templates]\nrootfs = \"images/rootfs.yml.in\"\n[rootfs]\nlimit = 1\n\
     [live]\nparts = [\"efi\"]\n[firmware]\npackage = \"uefi\"\nfiles = []\n";

/// A tree with a package and its base, and caches.
struct Team {
    folder: tempfile::TempDir,
}

impl Team {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let team = Self { folder };
        team.write("xtask.toml", PROFILE);
        team.write(".gitignore", "/dist\n");
        team.write("pkg/base/build.yml", "org: lfedge\nimage: eve-base\n");
        team.write("pkg/base/Dockerfile", "FROM scratch\nCOPY file /base\n");
        team.write("pkg/base/file", "of the base\n");
        init(&team.root(), "main", "one");
        let base = team.xtask("first").args(["show-tag", "base"]).ok();
        team.write("pkg/top/build.yml", "org: lfedge\nimage: eve-top\n");
        team.write(
            "pkg/top/Dockerfile",
            &format!("FROM {} AS base\nFROM scratch\nCOPY --from=base /base /base\nCOPY file /file\n", base.trim()),
        );
        team.write("pkg/top/file", "of the top\n");
        let sh = shell(&team.root());
        cmd!(sh, "git add .").run().unwrap();
        cmd!(sh, "git -c user.name=a -c user.email=a@example.org commit -q -m two").run().unwrap();
        team
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The program with the image cache `cache`.
    fn xtask(&self, cache: &str) -> Xtask {
        let home = self.folder.path();
        Xtask::new(&self.root())
            .env("HOME", home)
            .env("XDG_CACHE_HOME", home.join(".cache"))
            .env("LINUXKIT_CACHE", home.join(cache))
            .env("ZARCH", "amd64")
    }

    /// What `words` print on standard error, with this cache and registry.
    fn says(&self, cache: &str, place: &str, mode: &str, words: &[&str]) -> String {
        let output = self.xtask(cache).env("CACHE", place).env("CACHE_MODE", mode).args(words).output();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {text}");
        text
    }
}

/// The tags of a repository.
fn tags(registry: &Registry, repository: &str) -> Vec<String> {
    let folder = registry.folder.path().join(format!("data/docker/registry/v2/repositories/{repository}/_manifests/tags"));
    let names = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn one_builds_and_all_take_and_what_is_dirty_stays_at_home() {
    let Some(server) = Registry::start(false) else { return };
    let (team, place) = (Team::new(), format!("{}/team", server.address));
    let top = |cache: &str, mode: &str| team.says(cache, &place, mode, &["pkg", "top"]);
    let built = top("first", "read");
    assert!(built.contains("pkg/top [amd64]: made") && !built.contains("taken") && tags(&server, "team/eve-top").is_empty(), "{built}");
    fs::remove_dir_all(team.folder.path().join("first")).unwrap();
    assert!(top("first", "write").contains("pkg/base [amd64]: made"));
    let tag = team.xtask("first").args(["show-tag", "top"]).ok();
    let (_, tag) = tag.trim().rsplit_once(':').unwrap();
    assert_eq!(tags(&server, "team/eve-top"), [tag.to_owned(), format!("{tag}-amd64")]);

    let taken = top("second", "read");
    assert!(taken.contains(&format!("taken from {place} in ")) && taken.contains(": pkg/top [amd64]\n"), "{taken}");
    assert!(!taken.contains("made") && !taken.contains("base"), "the base is not needed: {taken}");
    assert!(top("third", "off").contains("pkg/top [amd64]: made"));

    team.write("pkg/top/file", "changed\n");
    let dirty = top("second", "write");
    assert!(dirty.contains(": pkg/base [amd64]\n") && dirty.contains("pkg/top [amd64]: made"), "{dirty}");
    assert_eq!(tags(&server, "team/eve-top").len(), 2);
}

#[test]
fn a_build_without_its_registry_says_so_once() {
    let team = Team::new();
    // Nobody listens at port 1.
    let nobody = "127.0.0.1:1";
    let said = team.says("first", &format!("{nobody}/team"), "write", &["pkg", "top"]);
    assert_eq!(said.matches("warning:").count(), 1, "{said}");
    assert!(said.contains(&format!("warning: the build goes on without CACHE={nobody}/team: asking {nobody}: curl: (7)")), "{said}");
    assert!(said.contains("pkg/top [amd64]: made"), "{said}");
    let (code, error) = team.xtask("first").args(["pkg", "top", "CACHE=http://registry.example.org/team"]).fails();
    assert!(code == 2 && error.contains("must be reached by https") && error.contains("hint: CACHE="), "{error}");
}

#[test]
fn verify_finds_the_registry_that_lies() {
    let Some(server) = Registry::start(false) else { return };
    let (team, place) = (Team::new(), format!("{}/team", server.address));
    team.says("first", &place, "write", &["pkg", "top"]);
    let verify = |words: &[&str]| team.xtask("second").env("CACHE", &place).args(["verify"]).args(words);
    assert_eq!(verify(&[]).ok().lines().last().unwrap(), "2 packages are what their sources build");
    if !has_skopeo() {
        return;
    }
    let tag = |name: &str| {
        let tag = team.xtask("first").args(["show-tag", name]).ok();
        format!("docker://{place}/eve-{name}:{}-amd64", tag.trim().rsplit_once(':').unwrap().1)
    };
    let flags = ["--insecure-policy", "copy", "--src-tls-verify=false", "--dest-tls-verify=false"];
    output("skopeo", &[&flags[..], &[&tag("base"), &tag("top")]].concat());
    let shown = verify(&["top"]).output();
    let (out, err) = (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    assert!(out.contains("eve-top") && out.contains("-amd64: /file is missing\n"), "{out}{err}");
    assert!(err.contains(&format!("1 of 1 packages in {place} differ from what their sources build: top")), "{err}");
    assert!(err.contains(&format!("hint: cargo xtask verify top CACHE={place} CACHE_MODE=write replaces them")), "{err}");
    let (_, err) = verify(&["top", "CACHE_MODE=write"]).fails();
    assert!(err.contains("(amd64) is replaced in ") && err.contains("1 of 1 packages in") && err.contains("differed from"), "{err}");
    assert_eq!(verify(&["top"]).ok().lines().last().unwrap(), "1 packages are what their sources build");
    team.says("third", &place, "read", &["pkg", "top"]);
    assert_eq!(team.xtask("third").args(["verify", "top"]).ok().lines().last().unwrap(), "1 packages are what their sources build");
}

#[test]
fn a_package_that_is_damaged_in_the_registry_is_built_and_sent_again() {
    let Some(server) = Registry::start(false) else { return };
    let (team, place) = (Team::new(), format!("{}/team", server.address));
    team.says("first", &place, "write", &["pkg", "top"]);
    // The layer of the base, in the registry's own data.
    let cache = oci::Cache::open(&team.folder.path().join("first")).unwrap();
    let base = team.xtask("first").args(["show-tag", "base"]).ok();
    let image = cache.find(base.trim(), "amd64").unwrap().unwrap();
    let blob = server.blob(image.layers[0].digest());
    let length = blob.metadata().unwrap().len();
    fs::write(&blob, vec![0; usize::try_from(length).unwrap()]).unwrap();
    let said = team.says("second", &place, "write", &["pkg", "base", "top"]);
    let (_, tag) = base.trim().rsplit_once(':').unwrap();
    let item = format!("eve-base:{tag} (amd64)");
    assert!(
        said.contains(&format!("sends other bytes for team/eve-base:{tag}, {}; {item} is made here", image.layers[0].digest())),
        "{said}"
    );
    assert!(said.contains(": pkg/top [amd64]\n") && said.contains("pkg/base [amd64]: made"), "the rest is taken: {said}");
    // docker-registry keeps the bytes that it has under a digest, so its owner must help.
    assert!(said.contains("keeps other bytes under ") && !said.contains("is replaced in"), "{said}");
    // It is not what its sources build, even where the image cache has a good one.
    for (mode, end) in [("read", "CACHE_MODE=write replaces them"), ("write", "keeps its own of base; the warnings above tell why")] {
        let shown = team.xtask("second").env("CACHE", &place).env("CACHE_MODE", mode).args(["verify", "base"]).output();
        let (out, err) = texts(&shown);
        assert!(!shown.status.success() && out.contains("-amd64: what the registry has is damaged\n"), "{out}{err}");
        assert!(err.contains(&format!("1 of 1 packages in {place} differ from what")) && err.contains(end), "{err}");
    }
    let hint = said.lines().find_map(|line| line.split_once(" in its data: rm ")).unwrap().1;
    let path = hint.split(';').next().unwrap();
    fs::remove_file(server.folder.path().join("data").join(path)).unwrap();
    let said = team.says("third", &place, "write", &["pkg", "base", "top"]);
    assert!(said.contains("has no blob ") && said.contains(&format!("note: {item} is replaced in {place}")), "{said}");
    let said = team.says("fourth", &place, "read", &["pkg", "base", "top"]);
    assert!(!said.contains("warning") && !said.contains(": made"), "{said}");
}

#[test]
fn an_artifact_that_one_has_made_is_not_made_again() {
    let Some(server) = Registry::start(false) else { return };
    let (team, place) = (Team::new(), format!("{}/team", server.address));
    team.write("images/rootfs.yml.in", "init:\n  - TOP_TAG\n");
    team.write("conf/server", "example.org\n");
    let build = |store: &str, mode: &str| {
        let _ = fs::remove_dir_all(team.root().join("dist"));
        let output = team.xtask("images").env("STORE", team.folder.path().join(store)).env("CACHE", &place).env("CACHE_MODE", mode);
        let output = output.args(["rootfstar", "--rootfs-version", "v"]).output();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        (text, fs::read(team.root().join("dist/amd64/v/rootfs.tar")).unwrap())
    };
    let (made, image) = build("first", "write");
    let sent = tags(&server, "team/artifacts");
    assert!(made.contains("rootfs.tar: made") && !sent.is_empty(), "{made}");
    let (taken, same) = build("second", "read");
    assert!(taken.contains("rootfs.tar: taken from the store") && same == image, "{taken}");
    // From now on this machine has it.
    assert!(build("second", "off").0.contains("rootfs.tar: taken from the store"));
    // Damage of its own does not lead to distrust of the registry.
    let damage = |entry: PathBuf| {
        let file = fs::File::options().write(true).open(entry.join("0")).unwrap();
        let metadata = file.metadata().unwrap();
        file.write_all_at(b"?", metadata.len() / 2).unwrap();
        file.set_modified(metadata.modified().unwrap()).unwrap();
    };
    let entries = fs::read_dir(team.folder.path().join("second/artifacts")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|entry| entry.join("0").is_file()).for_each(damage);
    let (again, same) = build("second", "read");
    assert!(again.contains("its entry in the store was damaged") && again.contains("rootfs.tar: taken from the store"), "{again}");
    assert!(same == image && !again.contains("rootfs.tar: made"), "{again}");
    assert!(build("third", "off").0.contains("rootfs.tar: made"));
    // The configuration may hold keys, and stays.
    let config = team.xtask("images").env("STORE", team.folder.path().join("first")).env("CACHE", &place).env("CACHE_MODE", "write");
    assert!(config.args(["config", "--rootfs-version", "v"]).output().status.success());
    assert_eq!(tags(&server, "team/artifacts"), sent);
    // Bytes that are not those of the record are not used.
    let manifest = fs::read_dir(server.folder.path().join("data/docker/registry/v2/blobs/sha256")).unwrap();
    let blobs = manifest.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap()).map(|blob| blob.unwrap().path().join("data"));
    let large = blobs.filter(|path| path.metadata().unwrap().len() == image.len() as u64);
    large.for_each(|path| fs::write(path, vec![0; image.len()]).unwrap());
    let (again, same) = build("fourth", "read");
    assert!(again.contains("rootfs.tar: made") && same == image, "{again}");
    assert!(again.contains("sends other bytes for team/artifacts, sha256:") && !again.contains("goes on without"), "{again}");
}

/// A machine with nothing of its own: its program for a clone.
fn machine(folder: &Path, name: &str, place: &str, mode: &str) -> Xtask {
    let (clone, home) = (folder.join(name), folder.join(format!("{name}-home")));
    git(folder, &["clone", "-q", "tree", name]);
    let xtask = Xtask::new(&clone).env("HOME", &home).env("XDG_CACHE_HOME", home.join("cache")).env("LINUXKIT_CACHE", home.join("images"));
    xtask.env("ZARCH", "amd64").env("CACHE", place).env("CACHE_MODE", mode).args(["--json", "live-raw", "--rootfs-version", "v"])
}

#[test]
fn the_second_clone_compiles_nothing_and_compresses_nothing() {
    let Some(server) = Registry::start(false) else { return };
    let (folder, place) = (tempfile::tempdir().unwrap(), format!("{}/team", server.address));
    small_tree(&folder.path().join("tree"));
    let steps = |out: &str, list: &str| -> Vec<String> {
        let value: serde_json::Value = serde_json::from_str(out).unwrap();
        value[list].as_array().unwrap().iter().map(|step| step["node"].as_str().unwrap().to_owned()).collect()
    };
    let first = machine(folder.path(), "first", &place, "write").ok();
    let works = |steps: &[String]| steps.iter().any(|step| step.starts_with("pkg/") || step == "rootfs.img");
    assert!(works(&steps(&first, "made")), "{first}");
    let second = machine(folder.path(), "second", &place, "read").output();
    let (out, err) = texts(&second);
    assert!(second.status.success() && !works(&steps(&out, "made")), "{out}{err}");
    assert!(steps(&out, "taken").iter().any(|step| step == "rootfs.img"), "{out}{err}");
    assert!(err.contains("taken from ") && err.contains(": pkg/base [amd64]\n"), "{err}");
    let disk = |name: &str| fs::read(folder.path().join(name).join("dist/amd64/v/live.raw")).unwrap();
    assert!(disk("first") == disk("second"));
}
