//! Reads the state of a checkout. Starts no git process if nothing changed since the last time, one or two if no tracked file did, otherwise
//! five or six in parallel: in a large checkout git takes most of the time of a plan.

use super::version;
use crate::settings;
use anyhow::Result;
use child::{environment::Environment, git, git::Git};
use common::digest::hex;
use pkgbuild::tags::{self, Clean, Head, Seen, TreeState};
use sha2::{Digest as _, Sha256};
use std::{
    ffi::OsStr,
    io::Write as _,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// The commit's short id, time, id and tree.
const LOG: &[&str] = &["log", "-1", "--no-show-signature", "--abbrev=8", "--format=%h%n%ct%n%H%n%T"];
/// Whether git looks at the executable bits of files.
const FILE_MODE: &[&str] = &["config", "--type=bool", "--get", "core.fileMode"];
const DESCRIBE: &[&str] = &["describe", "--always", "--tags"];

/// Variables that make git use another place than `.git`.
const MOVED: &[&str] =
    &["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE", "GIT_CEILING_DIRECTORIES"];

/// The state of a checkout.
pub struct GitState {
    /// The commit's id, shortened to eight digits or more.
    pub short_id: String,
    /// Its Unix timestamp.
    pub commit_time: i64,
    /// `git describe --always --tags`.
    pub describe: String,
    /// All files, and the changed ones.
    pub state: TreeState,
    /// What was seen of the working tree, if no tracked file is changed.
    pub seen: Option<Seen>,
}

/// What was seen before of the checkout at a top; none if it was not looked at.
pub type SeenBefore<'f> = dyn Fn(&Path) -> Option<Option<Clean>> + 'f;

/// Reads the state of the checkout around `root`.
pub fn look(root: &Path, environment: &Environment, git: &Git, before: &SeenBefore<'_>) -> Result<GitState> {
    look_with(root, &environment.cache(), &|name| environment.get(name).map(str::to_owned), git, before)
}

/// Whether git is told to use another place than `.git`.
pub(crate) fn is_elsewhere(variable: &dyn Fn(&str) -> Option<String>) -> bool {
    MOVED.iter().any(|name| variable(name).is_some())
}

/// Compares the checkout with its index, and with the names in the folder `memory`.
pub(crate) fn compare(places: &Places, memory: Option<&Path>) -> Option<Clean> {
    let names = memory.and_then(|folder| std::fs::read(folder.join(NAMES)).ok());
    tags::clean_checkout(&places.top, &places.git, names.as_deref())
}

/// Reads the state with this cache folder and these variables.
fn look_with(root: &Path, cache: &Path, variable: &dyn Fn(&str) -> Option<String>, git: &Git, before: &SeenBefore<'_>) -> Result<GitState> {
    let places = Places::find(root).filter(|_| !is_elsewhere(variable));
    let memory = places.as_ref().map(|places| Memory::of(places, cache));
    let (said, clean) = std::thread::scope(|scope| {
        let said = scope.spawn(|| memory.as_ref().and_then(Memory::said).map_or_else(|| Said::by(git), Ok));
        let clean = places.as_ref().and_then(|places| {
            before(&places.top).unwrap_or_else(|| compare(places, memory.as_ref().map(|memory| memory.folder.as_path())))
        });
        (said.join().map_err(|_| anyhow::anyhow!("reading the checkout panicked: this is a bug in xtask")).flatten(), clean)
    });
    let Said { describe, log } = said?;
    let (short_id, commit_time) = version::parse_log(&log)?;
    if let Some((memory, places)) = memory.as_ref().zip(places.as_ref()) {
        memory.keep(places, &describe, &log, clean.as_ref().and_then(Clean::remember));
    }
    let known = places.as_ref().zip(clean).and_then(|(places, mut clean)| {
        if clean.is_racy() && clean.may_be_converted(|| settings::may_convert(&places.git, &places.common, variable)) {
            return None;
        }
        let seen = Seen::new(&places.top, &mut clean);
        Some((state_of(places, clean, &log, git)?, Some(seen)))
    });
    let (state, seen) = known.map_or_else(|| Ok::<_, anyhow::Error>((ask(root, git)?, None)), Ok)?;
    Ok(GitState { short_id, commit_time, describe, state, seen })
}

/// The state of a checkout whose tracked files are unchanged; asks git for the untracked files.
fn state_of(places: &Places, clean: Clean, log: &str, git: &Git) -> Option<TreeState> {
    let mut ids = log.lines().skip(2);
    let (commit, tree) = (ids.next()?, ids.next()?);
    let head = places.head()?;
    if places.commit(&head)? != commit {
        return None;
    }
    let branch = head.strip_prefix("ref: ").map_or(Some("HEAD"), |name| name.strip_prefix("refs/heads/"))?;
    let unknown = clean.unknown().to_vec();
    let mut state = clean.state(&Head { commit, tree, branch })?;
    if !unknown.is_empty() {
        let words = ["--literal-pathspecs", "ls-files", "-z", "--full-name", "--others", "--exclude-standard", "--"].map(OsStr::new);
        let paths: Vec<PathBuf> = unknown.iter().map(|path| places.top.join(path)).collect();
        state.add_untracked_files(&git.look(words.into_iter().chain(paths.iter().map(|path| path.as_os_str()))).ok()?);
    }
    Some(state)
}

fn ask(root: &Path, git: &Git) -> Result<TreeState> {
    let [listing, status, flags, modes] = git.look_at_once([tags::LS_TREE, tags::STATUS, tags::FLAGS, FILE_MODE]);
    let mut state = TreeState::parse(&listing?, &status?)?;
    state.add_flags(&flags?);
    let top = root.ancestors().find(|folder| folder.join(".git").symlink_metadata().is_ok());
    // Where nothing is set git fails, and looks at modes.
    if let Some(top) = top.filter(|_| modes.is_ok_and(|answer| answer.starts_with(b"false"))) {
        state.add_modes(top);
    }
    Ok(state)
}

/// The folders of a checkout and its repository.
pub(crate) struct Places {
    pub(crate) top: PathBuf,
    /// The folder of the index: `.git`, or a subfolder for a linked worktree.
    git: PathBuf,
    /// The folder of the references: `.git` of the main worktree.
    common: PathBuf,
}

impl Places {
    pub(crate) fn find(root: &Path) -> Option<Self> {
        let top = root.ancestors().find(|folder| folder.join(".git").symlink_metadata().is_ok())?.to_owned();
        let mut git = top.join(".git");
        if git.is_file() {
            let text = std::fs::read_to_string(&git).ok()?;
            git = top.join(text.trim_end().strip_prefix("gitdir: ")?);
        }
        let common = std::fs::read_to_string(git.join("commondir")).map_or_else(|_| git.clone(), |text| git.join(text.trim_end()));
        (!settings::moves_files(&git, &common)).then_some(Self { top, git, common })
    }

    /// The content of HEAD: `ref: ` and a branch, or the id of a commit.
    fn head(&self) -> Option<String> {
        Some(std::fs::read_to_string(self.git.join("HEAD")).ok()?.trim_end().to_owned())
    }

    /// The id of the commit of `head`, from the files of the references; none if the branch is a symbolic reference.
    fn commit(&self, head: &str) -> Option<String> {
        let id = match head.strip_prefix("ref: ") {
            None => head.to_owned(),
            Some(name) => match std::fs::read_to_string(self.common.join(name)) {
                Ok(id) => id.trim_end().to_owned(),
                Err(_) => {
                    let packed = std::fs::read_to_string(self.common.join("packed-refs")).ok()?;
                    packed.lines().find_map(|line| line.split_once(' ').filter(|(_, known)| *known == name).map(|(id, _)| id.to_owned()))?
                }
            },
        };
        (id.len() >= 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
    }
}

/// Output of git about the commit.
struct Said {
    describe: String,
    log: String,
}

impl Said {
    fn by(git: &Git) -> Result<Self> {
        let [describe, log] = git.look_at_once([DESCRIBE, LOG]);
        Ok(Self { describe: git::text(describe?)?, log: git::text(log?)? })
    }
}

/// The cache of a checkout: git's output about the commit, valid while commit and tags are unchanged (`git describe` walks the history, which
/// takes longer than all the rest), and the names in its folders.
struct Memory {
    folder: PathBuf,
    /// The commit, tags and history that git's output depends on; none for a repository with reftable, where git is asked each time.
    key: Option<Key>,
}

/// The file with the key, the description and the log, in lines.
const SAID: &str = "said";
/// How git was asked. Change the number when that changes: answers that were kept before are then not used.
const ASKED: &str = "2";
/// The file with the data of the crate `gitindex`.
const NAMES: &str = "names";

/// The folder of a checkout's memory.
pub(crate) fn memory_of(places: &Places, cache: &Path) -> PathBuf {
    cache.join("checkouts").join(hex(&Sha256::digest(places.top.as_os_str().as_bytes())[..8]))
}

impl Memory {
    fn of(places: &Places, cache: &Path) -> Self {
        Self { folder: memory_of(places, cache), key: Key::of(places) }
    }

    fn said(&self) -> Option<Said> {
        let text = std::fs::read_to_string(self.folder.join(SAID)).ok()?;
        let (key, text) = text.split_once('\n')?;
        let (describe, log) = text.split_once('\n')?;
        let log = log.trim_end();
        let wanted = self.key.as_ref()?;
        (key == wanted.all && wanted.is_of(log)).then(|| Said { describe: describe.to_owned(), log: log.to_owned() })
    }

    /// Writes the cache. Ignores errors: git is asked again next time. Writes nothing if the repository changed while git ran.
    fn keep(&self, places: &Places, describe: &str, log: &str, names: Option<&[u8]>) {
        let key = self.key.as_ref().filter(|key| key.is_of(log) && self.said().is_none());
        if let Some(key) = key.filter(|key| Key::of(places).as_ref() == Some(*key)) {
            let _ = self.write(SAID, format!("{}\n{describe}\n{log}\n", key.all).as_bytes());
        }
        if let Some(names) = names {
            let _ = self.write(NAMES, names);
        }
    }

    /// Writes to a unique temporary file and renames it: another process may write at the same time.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let mut draft = tempfile::NamedTempFile::new_in(&self.folder)?;
        draft.write_all(bytes)?;
        draft.persist(self.folder.join(name))?;
        Ok(())
    }
}

/// The data that git's output depends on.
#[derive(PartialEq, Eq)]
struct Key {
    commit: String,
    /// The digest of everything.
    all: String,
}

impl Key {
    fn of(places: &Places) -> Option<Self> {
        if places.common.join("reftable").exists() {
            return None;
        }
        let commit = places.commit(&places.head()?)?;
        let mut hash = Sha256::new();
        hash.update(ASKED);
        hash.update(&commit);
        // References, the end of a shallow history, and replaced commits.
        for name in ["packed-refs", "shallow", "info/grafts"] {
            hash.update(name);
            hash.update(std::fs::read(places.common.join(name)).unwrap_or_default());
        }
        for folder in ["refs/tags", "refs/replace"] {
            let files = walkdir::WalkDir::new(places.common.join(folder)).sort_by_file_name();
            for file in files.into_iter().filter_map(Result::ok).filter(|entry| entry.file_type().is_file()) {
                hash.update(file.path().as_os_str().as_bytes());
                hash.update(std::fs::read(file.path()).ok()?);
            }
        }
        Some(Self { commit, all: hex(&hash.finalize()) })
    }

    /// Whether `log` is the log of this commit.
    fn is_of(&self, log: &str) -> bool {
        log.lines().nth(2) == Some(&self.commit)
    }
}

#[cfg(test)]
mod tests;
