//! The place where a scenario is played: a checkout that is reset before each, the stand-ins for all tools, and what is there afterwards.

use super::{
    calls::{self, Normal},
    recording::{Output, Recording},
    scenarios::Scenario,
};
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{Tools, Variables, scene};
use common::error::usage;
use regex::Regex;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

const STAND_IN: &str = include_str!("../../../conformance/stand-in.sh");

/// The programs that are replaced.
const REPLACED: &[&str] = &[
    "VBoxManage",
    "curl",
    "docker",
    "docker-compose",
    "dot",
    "gcloud",
    "git",
    "go",
    "go-sources-and-licenses",
    "guestfish",
    "linuxkit",
    "pkill",
    "prlctl",
    "prlsrvctl",
    "qemu-img",
    "qemu-system-aarch64",
    "qemu-system-riscv64",
    "qemu-system-x86_64",
    "sleep",
    "ssh",
    "ssh-keygen",
    "sudo",
    "swtpm",
    "swtpm_setup",
    "wget",
];

/// The longest time for one scenario.
const LIMIT: Duration = Duration::from_secs(400);

/// Whose commit it is that a checkout without the sources of others has.
const ME: &str = "-c user.name=recorder -c user.email=recorder@example.org";

/// Who plays a scenario.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Player {
    /// The tree's own Makefile.
    Make,
    /// This program.
    Us,
}

/// The folder of all checkouts and stand-ins.
pub struct Scene {
    tools: Tools,
    work: PathBuf,
    path: String,
    user: String,
    us: String,
}

/// What a folder of ours holds: its content can be removed.
const MARK: &str = "made-by-conformance";

/// Makes the folder `work`, or fails if it holds something and no [`MARK`].
fn own(work: &Path) -> Result<()> {
    let cannot = || format!("cannot make the folder `{}`", work.display());
    fs::create_dir_all(work).with_context(cannot)?;
    let mark = work.join(MARK);
    if !mark.exists() && fs::read_dir(work).with_context(cannot)?.next().is_some() {
        return Err(usage(format!(
            "`{}` is not empty, and holds no {MARK}: `conformance` removes what is in its folder\nhint: --work A-NEW-FOLDER",
            work.display()
        )));
    }
    fs::write(&mark, "").with_context(cannot)
}

impl Scene {
    /// A scene in the folder `work`.
    pub fn new(ctx: &Ctx, work: &Path) -> Result<Self> {
        own(work)?;
        fs::create_dir_all(work.join("home")).with_context(|| format!("cannot make the folder `{}`", work.display()))?;
        let tools = ctx.tools.clone();
        let path =
            tools.environment().get(std::ffi::OsStr::new("PATH")).map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        let us = std::env::current_exe().context("this program has no path")?.display().to_string();
        let mut scene = Self { tools, work: work.to_owned(), path, user: String::new(), us };
        scene.user = scene.shell(work, "id -un 2> /dev/null || id -u")?.trim().to_owned();
        fs::write(work.join("home/.gitconfig"), "[user]\n\tname = eve\n\temail = eve@example.org\n[safe]\n\tdirectory = *\n")?;
        Ok(scene)
    }

    fn checkout(&self) -> PathBuf {
        self.work.join("eve")
    }

