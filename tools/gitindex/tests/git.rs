//! git is the referee: what it calls changed is never clean here, and the ids, files and untracked names are git's.
#![allow(clippy::unwrap_used, missing_docs)]

use gitindex::{Clean, clean};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// A checkout with files, a link, an executable and folders.
struct Checkout(tempfile::TempDir);

impl Checkout {
    fn new() -> Self {
        let checkout = Self(tempfile::tempdir().unwrap());
        checkout.sh(
            "git init -q; mkdir -p d/e z; for n in a a1 a2; do echo $n > $n; done; echo b > d/b; chmod +x d/b; for n in f g h; do echo $n > d/e/$n; done; ln -s a link
             echo 1 > z/only; echo 2 > z.x
             for n in $(seq 100 119); do mkdir -p n/$n; echo $n > n/$n/x; done; git add .; git commit -qm one",
        );
        checkout
    }

    fn top(&self) -> &Path {
        self.0.path()
    }

    /// What the script prints; git knows no configuration but the checkout's.
    fn sh(&self, script: &str) -> String {
        let mut command = Command::new("sh");
        command.args(["-ec", script]).current_dir(self.top()).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "t").env(format!("GIT_{role}_EMAIL"), "t@example.org");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn clean(&self, remembered: Option<&[u8]>) -> Option<Clean> {
        clean(self.top(), &self.top().join(".git"), remembered)
    }

    fn restore(&self) {
        self.sh("rm -rf a link d n z z.x; git reset -q; git checkout -qf .; git clean -ffdxq");
        assert!(self.clean(None).is_some(), "restored");
    }

    /// Compares all that we know with git.
    fn check(&self) {
        let ours = self.clean(None).unwrap();
        let files: Vec<String> =
            ours.files.iter().map(|file| format!("{:06o} {} 0\t{}", file.mode, hex(&file.id), text(&file.path))).collect();
        assert_eq!(files, self.sh("git ls-files -s").lines().collect::<Vec<_>>());
        let mut unknown: Vec<String> = ours.unknown.iter().map(|path| path.to_str().unwrap().to_owned()).collect();
        unknown.sort();
        let theirs = self.sh("git ls-files --others --directory");
        let mut theirs: Vec<&str> = theirs.lines().map(|line| line.trim_end_matches('/')).collect();
        theirs.sort_unstable();
        assert_eq!(unknown, theirs);
        // Last: it writes what it computes into the index.
        assert_eq!(hex(&ours.root), self.sh("git write-tree").trim());
        let trees: BTreeMap<String, String> = ours.trees.iter().map(|(path, id)| (text(path), hex(id))).collect();
        let theirs = self.sh("git ls-tree -rtd $(git write-tree)");
        let theirs = theirs.lines().map(|line| line.split_once('\t').unwrap());
        assert_eq!(trees, theirs.map(|(id, path)| (path.to_owned(), id[12..].to_owned())).collect());
    }
}

