//! Measures what a person waits for while working: `live` after an edit, after a commit, after a change of the configuration, and after
//! the tree was moved. Each result is compared with that of a build without a store, in another clone.

use super::{
    builds::measure,
    row::{Budget, IMAGE_MEMORY, Row},
    setting::Setting,
};
use anyhow::{Context as _, Result, bail};
use child::{Cmd, interrupt};
use common::{artifact::settle, digest::sha256_of};
use std::{
    fs::File,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// A script of the image, and a file of the configuration.
const SCRIPT: &str = "pkg/debug/rootfs/usr/bin/ssh.sh";
const CONFIG: &str = "conf/bench";
/// A Debian package that the archive does not have, and no package takes.
const DEBIAN: &str = "bc";
/// The version while only contents change.
const FIXED: (&str, &str) = ("ROOTFS_VERSION", "0.0.0-bench");

/// Two clones with the same history: one that is built again and again with a store, and one that is built from clean.
struct Work<'s> {
    setting: &'s Setting<'s>,
    images: PathBuf,
    store: PathBuf,
    tree: PathBuf,
    rows: Vec<Row>,
}

/// Runs all rounds; takes some minutes, because every result is also built without a store.
pub fn run(setting: &Setting<'_>) -> Result<Vec<Row>> {
    let [images, store, tree] = ["images", "store", "tree"].map(|name| setting.fresh(name));
    let mut work = Work { setting, images: images?, store: store?, tree: tree?, rows: Vec::new() };
    setting.rivals.clone(&setting.ctx.root, &work.tree)?.run()?;
    // Images that the rounds make do not stay in the cache of all trees.
    copy_folder(&setting.ctx.environment.linuxkit_cache(), &work.images)?;
    let fixed: &[_] = &[FIXED];
    work.live(&work.tree, fixed)?.run()?;
    append(&work.tree.join(SCRIPT), "# bench\n")?;
    work.round("a script of pkg/debug is edited", 3.0, fixed)?;
    append(&work.tree.join(CONFIG), "one\n")?;
    work.round("conf/ is changed", 0.5, fixed)?;
    work.commit()?;
    work.live(&work.tree, &[])?.run()?;
    work.commit()?;
    work.round("a commit without a change", 1.5, &[])?;
    append(&work.tree.join(CONFIG), "two\n")?;
    work.commit()?;
    // The version's name is a file of the root file system, so that is packed again.
    work.round("conf/ is changed, in a new version", 0.5, &[])?;
    work.elsewhere()?;
    work.moved()?;
    if setting.cold {
        work.added()?;
    }
    Ok(work.rows)
}

