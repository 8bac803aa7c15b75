//! Random trees, operations and settings: after each operation our answer is git's. A failure prints the seed and all operations;
//! `XTASK_TEST_SEED=N` repeats them, `XTASK_TEST_ROUNDS=N` tries so many trees.

use super::{FACTS, PRINTS, Place};
use std::{fmt::Write as _, path::Path};

/// Pseudo-random numbers (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).expect("smaller than the limit")
    }

    fn pick<'w>(&mut self, words: &[&'w str]) -> &'w str {
        words[self.below(words.len())]
    }
}

/// Paths that the operations take; some are inside of others.
const PATHS: &[&str] = &[
    "pkg/a",
    "pkg/b",
    "pkg/crlf",
    "pkg/sub/c",
    "pkg/sub",
    "pkg",
    "x.o",
    "new",
    "$'nl\\nname'",
    "$'\\xff'",
    "'a b'",
    ".gitignore",
    "sub/f",
];

/// Operations; `F` is a path, `G` another. Each may fail: then it changes what it changed.
const OPERATIONS: &[&str] = &[
    "echo more >> F",
    "mkdir -p $(dirname F); echo one > F",
    // Another content of the same size, in the same second and later.
    "test -f F && tr a-z b-za < F > ../t && cat ../t > F",
    "test -f F && cp -p F ../t && tr a-z b-za < ../t > F && touch -r ../t F",
    "touch -d '2001-01-01' F",
    "touch -d '2100-01-01' F",
    "chmod +x F",
    "chmod -x F",
    "chmod 600 F",
    "rm -rf F",
    "mv F G",
    "cp -r F G",
    "rm -rf F; ln -s G F",
    "rm -rf F; ln -s /nonexistent F",
    "rm -rf F; mkdir -p F",
    "rm -rf F; mkdir -p F; echo inside > F/inside",
    "rm -rf F; mkfifo F",
    "test -f F && sed -i 's/$/\\r/' F",
    "test -f F && sed -i 's/\\r$//' F",
    "git add -A",
    "git add -A F",
    "git add -f F",
    "git add -N F",
    "git add --chmod=+x F",
    "git rm -q --cached F",
    "git mv F G",
    "git commit -qam c",
    "git add -A; git commit -qm c",
    "git commit -q --allow-empty -m e",
    "git reset -q --hard",
    "git reset -q HEAD~1",
    "git stash -q",
    "git checkout -q HEAD -- F",
    "git update-index --assume-unchanged F",
    "git update-index --no-assume-unchanged F",
    "git update-index --skip-worktree F",
    "git update-index --no-skip-worktree F",
    "git update-index --refresh",
    "git update-index --index-version 4",
    "git update-index --index-version 2",
    "git update-index --split-index",
    "git update-index --no-split-index",
    "git update-index --untracked-cache",
    "git sparse-checkout set --no-cone '/*' '!/pkg/sub'",
    "git sparse-checkout set --cone pkg",
    "git sparse-checkout set --cone --sparse-index pkg",
    "git sparse-checkout disable",
    "git checkout -q -b side",
    "git checkout -q main",
    "git checkout -q --detach",
    "git merge -q side",
    "git symbolic-ref refs/heads/alias refs/heads/main; git symbolic-ref HEAD refs/heads/alias",
    "git tag -a -m t v$(git rev-list --count HEAD)",
    "git tag light",
    "git pack-refs --all",
    "git gc -q",
    "echo '*.o' > .gitignore; echo new >> .gitignore",
    "rm -f .gitignore",
    "echo '!x.o' > pkg/.gitignore",
    "echo '* text=auto' > .gitattributes",
    "echo '*.o eol=crlf' > .gitattributes; echo 'pkg/a filter=none ident' >> .gitattributes",
    "mkdir -p .git/info; echo '* text eol=crlf' > .git/info/attributes",
    "rm -f .gitattributes .git/info/attributes",
    "echo 'pkg/sub' > .git/info/exclude",
    "git config core.autocrlf true",
    "git config core.autocrlf input",
    "git config core.fileMode false",
    "git config core.symlinks false",
    "git config core.ignoreCase true",
    "git config --unset core.autocrlf; git config --unset core.fileMode; git config --unset core.symlinks; git config --unset core.ignoreCase",
    "git init -q F; git -C F commit -q --allow-empty -m i",
    "git init -q sub; echo f > sub/f; git -C sub add f; git -C sub commit -qm s; git add sub",
    "printf '[submodule \"s\"]\\npath = sub\\nurl = ./sub\\n' > .gitmodules; git add .gitmodules",
    "printf '[submodule \"s\"]\\npath = sub\\nurl = ./sub\\nignore = all\\n' > .gitmodules; git add .gitmodules",
    "git -C sub commit -q --allow-empty -m later",
    "git -C sub reset -q --hard",
    "touch sub/untracked",
    "echo more >> sub/f",
    "rm -rf sub/.git",
];

/// A tree, and `steps` operations on it, all from the seed. Returns how many states were compared.
fn one(seed: u64, steps: usize) -> usize {
    let mut dice = Dice(seed);
    let place = Place::new();
    for (name, text) in [("excludes", "*.local\nnew\n"), ("attributes", "* text\n"), ("included", "[core]\nautocrlf = true\n")] {
        std::fs::write(place.folder.path().join(name), text).unwrap();
    }
    let mut compared = 0;
    let mut log = format!("XTASK_TEST_SEED={seed}\n");
    for _ in 0..steps {
        let (first, second) = (dice.pick(PATHS), dice.pick(PATHS));
        let script = dice.pick(OPERATIONS).replace('F', first).replace('G', second);
        let setting = match dice.below(3) {
            0 => dice.pick(FACTS),
            1 => dice.pick(PRINTS),
            _ => "",
        };
        let _ = writeln!(log, "{script}    # {setting:?}");
        place.sh(&format!("({script}) > ../log 2>&1 || true; rm -f .git/index.lock"));
        place.set(setting);
        // Settings of the second table only print: git's defaults say what is so.
        let config = if PRINTS.contains(&setting) { Path::new("/dev/null").to_owned() } else { place.config() };
        // git itself refuses some states; then we do too, or answer from what can be read.
        if place.is_readable(&config) {
            place.agrees(&place.gits(&config), &log);
            compared += 1;
        }
    }
    compared
}

#[test]
fn random_operations_on_random_trees_change_our_answer_as_they_change_gits() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("XTASK_TEST_SEED").unwrap_or(1);
    let rounds = number("XTASK_TEST_ROUNDS").unwrap_or(6);
    println!("XTASK_TEST_SEED={seed} XTASK_TEST_ROUNDS={rounds}");
    let compared: usize = (0..rounds).map(|round| one(seed + round, 20)).sum();
    println!("{compared} states of {rounds} trees");
    assert!(compared as u64 >= rounds * 15, "git could not read most of the states");
}
