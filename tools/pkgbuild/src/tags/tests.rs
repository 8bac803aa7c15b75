#![allow(clippy::unwrap_used)]
use super::*;
use sha2::{Digest as _, Sha256};
use std::{fs, process::Command};
use tempfile::TempDir;

/// Runs a shell script in `dir` with its own environment; returns its output.
pub(super) fn sh(dir: &Path, script: &str) -> String {
    let mut bash = Command::new("bash");
    bash.args(["-ec", script]).current_dir(dir).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    let output = bash.envs([("HOME", "/nonexistent"), ("GIT_CONFIG_NOSYSTEM", "1"), ("LC_ALL", "C.UTF-8")]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(super) fn state(dir: &Path) -> TreeState {
    let git = |args: &[&str]| Command::new("git").args(args).current_dir(dir).output().unwrap().stdout;
    let mut state = TreeState::parse(&git(LS_TREE), &git(STATUS)).unwrap();
    state.add_flags(&git(FLAGS));
    // The state found without git must equal git's, also with remembered names.
    let remembered = fs::read(dir.join(REMEMBERED)).ok();
    let first = known(dir, &state, &git, None);
    assert!(first.is_none() || first.as_ref() == Some(&state), "{first:?}");
    assert_eq!(known(dir, &state, &git, remembered.as_deref()), first, "with a memory");
    KNOWN.fetch_add(u8::from(first.is_some()).into(), std::sync::atomic::Ordering::Relaxed);
    state
}

/// File with the remembered names of a checkout.
const REMEMBERED: &str = ".git/remembered";

/// How often the state was known without git.
static KNOWN: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

fn known(dir: &Path, state: &TreeState, git: &dyn Fn(&[&str]) -> Vec<u8>, remembered: Option<&[u8]>) -> Option<TreeState> {
    let tree = String::from_utf8(git(&["rev-parse", "HEAD^{tree}"])).unwrap();
    let head = Head { commit: state.commit(), tree: tree.trim(), branch: state.branch() };
    let top = find_top(dir).unwrap();
    let clean = clean_checkout(&top, &top.join(".git"), remembered)?;
    let unknown = clean.unknown().to_vec();
    let mut state = clean.state(&head)?;
    if !unknown.is_empty() {
        let unknown: Vec<&str> = unknown.iter().map(|path| path.to_str().unwrap()).collect();
        let top = top.to_str().unwrap();
        let words = ["--literal-pathspecs", "-C", top, "ls-files", "-z", "--others", "--exclude-standard", "--"];
        state.add_untracked_files(&git(&[&words[..], &unknown].concat()));
    }
    Some(state)
}

fn tag(root: &Path, package: &str, yml: &str, options: &Options<'_>) -> Result<Tag> {
    package_tag(&state(root), root, &root.join(package), yml, options)
}

fn show(root: &Path, package: &str) -> String {
    tag(root, package, "build.yml", &Options::default()).map_or_else(|error| format!("{error:#}"), |tag| tag.to_string())
}

/// linuxkit's algorithm, one git process after another: the reference for [`show`].
fn reference(root: &Path, package: &str, sources: &[&str]) -> String {
    let dir = root.join(package);
    let id = |path: &Path| {
        let line = sh(&dir, &format!("git ls-tree --full-tree HEAD -- '{}'", path.display()));
        line.split([' ', '\t']).nth(2).unwrap_or_default().to_owned()
    };
    let mut hash = id(&dir);
    if !sources.is_empty() {
        let ids: String = sources.iter().map(|source| id(&dir.join(source).canonicalize().unwrap())).collect();
        hash = sh(&dir, &format!("printf %s {hash}{ids} | sha1sum | cut -d' ' -f1")).trim().to_owned();
    }
    let dirty = sh(
        &dir,
        "if ! git diff --no-ext-diff --exit-code --quiet HEAD -- . || git ls-files --exclude-standard --others --error-unmatch -- . >/dev/null 2>&1; then echo yes; fi",
    );
    if !dirty.is_empty() {
        let mut content = Sha256::new();
        for name in sh(&dir, "git ls-files; git ls-files --exclude-standard --others").lines() {
            let path = dir.join(name);
            if path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
                content.update(fs::read(path).unwrap());
            }
        }
        hash = format!("{hash}-dirty-{}", &objects::hex(&content.finalize())[..7]);
    }
    format!("org/eve-x:{hash}")
}

/// A repository with the package `pkg/x` and neighbors whose names sort around it.
pub(super) fn repository() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    sh(
        dir.path(),
        r#"git init -q -b main .; git config user.name n; git config user.email e; git config commit.gpgsign false
           mkdir -p pkg/x/sub pkg/x-y pkg/x0 shared
           printf 'image: eve-x\norg: org\n' > pkg/x/build.yml; cp pkg/x/build.yml pkg/x-y; cp pkg/x/build.yml pkg/x0
           printf 'image: eve-x\norg: org\nextra-sources:\n  - ../../shared:/s\n  - ../x-y/build.yml:/y\n' > pkg/x/build-extra.yml
           echo FROM scratch > pkg/x/Dockerfile; echo b > pkg/x/sub/b; echo c > pkg/x/sub.c; ln -s sub/b pkg/x/link
           echo '*.ignored' > .gitignore; echo s > shared/s; git add -A; git commit -qm one"#,
    );
    dir
}