impl Work<'_> {
    /// `live` in a clone, with this benchmark's caches.
    fn live(&self, tree: &Path, knobs: &[(&str, &str)]) -> Result<Cmd> {
        let live = self.setting.ourselves(tree)?.env("LINUXKIT_CACHE", &self.images).env("STORE", &self.store);
        let live = live.env("ROOTFS_COMPRESSION", self.setting.ctx.knobs.image.compression.as_str());
        Ok(knobs.iter().fold(live, |live, (name, value)| live.env(name, value)).args(["--json", "live"]))
    }

    fn commit(&self) -> Result<()> {
        self.setting.rivals.commit(&self.tree)?.into_iter().try_for_each(|git| git.run())
    }

    /// Measures `live`, and compares its result with that of a build from clean.
    fn round(&mut self, what: &str, most: f64, knobs: &[(&str, &str)]) -> Result<()> {
        // The build before this one, which it is compared with, is nothing that a person waits for.
        settle();
        let usage = measure(self.live(&self.tree, knobs)?)?.0;
        self.compare(what, knobs, &self.images)?;
        self.rows.push(Row { budget: Budget::Seconds(most), memory: Some(IMAGE_MEMORY), ..Row::alone(title(what), usage.into()) });
        Ok(())
    }

    /// Compares the last result with that of a build from clean, whose packages are in the image cache `images`, or are built into it.
    fn compare(&self, what: &str, knobs: &[(&str, &str)], images: &Path) -> Result<()> {
        let clean = self.setting.fresh("clean")?;
        self.setting.rivals.clone(&self.tree, &clean)?.run()?;
        for changed in [SCRIPT, CONFIG] {
            let from = self.tree.join(changed);
            if from.exists() {
                std::fs::copy(&from, clean.join(changed)).with_context(|| format!("cannot copy `{}`", from.display()))?;
            }
        }
        self.live(&clean, knobs)?.env("STORE", "off").env("LINUXKIT_CACHE", images).run()?;
        for file in ["installer/rootfs.img", "installer/config.img", "live.qcow2"] {
            let [ours, theirs] = [&self.tree, &clean].map(|tree| sha256_of(&self.current(tree).join(file)));
            if ours? != theirs? {
                bail!("{what}: `{file}` has other bytes than a build from clean gives");
            }
        }
        Ok(())
    }

    fn current(&self, tree: &Path) -> PathBuf {
        tree.join("dist").join(self.setting.ctx.knobs.image.arch.as_str()).join("current")
    }

    /// Builds the same commit in another clone with the same store.
    fn elsewhere(&mut self) -> Result<()> {
        let other = self.setting.fresh("other")?;
        self.setting.rivals.clone(&self.tree, &other)?.run()?;
        let (usage, report) = measure(self.live(&other, &[])?)?;
        if !report.taken.iter().any(|node| node.node == "rootfs.img") {
            bail!("`live` in another clone did not take rootfs.img from the store");
        }
        let [ours, theirs] = [&self.tree, &other].map(|tree| sha256_of(&self.current(tree).join("live.qcow2")));
        if ours? != theirs? {
            bail!("`live` in another clone gave other bytes");
        }
        self.rows.push(Row {
            budget: Budget::Seconds(1.5),
            memory: Some(IMAGE_MEMORY),
            ..Row::alone(title("another clone"), usage.into())
        });
        Ok(())
    }

    /// Moves the tree, and gives its artifacts other times, as a CI cache does: nothing is left to do.
    fn moved(&mut self) -> Result<()> {
        let to = self.setting.fresh("moved")?;
        std::fs::rename(&self.tree, &to).with_context(|| format!("cannot move `{}`", self.tree.display()))?;
        self.tree = to;
        let past = SystemTime::now() - Duration::from_secs(1000);
        for entry in walkdir::WalkDir::new(self.tree.join("dist")).into_iter().filter_map(Result::ok) {
            if entry.file_type().is_file() {
                let file = File::options().write(true).open(entry.path());
                file.and_then(|file| file.set_modified(past)).with_context(|| format!("cannot touch `{}`", entry.path().display()))?;
            }
        }
        let (first, made) = measure(self.live(&self.tree, &[])?)?;
        let (second, again) = measure(self.live(&self.tree, &[])?)?;
        if let Some(made) = [&made.made, &made.taken, &again.made, &again.taken].into_iter().flatten().next() {
            bail!("`live` in a moved tree made {}", made.node);
        }
        self.rows.push(Row::alone(title("the tree is restored elsewhere"), first.into()));
        self.rows.push(Row { budget: Budget::Seconds(0.5), ..Row::alone(title("the same once more"), second.into()) });
        Ok(())
    }

    /// Adds a package to the Debian archive, whose tag every other package names. The clean build makes all packages anew.
    fn added(&mut self) -> Result<()> {
        let what = "one Debian package is added to the archive";
        // Only what this very program has built is known by what it took from the archive.
        self.images = self.setting.fresh_folder("built")?;
        self.setting.ourselves(&self.tree)?.env("LINUXKIT_CACHE", &self.images).args(["pkgs"]).run()?;
        let add = ["pins", "--add", DEBIAN, "--arch", self.setting.ctx.knobs.image.arch.as_str()];
        let added = self.setting.ourselves(&self.tree)?.env("LINUXKIT_CACHE", &self.images).args(add).measure();
        let usage = match added {
            Err(error) if !interrupt::is_interrupted() => {
                // A mirror that cannot be used costs this row only.
                eprintln!("SKIPPED: {what}: {error:#}");
                return Ok(());
            }
            added => added?.0,
        };
        self.rows.push(Row::alone(format!("{what}: `pins --add`"), usage.into()));
        self.commit()?;
        let usage = measure(self.live(&self.tree, &[])?)?.0;
        self.compare(what, &[], &self.setting.fresh_folder("anew")?)?;
        self.rows.push(Row::alone(title(what), usage.into()));
        Ok(())
    }
}

fn title(what: &str) -> String {
    format!("{what}: `live`")
}

/// Adds `line` to a file, which it makes if there is none.
pub(super) fn append(file: &Path, line: &str) -> Result<()> {
    let mut text = std::fs::read_to_string(file).unwrap_or_default();
    text.push_str(line);
    std::fs::write(file, text).with_context(|| format!("cannot write `{}`", file.display()))
}

/// Copies a folder with its files and folders.
pub(super) fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.with_context(|| format!("cannot read `{}`", from.display()))?;
        let to = to.join(entry.path().strip_prefix(from)?);
        match entry.file_type().is_dir() {
            true => std::fs::create_dir_all(&to),
            false => std::fs::copy(entry.path(), &to).map(drop),
        }
        .with_context(|| format!("cannot copy `{}`", entry.path().display()))?;
    }
    Ok(())
}
