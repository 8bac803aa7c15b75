//! Whatever a person's configuration of git says, the answers are git's own.
#![allow(clippy::unwrap_used, clippy::panic)]

mod random;

use super::*;
use child::environment::Environment;
use pkgbuild::known::Known;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    process::Command,
    sync::Arc,
};

/// A repository beside a cache and a file of settings.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(place.root()).unwrap();
        place.set("");
        place.sh("git init -q -b main .; git config user.name n; git config user.email e; git config commit.gpgsign false
             mkdir pkg; echo a > pkg/a; printf 'x\\r\\n' > pkg/crlf; echo '*.o' > .gitignore; git add -A; git commit -qm one
             git tag -a -m t 1.0; echo b > pkg/b; git add -A; git commit -qm two");
        place
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// Makes `text` a person's settings; `$HERE` in it is the folder of the place.
    fn set(&self, text: &str) {
        fs::write(self.config(), text.replace("$HERE", self.folder.path().to_str().unwrap())).unwrap();
    }

    fn variables(&self, config: &Path) -> BTreeMap<OsString, OsString> {
        let set = |name: &str, value: &OsStr| (OsString::from(name), value.to_owned());
        [
            set("PATH", &std::env::var_os("PATH").unwrap()),
            set("HOME", self.folder.path().as_os_str()),
            set("GIT_CONFIG_GLOBAL", config.as_os_str()),
            set("GIT_CONFIG_NOSYSTEM", OsStr::new("1")),
            set("LC_ALL", OsStr::new("C")),
        ]
        .into()
    }

    fn bytes_with(&self, config: &Path, script: &str) -> Vec<u8> {
        let mut bash = Command::new("bash");
        bash.args(["-ec", script]).current_dir(self.root()).env_clear().envs(self.variables(config));
        let output = bash.output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn sh_with(&self, config: &Path, script: &str) -> String {
        String::from_utf8(self.bytes_with(config, script)).unwrap().trim_end().to_owned()
    }

    /// Runs a script with git's defaults.
    fn sh(&self, script: &str) -> String {
        self.sh_with(Path::new("/dev/null"), script)
    }

    fn look(&self) -> Result<GitState> {
        let variables = self.variables(&self.config());
        let variable = |name: &str| Some(variables.get(OsStr::new(name))?.to_str()?.to_owned());
        let git = Git::new(PathBuf::from("git"), &Arc::new(variables.clone()), &Environment::default(), self.root());
        look_with(&self.root(), &self.folder.path().join("cache"), &variable, &git, &|_| None)
    }

    /// Our answer.
    fn own(&self, of: &str) -> Answer {
        let found = self.look().unwrap_or_else(|error| panic!("{of}: {error:#}"));
        Answer {
            commit: [found.describe, found.short_id, found.commit_time.to_string()],
            changed: found.state.changed_below(Path::new("")).map(Path::to_owned).collect(),
            is_dirty: found.state.changed_tracked().next().is_some(),
        }
    }

    /// Git's answer with the settings `config`.
    fn gits(&self, config: &Path) -> Answer {
        let commit = "git describe --always --tags; git rev-parse --short=8 HEAD; git log -1 --format=%ct";
        let commit = self.sh(commit).lines().map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
        let status = self.bytes_with(config, "git --no-optional-locks status --porcelain -z --untracked-files=all --no-renames");
        let path = |line: &[u8]| Some(PathBuf::from(OsStr::from_bytes(line.get(3..)?)));
        let changed = status.split(|byte| *byte == 0).filter_map(path).collect();
        // `describe --dirty` refreshes the index, which would make the next state an easier one.
        let dirty = "cp -p .git/index ../index; GIT_INDEX_FILE=$PWD/../index git describe --always --dirty=+";
        Answer { commit, changed, is_dirty: self.sh_with(config, dirty).ends_with('+') }
    }

    /// Whether git can tell the state with the settings `config`.
    fn is_readable(&self, config: &Path) -> bool {
        let asked = "git status --porcelain && git describe --always --dirty && git log -1";
        self.sh_with(config, &format!("if ({asked}) > /dev/null 2>&1; then echo yes; fi")) == "yes"
    }

    /// Compares our answer with git's, twice: the second one comes from what the first one kept.
    fn agrees(&self, gits: &Answer, of: &str) {
        for time in ["first", "second"] {
            assert_eq!(&self.own(of), gits, "{of}, {time}");
        }
    }
}

/// What is known of a checkout.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    /// Description, short id, time.
    commit: [String; 3],
    changed: BTreeSet<PathBuf>,
    is_dirty: bool,
}