    /// The variables of a shell, without stand-ins.
    fn plain(&self) -> BTreeMap<OsString, OsString> {
        let home = self.work.join("home").display().to_string();
        let pairs = [
            ("PATH", self.path.as_str()),
            ("HOME", &home),
            ("USER", &self.user),
            ("LOGNAME", &self.user),
            ("LANG", "C.UTF-8"),
            ("TZ", "UTC"),
            ("SHELL", "/bin/bash"),
            ("TERM", "dumb"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
        ];
        pairs.map(|(name, value)| (name.into(), value.into())).into()
    }

    /// What a shell script prints; a failure is an error.
    fn shell(&self, folder: &Path, script: &str) -> Result<String> {
        let words = ["bash", "-ec", script].map(OsString::from);
        let outcome = scene::play(&self.tools, &words, folder, &Arc::new(self.plain()), LIMIT)?;
        if outcome.status != Some(0) {
            bail!("`{script}` failed in `{}`: {}", folder.display(), outcome.stderr.trim());
        }
        Ok(outcome.stdout)
    }

    /// Makes the checkout of `commit` of the repository `eve` (its HEAD without one) unless it is there; returns the commit's id.
    pub fn prepare(&self, eve: &Path, commit: Option<&str>) -> Result<String> {
        let is_inside = eve.canonicalize().ok().zip(self.work.canonicalize().ok()).is_some_and(|(eve, work)| eve.starts_with(work));
        if is_inside {
            return Err(usage(format!(
                "`{}` is below `{}`, whose content is removed\nhint: --work ANOTHER-FOLDER",
                eve.display(),
                self.work.display()
            )));
        }
        let quoted = child::cmd::quote(eve.as_os_str());
        let wanted = self.shell(&self.work, &format!("git -C {quoted} rev-parse --verify -q '{}^{{commit}}'", commit.unwrap_or("HEAD")));
        let wanted = wanted.map_err(|error| usage(format!("`{}` has no commit {}: {error:#}", eve.display(), commit.unwrap_or("HEAD"))))?;
        let (wanted, kept) = (wanted.trim().to_owned(), self.work.join("commit"));
        if fs::read_to_string(&kept).ok().as_deref() != Some(&wanted) {
            for name in ["eve", "origin.git", "tags", "commit"] {
                let path = self.work.join(name);
                if path.is_file() {
                    fs::remove_file(&path)?
                } else if path.exists() {
                    fs::remove_dir_all(&path)?
                }
            }
            // Without files of others: they are most of the tree, and no target looks at them. A stored copy may lack large files.
            let script = format!(
                "git clone -q --shared --no-checkout {quoted} eve; cd eve
                git update-ref --no-deref HEAD {wanted}; git read-tree {wanted}
                git ls-files -z | grep -z /vendor/ > ../left-out || true
                git ls-files -s | cut -c8-47 | sort -u | git cat-file --batch-check | sed -n 's/ missing$//p' > ../missing
                git ls-files -s | grep -F -f ../missing | cut -f2 | tr '\\n' '\\0' >> ../left-out || true
                git update-index -z --force-remove --stdin < ../left-out
                export GIT_COMMITTER_DATE=$(git log -1 --format=%cI) GIT_AUTHOR_DATE=$(git log -1 --format=%cI)
                part=$(git {ME} commit-tree $(git write-tree) -p {wanted} -m 'without the sources of others')
                git checkout -q -f -B master $part
                git tag --no-merged HEAD | xargs -r git tag -d > /dev/null
                for branch in $(git for-each-ref --format='%(refname:short)' refs/heads | grep -vx master); do git branch -qD $branch; done
                cd ..; git clone -q --bare --shared eve origin.git; git -C eve remote set-url origin ../origin.git
                git -C eve remote set-url origin \"$PWD/origin.git\"; git -C eve fetch -q origin; git -C eve rev-parse HEAD > part
                git -C eve tag | sort > release-tags"
            );
            self.shell(&self.work, &script).context("cannot make a checkout to record in")?;
            fs::write(&kept, &wanted)?;
        }
        self.write_stand_ins()?;
        Ok(wanted)
    }

    fn write_stand_ins(&self) -> Result<()> {
        let bin = self.work.join("stand-ins/bin");
        fs::create_dir_all(&bin)?;
        let program = bin.join("stand-in");
        if fs::read_to_string(&program).ok().as_deref() != Some(STAND_IN) {
            fs::write(&program, STAND_IN)?;
        }
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        // Newer than the checkout, so that make takes it for a linuxkit that is up to date.
        fs::File::options().write(true).open(&program)?.set_modified(std::time::SystemTime::now())?;
        for name in REPLACED.iter().map(|name| bin.join(name)).filter(|name| !name.exists()) {
            symlink("stand-in", name)?;
        }
        Ok(())
    }

    /// The checkout as it was, with a linuxkit in it.
    fn reset(&self) -> Result<()> {
        let script = "rm -f .git/index.lock; git checkout -q -f -B master $(cat ../part); git reset -q --hard; git clean -xdffq
            for branch in $(git for-each-ref --format='%(refname:short)' refs/heads | grep -vx master); do git branch -qD $branch; done
            git tag | sort | comm -13 ../release-tags - | xargs -r git tag -d > /dev/null
            git branch -q -u origin/master master; git -C ../origin.git update-ref refs/heads/master $(cat ../part)";
        let root = self.checkout();
        self.shell(&root, script).context("cannot reset the checkout")?;
        let bin = root.join("build-tools/bin");
        let version = Regex::new(r"(?m)^LINUXKIT_(?:GIT_REF|VERSION) *[?:]?= *(\S+)")?;
        for file in ["Makefile", "mk/linuxkit.mk"] {
            let text = fs::read_to_string(root.join(file)).unwrap_or_default();
            for found in version.captures_iter(&text) {
                fs::create_dir_all(&bin)?;
                let whole = &found[1];
                for name in ["linuxkit".to_owned(), format!("linuxkit-{whole}"), format!("linuxkit-{}", whole.get(..12).unwrap_or(whole))] {
                    let link = bin.join(name);
                    if link.symlink_metadata().is_err() {
                        symlink(self.work.join("stand-ins/bin/linuxkit"), link)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The command line of a player with words for make.
    fn words(&self, player: Player, words: &[String]) -> Vec<OsString> {
        let mut line: Vec<OsString> = match player {
            Player::Make => vec!["make".into()],
            Player::Us => vec![self.us.clone().into(), "--root".into(), self.checkout().into(), "make".into()],
        };
        let place = |word: &String| word.replace("$RUN", &self.work.join("run").display().to_string());
        line.extend(words.iter().map(|word| OsString::from(place(word))));
        line
    }

    /// The environment of a player: stand-ins first.
    fn stage(&self, scenario: &Scenario) -> Result<Variables> {
        let stand_ins = self.work.join("stand-ins");
        let is_clean = scenario.before.is_empty();
        let tags = self.work.join(if is_clean { "tags" } else { "tags-now" });
        if !is_clean && tags.exists() {
            fs::remove_dir_all(&tags)?;
        }
        fs::create_dir_all(&tags)?;
        let mut variables = self.plain();
        let mut set = |name: &str, value: &str| variables.insert(name.into(), value.into());
        set("PATH", &format!("{}:{}", stand_ins.join("bin").display(), self.path));
        set("STAND_IN_CALLS", &stand_ins.join("calls").display().to_string());
        set("STAND_IN_PATH", &self.path);
        set("STAND_IN_TAGS", &tags.display().to_string());
        set("STAND_IN_STATE", &scenario.state);
        Ok(Arc::new(variables))
    }

    /// Plays a scenario and returns what happened.
    pub fn play(&self, name: &str, commit: &str, scenario: &Scenario, player: Player) -> Result<Recording> {
        self.reset()?;
        let (root, run) = (self.checkout(), self.work.join("run"));
        if run.exists() {
            fs::remove_dir_all(&run)?;
        }
        fs::create_dir_all(&run)?;
        for line in &scenario.before {
            self.shell(&root, line).with_context(|| format!("the scenario {name} cannot be prepared"))?;
        }
        let mut variables = self.stage(scenario)?;
        if !scenario.first.is_empty() {
            let words: Vec<String> = scenario.first.split_whitespace().map(str::to_owned).collect();
            scene::play(&self.tools, &self.words(player, &words), &root, &variables, LIMIT)?;
        }
        let calls_file = self.work.join("stand-ins/calls");
        fs::write(&calls_file, "")?;
        let before = self.files()?;
        Arc::make_mut(&mut variables).insert("STAND_IN_FAIL".into(), scenario.fail.clone().into());
        let outcome = scene::play(&self.tools, &self.words(player, &scenario.words()), &root, &variables, LIMIT)?;
        let normal = self.normal();
        let after = self.files()?;
        let lines = |text: String| text.lines().map(|line| normal.of(line)).collect::<Vec<_>>();
        let (goal, vars): (Vec<String>, Vec<String>) = scenario.words().into_iter().partition(|word| !word.contains('='));
        Ok(Recording {
            name: name.to_owned(),
            commit: commit.to_owned(),
            scenario: Some(scenario.clone()),
            goal: Some(goal.join(" ")),
            vars: vars.iter().filter_map(|word| word.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            rc: outcome.status.map_or_else(|| "timeout".into(), Into::into),
            stdout_tail: tail(&normal.of(&outcome.stdout), 20_000),
            stderr_tail: tail(&normal.of(&outcome.stderr), 8_000),
            tree_changes: lines(self.shell(&root, "git status --porcelain -uall")?),
            setup: scenario.before.clone(),
            trace: calls::read(&calls_file, &normal)?,
            outputs: self.outputs(&normal)?,
            generated: after.iter().filter(|path| !path.starts_with("dist/")).map(|path| (normal.of(path), true.into())).collect(),
            deleted: before.difference(&after).map(|path| normal.of(path)).collect(),
        })
    }

    fn normal(&self) -> Normal {
        let word = |path: PathBuf, word: &str| (path.display().to_string(), word.to_owned());
        let texts = vec![
            word(self.checkout(), "$ROOT"),
            word(self.work.join("home"), "$HOME"),
            word(self.work.join("run"), "$RUN"),
            word(self.work.join("stand-ins"), "$STAND_INS"),
        ];
        Normal { texts, user: self.user.clone() }
    }

    /// The files that git ignores, without linuxkit and what a recorder has made.
    fn files(&self) -> Result<BTreeSet<String>> {
        let text = self.shell(&self.checkout(), "git -c core.quotePath=false ls-files --others --ignored --exclude-standard")?;
        let is_ours = |path: &str| path.starts_with("build-tools/bin/linuxkit") || path.starts_with(".go/");
        Ok(text.lines().filter(|path| !is_ours(path)).map(str::to_owned).collect())
    }

    /// What is below `dist/`.
    fn outputs(&self, normal: &Normal) -> Result<Vec<Output>> {
        let root = self.checkout();
        let mut found = Vec::new();
        for entry in walkdir::WalkDir::new(root.join("dist")).min_depth(1).sort_by_file_name() {
            let Ok(entry) = entry else { break };
            let path = normal.of(&entry.path().strip_prefix(&root)?.display().to_string());
            let target = entry.path_is_symlink().then(|| fs::read_link(entry.path())).transpose()?;
            let kind = if target.is_some() {
                "l"
            } else if entry.file_type().is_dir() {
                "d"
            } else {
                "f"
            };
            found.push(Output { path, kind: kind.to_owned(), target: target.map(|target| normal.of(&target.display().to_string())) });
        }
        Ok(found)
    }
}

/// The last characters of a text.
fn tail(text: &str, most: usize) -> String {
    let skipped = text.chars().count().saturating_sub(most);
    text.chars().skip(skipped).collect()
}