#[test]
fn every_kind_of_change_gives_linuxkits_tag() {
    let scripts = [
        "true",
        "printf x > pkg/x/new",
        "printf x > 'pkg/x/a b'; printf y > pkg/x/0",
        "printf x > pkg/x/sub.ignored",
        "echo more >> pkg/x/Dockerfile",
        "echo more >> pkg/x/Dockerfile; git add .",
        "echo more >> pkg/x/Dockerfile; git add .; echo yet >> pkg/x/Dockerfile",
        "cp pkg/x/Dockerfile k; echo more >> pkg/x/Dockerfile; git add pkg; cp k pkg/x/Dockerfile",
        "chmod +x pkg/x/Dockerfile; git add pkg; chmod -x pkg/x/Dockerfile",
        "chmod +x pkg/x/Dockerfile",
        "touch pkg/x/Dockerfile",
        "rm pkg/x/sub/b",
        "git rm -q pkg/x/sub/b",
        "git rm -q --cached pkg/x/sub/b",
        "git rm -q --cached pkg/x/sub/b; echo other > pkg/x/sub/b",
        "git mv pkg/x/sub.c pkg/x/sub/a",
        "echo n > pkg/x/n; git add pkg/x/n",
        "echo n > pkg/x/n; git add pkg/x/n; rm pkg/x/n",
        "echo n > pkg/x/n; git add -N pkg/x/n",
        "ln -sfn nowhere pkg/x/link",
        "rm pkg/x/link; echo file > pkg/x/link",
        "printf x > pkg/x/n\u{e9}w; printf y > 'pkg/x/q\"q'",
        "mkdir pkg/x/empty",
        "mkdir pkg/x/nested; git init -q pkg/x/nested; echo z > pkg/x/nested/z",
        "echo more >> pkg/x-y/build.yml; echo more > pkg/x0/new; echo more >> shared/s",
        "git checkout -q -b side; echo 1 > pkg/x/sub/b; git commit -qam side; git checkout -q main; echo 2 > pkg/x/sub/b; git commit -qam main; git merge side >/dev/null || true",
        "git checkout -q -b side; git rm -q pkg/x/sub/b; git commit -qm side; git checkout -q main; echo 2 > pkg/x/sub/b; git commit -qam main; git merge side >/dev/null || true",
        "git checkout -q -b side; echo 2 > pkg/x/sub/b; git commit -qam side; git checkout -q main; git rm -q pkg/x/sub/b; git commit -qm main; git merge side >/dev/null || true",
        "git config status.renames copies; git config status.showUntrackedFiles no; git mv pkg/x/sub.c pkg/x/renamed; echo u > pkg/x/u",
        "rm -r pkg/x/sub; ln -s ../../shared pkg/x/sub",
        "mv pkg/x/sub pkg/x/sub2; cp -a pkg/x/sub2 pkg/x/sub; rm -r pkg/x/sub2",
        "mkdir new; echo n > new/n; echo i > pkg/x/sub/i.ignored",
    ];
    let repositories = scripts.map(|script| (script, repository()));
    // A folder that has just changed is not remembered.
    std::thread::sleep(std::time::Duration::from_millis(3100));
    for (script, dir) in &repositories {
        let dir = dir.path();
        sh(dir, "git status >/dev/null");
        let seen = clean_checkout(dir, &dir.join(".git"), None).expect("nothing is changed");
        let remembered = seen.remember().expect("it is old enough");
        let again = clean_checkout(dir, &dir.join(".git"), Some(remembered)).expect("nothing is changed");
        assert!(again.remember().is_none(), "nothing new");
        fs::write(dir.join(REMEMBERED), remembered).unwrap();
        sh(dir, script);
        assert_eq!(show(dir, "pkg/x"), reference(dir, "pkg/x", &[]), "{script}");
    }
}