/// What changes only how git prints.
const PRINTS: &[&str] = &[
    "[log]\nshowSignature = true\n[gpg]\nprogram = /nonexistent",
    "[log]\ndate = relative\nabbrevCommit = true\ndecorate = full\nfollow = true\nshowRoot = false\nmailmap = true",
    "[core]\nabbrev = 40",
    "[core]\nabbrev = 4\nquotePath = true\npager = false",
    "[core]\nfsmonitor = /bin/true",
    "[core]\nuntrackedCache = true\npreloadIndex = false\nwarnAmbiguousRefs = false\ncommitGraph = false",
    "[color]\nui = always\n[column]\nui = always\n[pager]\nlog = cat\nstatus = false",
    "[i18n]\nlogOutputEncoding = UTF-16\ncommitEncoding = latin1",
    "[status]\nshowUntrackedFiles = no\nrelativePaths = true\nrenames = copies\nshort = true\nbranch = true\nshowStash = true\naheadBehind = false",
    "[diff]\nrenames = copies\nnoprefix = true\nexternal = /bin/false\nignoreSubmodules = all\nmnemonicPrefix = true\norderFile = /nonexistent",
    "[alias]\nlog = version\nstatus = version\ndescribe = version\n[format]\npretty = raw",
    "[tag]\nsort = -refname\n[versionsort]\nsuffix = -rc",
];

/// What changes what is so: git's answer with them counts.
const FACTS: &[&str] = &[
    "[core]\nexcludesFile = $HERE/excludes",
    "[core]\nattributesFile = $HERE/attributes",
    "[core]\nautocrlf = true",
    "[core]\nautocrlf = input\nsafecrlf = true",
    "[core]\nfileMode = false",
    "[core]\nsymlinks = false\nignoreCase = true",
    "[core]\ntrustctime = false\ncheckStat = minimal",
    "[include]\npath = $HERE/included",
];

/// States of a checkout, each made of the one before.
const STATES: &[(&str, &str)] = &[
    ("clean", "true"),
    (
        "a signed commit",
        "tree=$(git rev-parse HEAD^{tree}); c=$(printf 'tree %s\\nparent %s\\nauthor n <e> 1700000000 +0100\\ncommitter n <e> 1700000000 +0100\\ngpgsig -----BEGIN PGP SIGNATURE-----\\n \\n x\\n -----END PGP SIGNATURE-----\\n\\nsigned\\n' $tree $(git rev-parse HEAD) | git hash-object -t commit -w --stdin); git reset -q --hard $c",
    ),
    ("racily clean", "touch -d '2100-01-01' pkg/crlf pkg/a; git update-index --refresh"),
    ("untracked and ignored", "touch pkg/new pkg/x.local pkg/y.o ü; mkdir -p out; touch out/z"),
    ("a mode", "chmod +x pkg/b"),
    ("a change", "chmod -x pkg/b; echo more >> pkg/a"),
    ("renamed and staged", "git mv pkg/b pkg/c; rm pkg/a"),
];

/// Compares all states with all settings. Git's answer is the one with the settings that `count`, or that with its defaults.
fn table(settings: &[&str], count: bool) {
    let place = Place::new();
    for (name, text) in [("excludes", "*.local\nnew\n"), ("attributes", "* text\n"), ("included", "[core]\nattributesFile = ATTRIBUTES\n")]
    {
        let text = text.replace("ATTRIBUTES", place.folder.path().join("attributes").to_str().unwrap());
        fs::write(place.folder.path().join(name), text).unwrap();
    }
    for (state, script) in STATES {
        place.sh(script);
        let by_default = place.gits(Path::new("/dev/null"));
        for setting in settings {
            place.set(setting);
            let of = format!("{state} with {setting}");
            if count { place.agrees(&place.gits(&place.config()), &of) } else { place.agrees(&by_default, &of) }
        }
    }
}

#[test]
fn what_changes_gits_printing_changes_no_answer() {
    table(PRINTS, false);
}

#[test]
fn what_changes_gits_answer_changes_ours() {
    table(FACTS, true);
}

