//! The state of a checkout as reported by git: ids of everything at HEAD, and all changes.

use super::objects::{Id, file_now, hex, parse_id, root_id, sha1};
use anyhow::{Context as _, Result, bail};
/// A file at HEAD.
pub(super) use gitindex::File as Entry;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::OsStr,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::Path,
};

/// First git command, run anywhere in the checkout: all files and folders at HEAD. For another commit, replace HEAD and pass an
/// empty status.
pub const LS_TREE: &[&str] = &["ls-tree", "-r", "-t", "-z", "--full-tree", "HEAD"];

/// Second git command: the branch, all changes and untracked files.
pub const STATUS: &[&str] = &["--no-optional-locks", "status", "--porcelain=v2", "-z", "--branch", "--untracked-files=all", "--no-renames"];

/// Third git command: all files of the index, with a letter that tells those at which git does not look.
pub const FLAGS: &[&str] = &["ls-files", "-z", "-v", "--full-name", "--", ":/"];

/// Difference of a path from HEAD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Untracked and not ignored.
    Untracked,
    /// In the index or at HEAD.
    Tracked {
        /// Index against HEAD: letter of `git status`, `.` for none.
        index: u8,
        /// Working tree against index.
        worktree: u8,
        /// Mode and blob at HEAD; zero if it is not there.
        head: (u32, Id),
        /// Removed from the index but still in the working tree (`git rm --cached`).
        also_untracked: bool,
    },
    /// A conflict, with the number of its index entries.
    Unmerged(usize),
}

/// Files whose content will be another one before it is committed: path below the top → id of the new content.
#[derive(Clone, Debug, Default)]
pub struct Future(BTreeMap<Vec<u8>, Id>);

impl Future {
    /// The file `path` will be `text`. Its mode stays.
    pub fn write(&mut self, path: &[u8], text: &[u8]) {
        self.0.insert(path.to_vec(), sha1(&[format!("blob {}\0", text.len()).as_bytes(), text]));
    }
}

/// Snapshot of a checkout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeState {
    commit: String,
    branch: String,
    trees: HashMap<Box<[u8]>, Id>,
    /// Files at HEAD, in byte order of their paths.
    pub(super) files: Vec<Entry>,
    pub(super) changes: BTreeMap<Box<[u8]>, Change>,
    /// Files that git was told not to look at (`assume-unchanged`, a sparse checkout), in byte order.
    pub(super) hidden: BTreeSet<Box<[u8]>>,
    /// Files whose mode git does not look at, and that have another one than at HEAD.
    modes: BTreeSet<Box<[u8]>>,
}

impl TreeState {
    /// Parses the output of [`LS_TREE`] and [`STATUS`].
    pub fn parse(ls_tree: &[u8], status: &[u8]) -> Result<Self> {
        let mut state = Self::default();
        for record in ls_tree.split(|b| *b == 0).filter(|record| !record.is_empty()) {
            state.add_entry(record).with_context(|| format!("cannot parse `{}` from `git ls-tree`", String::from_utf8_lossy(record)))?;
        }
        state.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let mut records = status.split(|b| *b == 0).filter(|record| !record.is_empty());
        while let Some(record) = records.next() {
            let renamed_from = if record.starts_with(b"2 ") { records.next() } else { None };
            state
                .add_status(record, renamed_from)
                .with_context(|| format!("cannot parse `{}` from `git status`", String::from_utf8_lossy(record)))?;
        }
        Ok(state)
    }

    /// A checkout without changes; `files` in byte order.
    pub(super) fn unchanged(
        commit: &str,
        branch: &str,
        trees: HashMap<Box<[u8]>, Id>,
        files: Vec<Entry>,
        hidden: BTreeSet<Box<[u8]>>,
    ) -> Self {
        let (commit, branch) = (commit.to_owned(), branch.to_owned());
        Self { commit, branch, trees, files, hidden, modes: BTreeSet::new(), changes: BTreeMap::new() }
    }

    /// Adds the output of [`FLAGS`].
    pub fn add_flags(&mut self, list: &[u8]) {
        for record in list.split(|byte| *byte == 0) {
            // A lower-case letter: assume-unchanged. S: skip-worktree, the mark of a sparse checkout.
            if let [letter, b' ', path @ ..] = record
                && (letter.is_ascii_lowercase() || *letter == b'S')
            {
                self.hidden.insert(path.into());
            }
        }
    }