#[test]
fn extra_sources_and_options_enter_as_linuxkit_has_them() {
    let dir = repository();
    let root = dir.path();
    let of = |yml: &str, options: &Options<'_>| tag(root, "pkg/x", yml, options).unwrap().to_string();
    assert_eq!(of("build-extra.yml", &Options::default()), reference(root, "pkg/x", &["../../shared", "../x-y/build.yml"]));
    assert_eq!(of("build.yml", &Options { hash: Some("1.2"), org: Some("me"), ..Options::default() }), "me/eve-x:1.2");
    assert_eq!(of("build.yml", &Options { dev_user: Some("ada"), ..Options::default() }), "ada/eve-x:dev");
    assert_eq!(tag(root, "pkg/x", "build.yml", &Options::default()).unwrap().canonical(), format!("docker.io/{}", show(root, "pkg/x")));
    sh(root, "echo more >> shared/s; echo more >> pkg/x/Dockerfile");
    assert_eq!(of("build-extra.yml", &Options::default()), reference(root, "pkg/x", &["../../shared", "../x-y/build.yml"]));
    let given = tag(root, "pkg/x", "build.yml", &Options { hash: Some("1.2"), ..Options::default() }).unwrap();
    assert_eq!((given.to_string().as_str(), given.is_dirty, given.dirty), ("org/eve-x:1.2", true, None));
}

/// Each script changes what enters the image, after a first one that linuxkit's hash sees.
#[test]
fn a_dirty_tag_is_a_name_of_everything_in_the_image() {
    let everything = Options { rule: DirtyRule::Everything, ..Options::default() };
    let dir = repository();
    let root = dir.path();
    let of = |yml: &str| tag(root, "pkg/x", yml, &everything).unwrap().to_string();
    for yml in ["build.yml", "build-extra.yml"] {
        assert_eq!(of(yml), tag(root, "pkg/x", yml, &Options::default()).unwrap().to_string(), "clean: linuxkit's tag");
    }
    sh(root, "cd pkg/x; printf ab > one; printf cd > two; printf x > ä; ln -s one to; echo '# c' >> Dockerfile");
    let mut known = vec![of("build.yml")];
    for script in [
        "chmod +x pkg/x/Dockerfile",
        "mv pkg/x/one pkg/x/renamed",
        "ln -sfn two pkg/x/to",
        ": > pkg/x/empty",
        "printf a > pkg/x/renamed; printf bcd > pkg/x/two",
        "printf y > pkg/x/ä",
        "rm pkg/x/to; printf two > pkg/x/to",
        "rm pkg/x/sub.c",
        "git update-index --assume-unchanged pkg/x/sub/b; echo hidden >> pkg/x/sub/b",
    ] {
        sh(root, script);
        let now = of("build.yml");
        assert!(now.contains("-dirty-") && !known.contains(&now), "{script}: {now}");
        known.push(now);
    }
    sh(root, "touch pkg/x/s.ignored");
    assert_eq!(Some(&of("build.yml")), known.last(), "git ignores it, so no image contains it");
}

