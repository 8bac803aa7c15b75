//! Bumps of generated trees; git is the referee of every tag.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::tags::{LS_TREE, STATUS};
use std::{fs, process::Command};
use tempfile::TempDir;

const OLD: &str = "1111111111111111111111111111111111111111";

struct Sample {
    dir: TempDir,
    frozen: Vec<PathBuf>,
}

impl Sample {
    /// A tree with these files, committed.
    fn new(files: &[(&str, &str)]) -> Self {
        let sample = Self { dir: tempfile::tempdir().unwrap(), frozen: Vec::new() };
        sample.git(&["init", "-q"]);
        files.iter().for_each(|(name, text)| sample.write(name, text));
        sample.commit();
        sample
    }

    /// A tree of packages: each name and those that its Dockerfile starts from, under an old tag.
    fn packages(packages: &[(&str, &[&str])]) -> Self {
        let sample = Self::new(&[("images/rootfs.yml.in", "init:\n  - A_TAG\n")]);
        for (name, bases) in packages {
            let stages: String = bases.iter().map(|base| format!("FROM o/eve-{base}:{OLD} AS {base}\n")).collect();
            sample.write(&format!("pkg/{name}/Dockerfile"), &format!("{stages}FROM scratch\nCOPY x.sh /\n"));
            sample.write(&format!("pkg/{name}/build.yml"), &format!("org: o\nimage: eve-{name}\n"));
            sample.write(&format!("pkg/{name}/x.sh"), name);
            fs::set_permissions(sample.path(&format!("pkg/{name}/x.sh")), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        sample.commit();
        sample
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn git(&self, words: &[&str]) -> Vec<u8> {
        let identity = ["-c", "user.name=n", "-c", "user.email=e", "-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false"];
        let output = Command::new("git").args(identity).args(words).current_dir(self.dir.path()).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "c", "--allow-empty"]);
    }

    /// git's id of a folder at HEAD.
    fn id(&self, folder: &str) -> String {
        String::from_utf8(self.git(&["rev-parse", &format!("HEAD:{folder}")])).unwrap().trim().to_owned()
    }

    fn with<T>(&self, f: impl FnOnce(&BumpTree<'_>) -> T) -> T {
        let state = TreeState::parse(&self.git(LS_TREE), &self.git(STATUS)).unwrap();
        let folders = fs::read_dir(self.path("pkg")).unwrap().map(|entry| entry.unwrap().path());
        let mut packages: Vec<Member> = folders
            .map(|dir| {
                let name = dir.file_name().unwrap().to_string_lossy().into_owned();
                let ymls = ["build.yml", "build-dev.yml"].map(str::to_owned).into_iter().filter(|yml| dir.join(yml).is_file());
                Member { name, ymls: ymls.collect(), dir }
            })
            .collect();
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        let (templates, frozen) = (vec![self.path("images")], self.frozen.clone());
        f(&BumpTree { state: &state, root: self.dir.path(), packages, templates, frozen })
    }

    fn plan(&self, start: &BumpStart) -> Result<BumpPlan> {
        self.with(|tree| plan(tree, start))
    }

    /// Bumps and commits.
    fn bump(&self, start: &BumpStart) -> BumpPlan {
        let plan = self.plan(start).unwrap();
        plan.rewrites.iter().for_each(|rewrite| fs::write(&rewrite.path, &rewrite.new).unwrap());
        self.commit();
        plan
    }

    /// Every package that a Dockerfile starts from has git's id in its place.
    fn check(&self, packages: &[(&str, &[&str])]) {
        for (name, bases) in packages {
            let text = self.read(&format!("pkg/{name}/Dockerfile"));
            for base in *bases {
                let line = format!("FROM o/eve-{base}:{} AS {base}\n", self.id(&format!("pkg/{base}")));
                assert!(text.contains(&line), "pkg/{name}: {line}{text}");
            }
        }
        assert_eq!(self.plan(&BumpStart::default()).unwrap(), BumpPlan::default(), "a second bump has nothing to do");
    }
}

#[test]
fn chains_and_diamonds_get_the_tags_that_git_gives_after_the_commit() {
    let chain: &[(&str, &[&str])] = &[("a", &["b"]), ("b", &["c"]), ("c", &["d"]), ("d", &[])];
    let diamond: &[(&str, &[&str])] = &[("top", &["left", "right"]), ("left", &["base"]), ("right", &["base"]), ("base", &[])];
    for packages in [chain, diamond] {
        let sample = Sample::packages(packages);
        let plan = sample.bump(&BumpStart::default());
        assert_eq!(plan.rewrites.len(), 3);
        sample.check(packages);
        // An edit, uncommitted; a new file; a mode; a file that is gone.
        for (name, _) in packages {
            sample.write(&format!("pkg/{name}/x.sh"), "edited");
            sample.write(&format!("pkg/{name}/sub/new"), "new");
            sample.bump(&BumpStart::default());
            sample.check(packages);
        }
        fs::remove_file(sample.path("pkg/d/x.sh")).or_else(|_| fs::remove_file(sample.path("pkg/base/x.sh"))).unwrap();
        sample.bump(&BumpStart::default());
        sample.check(packages);
    }
}

#[test]
fn random_graphs_are_right_in_one_go() {
    let mut seed: u64 = 7;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let names: Vec<String> = (0..16).map(|at| format!("p{at}")).collect();
    for _ in 0..2 {
        // Package i starts from earlier ones in a shuffled order of names.
        let mut order: Vec<usize> = (0..names.len()).collect();
        (1..order.len()).for_each(|at| order.swap(at, random(at + 1)));
        let bases: Vec<Vec<&str>> = (0..order.len())
            .map(|at| {
                let mut list: Vec<&str> = (0..random(4)).filter(|_| at > 0).map(|_| names[order[random(at)]].as_str()).collect();
                list.sort_unstable();
                list.dedup();
                list
            })
            .collect();
        let packages: Vec<(&str, &[&str])> = order.iter().zip(&bases).map(|(at, bases)| (names[*at].as_str(), bases.as_slice())).collect();
        let sample = Sample::packages(&packages);
        sample.bump(&BumpStart::default());
        sample.check(&packages);
        sample.write(&format!("pkg/{}/x.sh", names[order[0]]), "edited");
        sample.bump(&BumpStart::default());
        sample.check(&packages);
    }
}

#[test]
fn a_named_package_moves_with_what_follows_and_nothing_else() {
    let packages: &[(&str, &[&str])] = &[("a", &["b", "z"]), ("b", &["c"]), ("c", &[]), ("y", &["z"]), ("z", &[])];
    let sample = Sample::packages(packages);
    let plan = sample.bump(&BumpStart { only: Some(["c".to_owned()].into()), ..BumpStart::default() });
    let places: Vec<(&str, usize, bool)> = plan.stale.iter().map(|stale| (stale.package.as_str(), stale.line, stale.is_dirty)).collect();
    assert_eq!(places, [("b", 1, false), ("c", 1, false)]);
    let b = sample.id("pkg/b");
    assert!(sample.read("pkg/a/Dockerfile").contains(&format!("o/eve-b:{b} AS b\nFROM o/eve-z:{OLD} AS z")));
    assert!(sample.read("pkg/y/Dockerfile").contains(OLD));
}

#[test]
fn names_are_found_in_args_ymls_templates_and_copies() {
    let sample = Sample::packages(&[("a", &[]), ("b", &[])]);
    let docker = format!(
        "ARG IMAGE=docker.io/o/eve-a:{OLD}-amd64\nARG TAG={OLD}\nFROM ${{IMAGE}} AS i\nFROM o/eve-a:${{TAG}} AS t\nFROM scratch\nCOPY --from=o/eve-a:{OLD}-dirty-0a1b2c3 /x /\nCOPY --from=i /x /i\nCOPY --from=t /x /t\n# o/eve-a:{OLD}\n"
    );
    sample.write("pkg/b/Dockerfile", &docker);
    sample.write("pkg/a/build-dev.yml", "org: o\nimage: eve-a\ntag: \"{{.Hash}}-dev\"\n");
    sample.write(
        "pkg/b/build.yml",
        &format!("org: o\nimage: eve-b\nextra-sources:\n  - ../../conf:conf\nbuildArgs:\n  - A=o/eve-a:{OLD}-dev\n"),
    );
    sample.write("conf/x", "y");
    sample.write("images/rootfs.yml.in", &format!("init:\n  - o/eve-b:{OLD}\n  - o/eve-b:1.2.3\n  - o/eve-bb:{OLD}\n"));
    sample.write("pkg/b/vendor/x/Dockerfile", &format!("FROM o/eve-a:{OLD}\n"));
    sample.bump(&BumpStart::default());
    let a = sample.id("pkg/a");
    let text = sample.read("pkg/b/Dockerfile");
    let wanted = docker.replacen(OLD, &a, 2).replace(&format!("{OLD}-dirty-0a1b2c3"), &a);
    assert_eq!(text, wanted);
    assert!(sample.read("pkg/b/build.yml").contains(&format!("A=o/eve-a:{a}-dev\n")));
    assert!(sample.read("pkg/b/vendor/x/Dockerfile").contains(OLD));
    // The tag of a package with extra sources is a hash of several ids.
    let b = sample.with(|tree| tags::committed_tag(tree.state, tree.root, &sample.path("pkg/b"), "build.yml").unwrap().to_string());
    assert_ne!(b, format!("o/eve-b:{}", sample.id("pkg/b")));
    assert_eq!(sample.read("images/rootfs.yml.in"), format!("init:\n  - {b}\n  - o/eve-b:1.2.3\n  - o/eve-bb:{OLD}\n"));
}

#[test]
fn what_no_tags_can_satisfy_is_refused_and_frozen_folders_keep_theirs() {
    let mut sample = Sample::packages(&[("a", &["b"]), ("b", &["a"]), ("c", &["a", "c"])]);
    let error = sample.plan(&BumpStart::default()).unwrap_err().to_string();
    assert!(error.contains("in a circle: a → b → a\n") && error.contains("hint: `frozen`"), "{error}");
    sample.frozen = vec![sample.path("pkg/b")];
    sample.bump(&BumpStart::default());
    assert!(sample.read("pkg/b/Dockerfile").contains(OLD));
    // A package that starts from an older image of itself keeps that.
    let a = sample.id("pkg/a");
    assert!(sample.read("pkg/c/Dockerfile").starts_with(&format!("FROM o/eve-a:{a} AS a\nFROM o/eve-c:{OLD}")));
    let sample = Sample::packages(&[("a", &[]), ("b", &[])]);
    sample.write(
        "pkg/b/Dockerfile",
        &format!("ARG H={}\nARG T={}\nFROM o/eve-a:$H$T\nCOPY --from=o/eve-a:{OLD} / /\n", &OLD[..8], &OLD[8..]),
    );
    let error = sample.plan(&BumpStart::default()).unwrap_err().to_string();
    assert!(error.contains("by variables") && error.contains("hint: write the image as one word"), "{error}");
}

#[test]
fn an_edit_of_an_external_image_moves_what_follows() {
    let packages: &[(&str, &[&str])] = &[("a", &["b"]), ("b", &[])];
    let sample = Sample::packages(packages);
    sample.write("pkg/b/Dockerfile", "FROM x/y:1 AS y\nFROM scratch\n");
    sample.write("pkg/a/other/Dockerfile", "ARG V=x/y:2\nFROM ${V}\n");
    sample.bump(&BumpStart::default());
    let differing = sample.with(|tree| differing(tree).unwrap());
    assert_eq!(differing.len(), 1);
    assert_eq!((differing[0].image.as_str(), differing[0].one.1.as_str(), differing[0].other.1.as_str()), ("x/y", "2", "1"));
    let path = sample.path("pkg/b/Dockerfile");
    let text = set_tag(&fs::read_to_string(&path).unwrap(), "x/y", "2");
    let plan = sample.bump(&BumpStart { only: Some(BTreeSet::new()), edits: [(path, text)].into() });
    assert_eq!(plan.rewrites.len(), 2);
    sample.check(packages);
    assert!(sample.with(|tree| super::differing(tree).unwrap()).is_empty());
}

#[test]
fn the_difference_is_one_that_git_applies() {
    let lines = |changed: &[usize], end: &str| {
        let line = |at: usize| format!("{at}{}{}", if changed.contains(&at) { "!" } else { "" }, if at == 30 { end } else { "\n" });
        (1..=30).map(line).collect::<String>()
    };
    for end in ["\n", ""] {
        for changed in [&[1][..], &[1, 2, 9], &[5, 12, 20, 30], &[30], &[8, 9, 10, 17]] {
            let sample = Sample::new(&[("f", &lines(&[], end))]);
            let text = unified("f", &lines(&[], end), &lines(changed, end));
            sample.write("patch", &text);
            sample.git(&["apply", "patch"]);
            assert_eq!(sample.read("f"), lines(changed, end), "{text}");
        }
    }
    assert_eq!(unified("f", "a\n", "a\n"), "");
}