#[test]
fn a_submodule_that_was_not_fetched_is_clean_only_while_its_folder_is_empty() {
    let place = Place::new();
    place.sh(
        "git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),sub; printf '[submodule \"s\"]\npath = sub\nurl = u\n' > .gitmodules
         git add .gitmodules; git commit -qm sub; mkdir sub",
    );
    for (of, script) in [("empty", "true"), ("gone", "rmdir sub"), ("a file", "echo x > sub"), ("empty again", "rm sub; mkdir sub")] {
        place.sh(script);
        let gits = place.gits(Path::new("/dev/null"));
        assert_eq!(gits.is_dirty, !of.starts_with("empty"));
        place.agrees(&gits, of);
    }
}

#[test]
fn files_that_the_repository_keeps_elsewhere_are_found_there() {
    let place = Place::new();
    place.sh("cp -r . ../other; git config core.worktree ../../other; echo more >> ../other/pkg/a");
    let gits = place.gits(Path::new("/dev/null"));
    assert!(gits.is_dirty);
    place.agrees(&gits, "core.worktree");
}

#[test]
fn a_mode_that_git_does_not_look_at_makes_a_package_dirty() {
    let place = Place::new();
    place.sh("printf 'image: x\\n' > pkg/build.yml; git add -A; git commit -qm three; git config core.fileMode false; chmod +x pkg/a");
    let dirty = || {
        let options = tags::Options { rule: tags::DirtyRule::Everything, ..tags::Options::default() };
        let found = place.look().unwrap();
        tags::package_tag(&found.state, &place.root(), &place.root().join("pkg"), "build.yml", &options).unwrap().dirty
    };
    let executable = dirty();
    assert!(executable.is_some());
    place.sh("chmod +x pkg/b");
    assert!(dirty().is_some() && dirty() != executable);
    place.sh("chmod -x pkg/a pkg/b");
    assert_eq!(dirty(), None);
}

#[test]
fn facts_are_those_of_the_bytes_on_disk_whatever_converted_them_at_the_checkout() {
    let place = Place::new();
    place.sh("printf 'image: eve-grub\\n' > pkg/build.yml; printf 'FROM eve-grub:1\\n' > pkg/Dockerfile; git add -A; git commit -qm three
              git config filter.f.smudge 'sed s/eve-grub/eve-else/'; git config filter.f.clean 'sed s/eve-else/eve-grub/'");
    let (yml, dockerfile) = (place.root().join("pkg/build.yml"), place.root().join("pkg/Dockerfile"));
    let file = place.folder.path().join("facts");
    let known = Known::new(Some(file.clone()));
    // What changed lately is not remembered.
    let settle = || std::thread::sleep(std::time::Duration::from_millis(3100));
    let facts = |is_seen: bool, of: &str| {
        let found = place.look().unwrap();
        assert_eq!(found.seen.is_some(), is_seen, "{of}");
        let id = |path| found.seen.as_ref().and_then(|seen| seen.id_of(&found.state, path));
        let (yml_id, dockerfile_id) = (id(&yml), id(&dockerfile));
        assert_eq!(yml_id.is_some() && dockerfile_id.is_some(), is_seen, "{of}");
        let images = known.images(&dockerfile, dockerfile_id.as_deref()).unwrap();
        let image = images.all().first().unwrap().reference.clone();
        (known.names(&yml, yml_id.as_deref()).unwrap().image, image)
    };
    let (of_git, of_disk) = (("eve-grub".to_owned(), "eve-grub:1".to_owned()), ("eve-else".to_owned(), "eve-else:1".to_owned()));
    // Files that are older than the index, so that git looks at their metadata only.
    place.sh("touch -d 2020-01-01 .gitignore pkg/*; git update-index --refresh");
    settle();
    assert_eq!(facts(true, "of git"), of_git);
    let again = "cd pkg; rm build.yml Dockerfile; git checkout -- .; touch -d 2020-01-01 build.yml Dockerfile; git update-index --refresh";
    place.sh(&format!("echo 'pkg/* filter=f' > .git/info/attributes; {again}"));
    settle();
    assert_eq!(facts(true, "converted"), of_disk);
    place.sh("rm .git/info/attributes");
    assert_eq!(place.sh("git status --porcelain"), "");
    // The filter is gone, git sees no change, and the bytes have the same size: the build reads them.
    assert_eq!(facts(true, "the filter is gone"), of_disk);
    place.sh(again);
    assert_eq!(facts(true, "checked out again"), of_git);
    place.sh("echo '# more' >> pkg/build.yml");
    assert_eq!(facts(false, "a tracked file is changed"), of_git);
    drop(known);
    let files = fs::read_to_string(file).unwrap().lines().filter(|line| line.starts_with('r')).count();
    assert!(files >= 4, "the two files are remembered as git has them and converted, not read each time: {files}");
}