#[test]
fn what_git_was_told_not_to_look_at_and_extra_sources_make_a_tag_dirty() {
    let hidden = |root: &Path, yml: &str| {
        let names = BuildYml::read_names(&root.join("pkg/x").join(yml)).unwrap();
        hidden_change(&state(root), root, &root.join("pkg/x"), &names).unwrap()
    };
    for (script, yml, file) in [
        ("git update-index --assume-unchanged pkg/x/sub/b; echo other > pkg/x/sub/b", "build.yml", Some("pkg/x/sub/b")),
        ("git update-index --skip-worktree pkg/x/sub/b; echo other > pkg/x/sub/b", "build.yml", Some("pkg/x/sub/b")),
        ("git sparse-checkout set --no-cone '/*' '!/pkg/x/sub'", "build.yml", Some("pkg/x/sub/b")),
        ("echo more >> shared/s", "build-extra.yml", None),
        ("chmod +x shared/s", "build-extra.yml", None),
        ("git update-index --assume-unchanged shared/s; echo other > shared/s", "build-extra.yml", Some("shared/s")),
        ("git update-index --assume-unchanged pkg/x/sub/b; chmod +x pkg/x/sub/b", "build.yml", Some("pkg/x/sub/b")),
    ] {
        let dir = repository();
        let root = dir.path();
        sh(root, script);
        let of = |rule| tag(root, "pkg/x", yml, &Options { rule, ..Options::default() }).unwrap();
        assert!(of(DirtyRule::Everything).to_string().contains("-dirty-"), "{script}");
        assert!(!of(DirtyRule::Linuxkit).to_string().contains("-dirty-"), "{script}: linuxkit does not see it");
        assert_eq!(hidden(root, yml), file.map(|file| root.join(file)), "{script}");
    }
    // git shows the change in its index, whatever it hides.
    let dir = repository();
    sh(dir.path(), "echo staged > pkg/x/sub/b; git add -A; git update-index --skip-worktree pkg/x/sub/b; echo other > pkg/x/sub/b");
    assert_eq!(hidden(dir.path(), "build.yml"), None);
    assert!(tag(dir.path(), "pkg/x", "build.yml", &Options::default()).unwrap().is_dirty);
    // A mode that git ignores is no reason to refuse, where every file is executable.
    let dir = repository();
    sh(dir.path(), "git config core.fileMode false; chmod +x pkg/x/sub/b");
    let mut modes = state(dir.path());
    modes.add_modes(dir.path());
    assert!(modes.hides_changes(dir.path(), b"pkg/x").unwrap() && !modes.hides_changes(dir.path(), b"shared").unwrap());
    assert_eq!(modes.hidden_change(dir.path(), b"pkg/x").unwrap(), None);
    // Hidden, but equal to the commit.
    let dir = repository();
    sh(dir.path(), "git update-index --assume-unchanged pkg/x/sub/b; git update-index --skip-worktree pkg/x/link");
    let options = Options { rule: DirtyRule::Everything, ..Options::default() };
    assert!(!tag(dir.path(), "pkg/x", "build.yml", &options).unwrap().is_dirty);
}

#[test]
fn a_package_may_be_the_whole_repository() {
    let dir = repository();
    let root = dir.path();
    sh(root, "cp pkg/x/build.yml .; git add .; git commit -qm top");
    let id = sh(root, "git show --format=%T -s HEAD");
    assert_eq!(show(root, ""), format!("org/eve-x:{}", id.trim()));
    sh(root, "echo u > u");
    assert!(show(root, "").starts_with(&format!("org/eve-x:{}-dirty-", id.trim())));
}

#[test]
fn the_tag_after_a_commit_is_known_before() {
    for script in [
        "true",
        "echo u > pkg/x/u; mkdir pkg/x/sub-d pkg/x/sub0; echo v > pkg/x/sub-d/v; echo w > pkg/x/sub0/w; printf x > pkg/x/s.ignored",
        "chmod +x pkg/x/Dockerfile; ln -sfn other pkg/x/link; rm -r pkg/x/sub; echo now a file > pkg/x/sub",
        "git rm -q --cached pkg/x/sub/b; echo x >> shared/s; git mv pkg/x/sub.c pkg/x/moved",
        "rm pkg/x/sub.c; mkdir pkg/x/sub.c; echo d > pkg/x/sub.c/d",
    ] {
        let dir = repository();
        let root = dir.path();
        sh(root, script);
        for yml in ["build.yml", "build-extra.yml"] {
            let before = committed_tag(&state(root), root, &root.join("pkg/x"), yml).unwrap().to_string();
            sh(root, "git add -A; git commit -q --allow-empty -m later");
            assert_eq!(before, tag(root, "pkg/x", yml, &Options::default()).unwrap().to_string(), "{script}, {yml}");
        }
    }
}