    /// Adds the files in the checkout at `top` that are executable there and not at HEAD, or the reverse: with `core.fileMode=false` git does
    /// not look at that, and an image holds what is there.
    pub fn add_modes(&mut self, top: &Path) {
        for entry in &self.files {
            let now = top.join(OsStr::from_bytes(&entry.path)).symlink_metadata();
            let is_file = entry.mode & 0o170_000 == 0o100_000;
            if is_file && now.is_ok_and(|now| now.is_file() && (now.permissions().mode() & 0o100 != 0) != (entry.mode & 0o100 != 0)) {
                self.modes.insert((*entry.path).into());
            }
        }
    }

    /// Whether a file below `folder` that git does not look at differs from HEAD, or is missing.
    pub(super) fn hides_changes(&self, top: &Path, folder: &[u8]) -> Result<bool> {
        Ok(self.modes.iter().any(|path| is_below(path, folder)) || self.hidden_change(top, folder)?.is_some())
    }

    /// A file below `folder` that git was told not to look at and that differs from HEAD, or is missing. Submodules are not looked into.
    pub(super) fn hidden_change(&self, top: &Path, folder: &[u8]) -> Result<Option<&Path>> {
        for name in self.hidden.iter().filter(|path| is_below(path, folder)) {
            let (head, path) = (self.file(name).map(|entry| (entry.mode, entry.id)), Path::new(OsStr::from_bytes(name)));
            let is_submodule = head.is_some_and(|(mode, _)| mode & 0o170_000 == 0o160_000);
            // What the index has instead of HEAD is a change that git shows.
            if !is_submodule && !self.changes.contains_key(name) && file_now(&top.join(path))? != head {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Adds the output of `git ls-files -z --others --exclude-standard`.
    pub fn add_untracked_files(&mut self, list: &[u8]) {
        list.split(|byte| *byte == 0).filter(|path| !path.is_empty()).for_each(|path| self.add_untracked(path));
    }

    fn add_entry(&mut self, record: &[u8]) -> Result<()> {
        let tab = record.iter().position(|b| *b == b'\t').context("there is no tab")?;
        let (head, path) = (std::str::from_utf8(&record[..tab])?, &record[tab + 1..]);
        let mut words = head.split(' ');
        let (Some(mode), Some(kind), Some(id)) = (words.next(), words.next(), words.next()) else { bail!("too few fields") };
        let id = parse_id(id)?;
        if kind == "tree" {
            self.trees.insert(path.into(), id);
        } else {
            self.files.push(Entry { path: path.into(), mode: u32::from_str_radix(mode, 8)?, id });
        }
        Ok(())
    }

    fn add_status(&mut self, record: &[u8], renamed_from: Option<&[u8]>) -> Result<()> {
        let (kind, rest) = record.split_at_checked(2).context("the record is too short")?;
        // Number of fields between the type and the path.
        let words = match kind {
            b"# " => return self.add_header(std::str::from_utf8(rest)?),
            b"! " => return Ok(()),
            b"? " => {
                self.add_untracked(rest);
                return Ok(());
            }
            b"1 " => 7,
            b"2 " => 8,
            b"u " => 9,
            _ => bail!("unknown type of record"),
        };
        let fields: Vec<&[u8]> = rest.splitn(words + 1, |b| *b == b' ').collect();
        let (true, [index, worktree]) = (fields.len() == words + 1, fields[0]) else { bail!("too few fields") };
        let path = fields[words];
        if kind == b"u " {
            let stages = fields[2..5].iter().filter(|mode| **mode != b"000000").count();
            self.changes.insert(path.into(), Change::Unmerged(stages));
            return Ok(());
        }
        let mode = u32::from_str_radix(std::str::from_utf8(fields[2])?, 8)?;
        let mut head = (mode, parse_id(std::str::from_utf8(fields[5])?)?);
        let mut index = *index;
        if let Some(from) = renamed_from {
            let gone = self.file(from).map_or((0, [0; 20]), |entry| (entry.mode, entry.id));
            self.changes.insert(from.into(), Change::Tracked { index: b'D', worktree: b'.', head: gone, also_untracked: false });
            (index, head) = (b'A', (0, [0; 20]));
        }
        self.changes.insert(path.into(), Change::Tracked { index, worktree: *worktree, head, also_untracked: false });
        Ok(())
    }

    fn add_untracked(&mut self, path: &[u8]) {
        match self.changes.get_mut(path) {
            Some(Change::Tracked { also_untracked, .. }) => *also_untracked = true,
            _ => drop(self.changes.insert(path.into(), Change::Untracked)),
        }
    }

    fn add_header(&mut self, header: &str) -> Result<()> {
        match header.split_once(' ') {
            Some(("branch.oid", "(initial)")) => bail!("there is no commit yet"),
            Some(("branch.oid", id)) => self.commit = id.to_owned(),
            // Same as `git rev-parse --abbrev-ref HEAD`.
            Some(("branch.head", "(detached)")) => self.branch = "HEAD".to_owned(),
            Some(("branch.head", name)) => self.branch = name.to_owned(),
            _ => {}
        }
        Ok(())
    }

    /// Id of the commit.
    #[must_use]
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// Name of the branch; `HEAD` if detached.
    #[must_use]
    pub fn branch(&self) -> &str {
        &self.branch
    }

    /// Tracked files with changes, by path below the top: the files that `git describe --dirty` considers.
    pub fn changed_tracked(&self) -> impl Iterator<Item = &Path> {
        let tracked = self.changes.iter().filter(|(_, change)| **change != Change::Untracked);
        tracked.map(|(path, _)| Path::new(OsStr::from_bytes(path)))
    }

    /// Whether tags take account of the file or folder `path` (below the top): git tracks it or something in it, or would
    /// without an ignore rule.
    #[must_use]
    pub fn covers(&self, path: &[u8]) -> bool {
        !self.files_below(path).is_empty() || self.changes_below(path).next().is_some()
    }

    /// Id at HEAD in hex of the folder or file `path`; the empty path is the whole tree.
    #[must_use]
    pub fn id_of(&self, path: &[u8]) -> Option<String> {
        if path.is_empty() {
            return self.id_at_head(path).map(|id| hex(&id));
        }
        self.trees.get(path).or_else(|| self.file(path).map(|entry| &entry.id)).map(|id| hex(id))
    }

    /// Whether the folder `path` is at HEAD.
    pub(super) fn has_folder(&self, path: &[u8]) -> bool {
        self.trees.contains_key(path)
    }

    fn tree_id(&self, path: &[u8]) -> Option<Id> {
        self.trees.get(path).copied()
    }

    /// Id of the folder or file `path` at HEAD, computed from its files.
    fn id_at_head(&self, path: &[u8]) -> Option<Id> {
        let files: Vec<(&[u8], u32, Id)> = self.files_below(path).iter().map(|entry| (&*entry.path, entry.mode, entry.id)).collect();
        root_id(&files, path)
    }

    /// The files below `folder` (below the top) that git would commit now, in byte order; links and submodules are among them.
    #[must_use]
    pub fn files_now(&self, top: &Path, folder: &[u8]) -> Vec<Vec<u8>> {
        let at_head = self.files_below(folder).iter().map(|entry| &*entry.path);
        let paths: BTreeSet<&[u8]> = at_head.chain(self.changes_below(folder).map(|(path, _)| path)).collect();
        let is_there = |path: &[u8]| top.join(OsStr::from_bytes(path)).symlink_metadata().is_ok_and(|metadata| !metadata.is_dir());
        // Without a change git has seen the file where it is.
        paths.into_iter().filter(|path| !self.changes.contains_key(*path) || is_there(path)).map(<[u8]>::to_vec).collect()
    }

    /// Whether git shows a change of the file `path`, or of a file below the folder `path`.
    #[must_use]
    pub fn has_changes(&self, path: &[u8]) -> bool {
        self.changes_below(path).next().is_some()
    }

    /// Id that the folder or file `path` would have if everything below it that git does not ignore were committed now, the files in
    /// `future` with another content. `top` is the folder of the working tree.
    pub(super) fn id_now(&self, top: &Path, path: &[u8], future: &Future) -> Result<Option<Id>> {
        let rewritten =
            || future.0.range(path.to_vec()..).map(|(name, id)| (name.as_slice(), id)).take_while(|(name, _)| name.starts_with(path));
        let rewritten = || rewritten().filter(|(name, _)| is_below(name, path));
        if self.changes_below(path).next().is_none()
            && rewritten().next().is_none()
            && let Some(id) = self.tree_id(path)
        {
            return Ok(Some(id));
        }
        let mut files: BTreeMap<&[u8], (u32, Id)> =
            self.files_below(path).iter().map(|entry| (&*entry.path, (entry.mode, entry.id))).collect();
        for (name, change) in self.changes_below(path) {
            let kept = matches!(change, Change::Tracked { head: (0o160_000, _), .. });
            if kept {
                bail!("`{}` is a submodule with changes", String::from_utf8_lossy(name));
            }
            match file_now(&top.join(OsStr::from_bytes(name)))? {
                Some(now) => drop(files.insert(name, now)),
                None => drop(files.remove(name)),
            }
        }
        for (name, id) in rewritten() {
            let entry = files.get_mut(name).with_context(|| format!("git does not track `{}`", String::from_utf8_lossy(name)))?;
            entry.1 = *id;
        }
        let files: Vec<(&[u8], u32, Id)> = files.into_iter().map(|(name, (mode, id))| (name, mode, id)).collect();
        Ok(root_id(&files, path))
    }

    pub(super) fn file(&self, path: &[u8]) -> Option<&Entry> {
        self.position(path).map(|at| &self.files[at])
    }

    /// The position of `path` among the files.
    pub(super) fn position(&self, path: &[u8]) -> Option<usize> {
        self.files.binary_search_by(|entry| (*entry.path).cmp(path)).ok()
    }

    /// Files at HEAD below `folder`, or the file of that name.
    pub(super) fn files_below(&self, folder: &[u8]) -> &[Entry] {
        if folder.is_empty() {
            return &self.files;
        }
        let start = self.files.partition_point(|entry| *entry.path < *folder);
        let inside = |entry: &&Entry| is_below(&entry.path, folder);
        // `a-b` sorts between `a` and `a/b`.
        let first = self.files[start..].partition_point(|entry| *entry.path < *[folder, b"/"].concat()) + start;
        let first = if self.files.get(start).is_some_and(|entry| *entry.path == *folder) { start } else { first };
        &self.files[first..first + self.files[first..].iter().take_while(inside).count()]
    }

    /// Changed and untracked paths below `folder`, relative to the top.
    pub fn changed_below<'s>(&'s self, folder: &'s Path) -> impl Iterator<Item = &'s Path> {
        self.changes_below(folder.as_os_str().as_bytes()).map(|(path, _)| Path::new(OsStr::from_bytes(path)))
    }

    /// Changes below `folder`, or of the file of that name.
    pub(super) fn changes_below<'s>(&'s self, folder: &'s [u8]) -> impl Iterator<Item = (&'s [u8], &'s Change)> {
        let from: Box<[u8]> = folder.into();
        let range = self.changes.range(from..).take_while(move |(path, _)| path.starts_with(folder));
        range.filter(move |(path, _)| is_below(path, folder)).map(|(path, change)| (&**path, change))
    }

    /// Whether `git diff HEAD` or untracked files show a change below `folder`.
    pub(super) fn is_dirty(&self, top: &Path, folder: &[u8]) -> Result<bool> {
        for (path, change) in self.changes_below(folder) {
            let differs = match change {
                Change::Untracked => true,
                // A conflict that left the file unchanged is no difference.
                Change::Unmerged(_) => {
                    let head = self.file(path).map(|entry| (entry.mode, entry.id));
                    file_now(&top.join(OsStr::from_bytes(path)))? != head
                }
                // Added to the index and deleted again: HEAD and working tree are equal.
                Change::Tracked { index: b'A', worktree: b'D', .. } => false,
                // A staged change that was undone in the working tree is no difference.
                Change::Tracked { index: b'M' | b'T', worktree: b'M' | b'T', head, .. } => {
                    file_now(&top.join(OsStr::from_bytes(path)))? != Some(*head)
                }
                Change::Tracked { .. } => true,
            };
            if differs {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn is_below(path: &[u8], folder: &[u8]) -> bool {
    match path.strip_prefix(folder) {
        Some(rest) => folder.is_empty() || rest.is_empty() || rest[0] == b'/',
        None => false,
    }
}
