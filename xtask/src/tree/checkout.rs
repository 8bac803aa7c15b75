//! What git says of a checkout: by one process of it where nothing that it tracks has changed, else by four at once. In a large
//! checkout this is most of the time that a plan takes.

use super::version;
use crate::{
    context::Ctx,
    execute::{artifact::write_atomically, stamp::hex},
    tools::git::{self, Git},
};
use anyhow::Result;
use pkgbuild::tags::{self, Clean, Head, TreeState};
use sha2::{Digest as _, Sha256};
use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// The commit's short id, time, id and tree.
const LOG: &[&str] = &["log", "-1", "--abbrev=8", "--format=%h%n%ct%n%H%n%T"];
const DESCRIBE: &[&str] = &["describe", "--always", "--tags"];

/// Variables by which git looks elsewhere than in `.git`.
const MOVED: &[&str] =
    &["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE", "GIT_CEILING_DIRECTORIES"];

/// What was found.
pub struct Checkout {
    /// The commit's id, shortened to eight digits or more.
    pub short_id: String,
    /// Its time, seconds since the epoch.
    pub commit_time: i64,
    /// `git describe --always --tags`.
    pub describe: String,
    /// All files, and what has changed.
    pub state: TreeState,
}

/// Looks at the checkout.
pub fn look(ctx: &Ctx, git: &Git) -> Result<Checkout> {
    let places = Places::find(&ctx.root).filter(|_| !MOVED.iter().any(|name| ctx.environment.get(name).is_some()));
    let memory = places.as_ref().and_then(|places| Memory::of(places, &ctx.environment.cache()));
    let remembered = memory.as_ref().and_then(Memory::read);
    let (log, describe, clean) = std::thread::scope(|scope| {
        let log = scope.spawn(|| git.look(LOG));
        let describe = scope.spawn(|| remembered.map_or_else(|| git.look(DESCRIBE).and_then(git::text), Ok));
        let clean = places.as_ref().and_then(|places| tags::clean_checkout(&places.top, &places.git));
        let broke = |_| anyhow::anyhow!("looking at the checkout broke: this is a defect of xtask");
        (log.join().map_err(broke).flatten(), describe.join().map_err(broke).flatten(), clean)
    });
    let log = git::text(log?)?;
    let (short_id, commit_time) = version::parse_log(&log)?;
    let describe = describe?;
    if let Some(memory) = &memory {
        memory.write(&describe);
    }
    let known = places.as_ref().zip(clean).and_then(|(places, clean)| state_of(places, clean, &log, git));
    let state = known.map_or_else(|| ask(git), Ok)?;
    Ok(Checkout { short_id, commit_time, describe, state })
}

/// The state of a checkout without changes, with what git neither knows nor ignores.
fn state_of(places: &Places, clean: Clean, log: &str, git: &Git) -> Option<TreeState> {
    let mut ids = log.lines().skip(2);
    let (commit, tree) = (ids.next()?, ids.next()?);
    let head = std::fs::read_to_string(places.git.join("HEAD")).ok()?;
    let branch = head.trim_end().strip_prefix("ref: ").map_or(Some("HEAD"), |name| name.strip_prefix("refs/heads/"))?;
    let unknown = clean.unknown().to_vec();
    let mut state = clean.state(&Head { commit, tree, branch })?;
    if !unknown.is_empty() {
        let words = ["--literal-pathspecs", "ls-files", "-z", "--full-name", "--others", "--exclude-standard", "--"].map(OsStr::new);
        let paths: Vec<PathBuf> = unknown.iter().map(|path| places.top.join(path)).collect();
        state.add_untracked_files(&git.look(words.into_iter().chain(paths.iter().map(|path| path.as_os_str()))).ok()?);
    }
    Some(state)
}

fn ask(git: &Git) -> Result<TreeState> {
    let [listing, status] = git.look_at_once([tags::LS_TREE, tags::STATUS]);
    TreeState::parse(&listing?, &status?)
}

/// Where a checkout and its repository are.
struct Places {
    top: PathBuf,
    /// The folder of the index: `.git`, or that of a further working tree.
    git: PathBuf,
    /// The folder of the references, where that is another.
    common: PathBuf,
}

impl Places {
    fn find(root: &Path) -> Option<Self> {
        let top = root.ancestors().find(|folder| folder.join(".git").symlink_metadata().is_ok())?.to_owned();
        let mut git = top.join(".git");
        if git.is_file() {
            let text = std::fs::read_to_string(&git).ok()?;
            git = top.join(text.trim_end().strip_prefix("gitdir: ")?);
        }
        let common = std::fs::read_to_string(git.join("commondir")).map_or_else(|_| git.clone(), |text| git.join(text.trim_end()));
        Some(Self { top, git, common })
    }
}

/// What `git describe` said the last time: the same as long as the commit and the tags are. It walks the history, which takes longer
/// than all the rest.
struct Memory {
    file: PathBuf,
    key: String,
}

impl Memory {
    fn of(places: &Places, cache: &Path) -> Option<Self> {
        let packed = std::fs::read(places.common.join("packed-refs")).unwrap_or_default();
        let head = std::fs::read_to_string(places.git.join("HEAD")).ok()?;
        let mut hash = Sha256::new();
        hash.update(commit(places, head.trim_end(), &packed)?);
        hash.update(&packed);
        let tags = walkdir::WalkDir::new(places.common.join("refs/tags")).sort_by_file_name();
        for tag in tags.into_iter().filter_map(Result::ok).filter(|entry| entry.file_type().is_file()) {
            hash.update(tag.path().as_os_str().as_bytes());
            hash.update(std::fs::read(tag.path()).ok()?);
        }
        // A repository that keeps its references otherwise is asked each time.
        let is_plain = !places.common.join("reftable").exists();
        let name = hex(&Sha256::digest(places.top.as_os_str().as_bytes())[..8]);
        is_plain.then(|| Self { file: cache.join("describe").join(name), key: hex(&hash.finalize()) })
    }

    fn read(&self) -> Option<String> {
        let text = std::fs::read_to_string(&self.file).ok()?;
        let (key, describe) = text.trim_end().split_once(' ')?;
        (key == self.key).then(|| describe.to_owned())
    }

    fn write(&self, describe: &str) {
        if self.read().is_none() {
            // Where it cannot be kept, git is asked again.
            let _ = write_atomically(&self.file, format!("{} {describe}\n", self.key).as_bytes());
        }
    }
}

/// The id of the commit that is checked out, from the files of the references.
fn commit(places: &Places, head: &str, packed: &[u8]) -> Option<String> {
    let Some(name) = head.strip_prefix("ref: ") else { return Some(head.to_owned()) };
    if let Ok(id) = std::fs::read_to_string(places.common.join(name)) {
        return Some(id.trim_end().to_owned());
    }
    let packed = std::str::from_utf8(packed).ok()?;
    packed.lines().find_map(|line| line.split_once(' ').filter(|(_, known)| *known == name).map(|(id, _)| id.to_owned()))
}