#[test]
fn what_git_does_not_know_has_no_tag() {
    let dir = repository();
    let root = dir.path();
    sh(root, "mkdir pkg/new; cp pkg/x/build.yml pkg/new; printf 'image: x\\nextra-sources:\\n  - ../none:/n\\n' > pkg/x/build-none.yml");
    assert!(show(root, "pkg/new").contains("pkg/new`\nhint: git add "), "{}", show(root, "pkg/new"));
    // Where the digits tell everything, no commit is needed; ignored files are in no image.
    let everything = Options { rule: DirtyRule::Everything, ..Options::default() };
    let new = tag(root, "pkg/new", "build.yml", &everything).unwrap();
    assert_eq!((new.hash, new.is_dirty), ("0".repeat(40), true));
    let digits = new.dirty.unwrap();
    sh(root, "echo more >pkg/new/file");
    assert_ne!(tag(root, "pkg/new", "build.yml", &everything).unwrap().dirty.unwrap(), digits);
    sh(root, "rm pkg/new/file; echo /pkg/new >>.git/info/exclude");
    let ignored = format!("{:#}", tag(root, "pkg/new", "build.yml", &everything).unwrap_err());
    assert!(ignored.contains("git does not track `"), "{ignored}");
    let error = |yml| format!("{:#}", tag(root, "pkg/x", yml, &Options::default()).unwrap_err());
    assert!(
        error("build-none.yml").contains("git does not track") && error("build-none.yml").contains("pkg/none`"),
        "{}",
        error("build-none.yml")
    );
    assert!(error("build-absent.yml").contains("build-absent.yml`: No such file"), "{}", error("build-absent.yml"));
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("build.yml"), "image: x\n").unwrap();
    let error = package_tag(&state(root), root, outside.path(), "build.yml", &Options::default()).unwrap_err();
    assert!(format!("{error:#}").ends_with("is not in a git repository"), "{error:#}");
}

#[test]
fn changes_and_branch_are_told() {
    let dir = repository();
    sh(dir.path(), "echo x >> pkg/x/Dockerfile; echo u > pkg/x/u; git checkout -q -b side/b");
    let state = state(dir.path());
    assert_eq!((state.branch(), state.commit().len()), ("side/b", 40));
    assert_eq!(state.changed_tracked().collect::<Vec<_>>(), [Path::new("pkg/x/Dockerfile")]);
    assert!(state.covers(b"pkg/x/u") && state.covers(b"pkg/x/sub/b") && state.covers(b"pkg/x/sub") && !state.covers(b"pkg/x/none"));
    fs::write(dir.path().join("pkg/x/sub/i.ignored"), "i").unwrap();
    let counted = Counted::new(dir.path(), super::tests::state(dir.path()).into()).unwrap();
    let holds = |name: &str| counted.holds(&dir.path().join(name));
    assert!(holds("pkg/x") && holds("pkg/y/../x/u") && !holds("pkg/x/sub/i.ignored") && !holds("../pkg/x"));
}

#[test]
fn a_checkout_without_changes_is_known_without_git() {
    let dir = repository();
    let git = |args: &[&str]| Command::new("git").args(args).current_dir(dir.path()).output().unwrap().stdout;
    let is_known = || known(dir.path(), &state(dir.path()), &git, None).is_some();
    assert!(is_known());
    sh(dir.path(), "echo '*.o' > .git/info/exclude; touch pkg/x/a.o pkg/x/new; mkdir -p out/b; touch out/b/c");
    assert!(is_known());
    assert_eq!(state(dir.path()).changed_below(Path::new("pkg/x")).collect::<Vec<_>>(), [Path::new("pkg/x/new")]);
    for (change, undo) in [
        ("echo more >> pkg/x/build.yml", "git checkout -q pkg/x/build.yml"),
        ("chmod +x pkg/x/build.yml", "chmod -x pkg/x/build.yml; git checkout -q pkg/x/build.yml; git status > /dev/null"),
        ("git add pkg/x/new", "git reset -q"),
        ("mv pkg/x pkg/y; ln -s y pkg/x", "rm pkg/x; mv pkg/y pkg/x; git status > /dev/null"),
        ("rm pkg/x/build.yml", "git checkout -q pkg/x/build.yml"),
        ("git update-index --index-version 4", "git update-index --index-version 2"),
    ] {
        sh(dir.path(), change);
        assert!(!is_known(), "{change}");
        sh(dir.path(), undo);
    }
    // After a change was staged and unstaged, the index has no cached tree ids.
    assert!(is_known());
}