fn text(path: &[u8]) -> String {
    String::from_utf8(path.to_vec()).unwrap()
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn ids_files_and_untracked_names_are_gits() {
    let checkout = Checkout::new();
    checkout.check();
    checkout.sh("mkdir -p new/deep; echo x > new/deep/x; echo y > d/e/new; echo z > z/.hidden");
    checkout.check();
    // The index loses the ids of the folders above what is staged, and keeps the others.
    checkout.sh("git add d/e/new; git rm -q --cached n/119/x; echo new > d/c; git add d/c");
    checkout.check();
    checkout.sh("git read-tree HEAD; git update-index -q --refresh || true");
    checkout.check();
}

#[test]
fn what_git_calls_changed_is_not_clean() {
    let checkout = Checkout::new();
    for change in [
        "echo other > a",
        "echo c > d/b",
        "echo 999 > n/119/x",
        "chmod +x d/e/f",
        "chmod -x d/b",
        "rm d/e/h",
        "rm -r z",
        "rm -r d/e; echo file > d/e",
        "rm a; mkdir a; echo a > a/a",
        "rm a; mkfifo a",
        "ln -sf d link",
        "rm link; printf a > link",
        "mv d/e d/moved; ln -s moved d/e",
        "rm z.x; ln -s z/only z.x",
    ] {
        checkout.sh(change);
        assert_ne!(checkout.sh("git status --porcelain -uno"), "", "{change}");
        assert!(checkout.clean(None).is_none(), "{change}");
        checkout.restore();
    }
    for harmless in ["echo x > untracked", "mkdir -p n/119/new; echo x > n/119/new/x", "ln -s nowhere z/broken", "mkdir empty"] {
        checkout.sh(harmless);
        checkout.check();
    }
}

#[test]
fn an_index_that_needs_git_is_not_read() {
    let checkout = Checkout::new();
    for needs_git in [
        "echo new > new; git add -N new",
        "git update-index --split-index",
        "git update-index --index-version 4",
        "git update-index --skip-worktree a",
        "mkdir z/.git",
        "git checkout -qb other; echo 1 > a; git commit -qam 1; git checkout -q -; echo 2 > a; git commit -qam 2; git merge -q other || true",
    ] {
        checkout.sh(needs_git);
        assert!(checkout.clean(None).is_none(), "{needs_git}");
        checkout.sh("rm -rf z/.git; git update-index --no-skip-worktree a 2> /dev/null || true; rm .git/index; git reset -q --hard");
        checkout.restore();
    }
    let hidden = |clean: &Clean| clean.hidden.iter().map(|at| text(&clean.files[*at].path)).collect::<Vec<_>>();
    assert_eq!(hidden(&checkout.clean(None).unwrap()), Vec::<String>::new());
    checkout.sh("git update-index --assume-unchanged d/b; echo other > d/b; git update-index --skip-worktree z/only; rm z/only");
    assert_eq!(checkout.sh("git status --porcelain"), "");
    assert_eq!(hidden(&checkout.clean(None).unwrap()), ["d/b", "z/only"]);
}

#[test]
fn remembered_names_save_the_listing_and_no_change_is_missed() {
    let checkout = Checkout::new();
    // More files than one thread takes at once.
    checkout.sh("mkdir m; for n in $(seq 1000 2099); do echo $n > m/$n; done; git add m; git commit -qm many");
    checkout.sh("git update-index --skip-worktree z/only; rm z/only; mkdir own; echo x > own/x; echo x > d/e/x");
    assert!(checkout.clean(None).unwrap().remember.is_none(), "a folder that has just changed may change again in the same instant");
    std::thread::sleep(Duration::from_millis(3100));
    let first = checkout.clean(None).unwrap();
    let remembered = first.remember.unwrap();
    let mut unknown = first.unknown;
    unknown.sort();
    assert_eq!(unknown, ["d/e/x", "own"].map(PathBuf::from));
    let again = || {
        let mut found = checkout.clean(Some(&remembered))?;
        found.unknown.sort();
        Some((found.unknown, found.remember.is_some()))
    };
    assert_eq!(again(), Some((unknown.clone(), false)), "nothing is listed, and nothing new is to be remembered");
    let damaged = [&remembered[..remembered.len() - 1], b"?"].concat();
    assert!(checkout.clean(Some(&damaged)).unwrap().remember.is_some(), "damaged names are not used");
    // In place, so that no folder changes: files of the top, alone in a folder, one of many, and the last ones.
    // In place, so that no folder changes: files of the top, alone in a folder, one of many, and the last ones.
    for path in ["a", "d/b", "d/e/g", "n/100/x", "n/119/x", "m/1000", "m/2099"] {
        let remembered = checkout.clean(None).unwrap().remember.unwrap();
        checkout.sh(&format!("echo other > {path}"));
        assert!(checkout.clean(Some(&remembered)).is_none(), "{path}");
        checkout.sh(&format!("git show :{path} > {path}; git update-index -q --refresh"));
    }
    // A new name in a folder is seen although the index is the same.
    let remembered = checkout.clean(None).unwrap().remember.unwrap();
    checkout.sh("echo x > n/110/new");
    let mut found = checkout.clean(Some(&remembered)).unwrap();
    found.unknown.sort();
    assert_eq!(found.unknown, ["d/e/x", "n/110/new", "own"].map(PathBuf::from));
    checkout.sh("rm n/110/new; echo back > z/only");
    assert!(checkout.clean(Some(&remembered)).is_none(), "what the index calls absent is there");
}
