//! Writes a stage to a folder of this machine while a step runs, and reads the step's changes back. Owners, devices and extended
//! attributes stay only in the tree: an ordinary user cannot write them to a folder.

use anyhow::{Context as _, Result, bail};
use common::owned_folder::OwnedFolder;
use filetree::{Content, Kind, Meta, Node, Spool, Tree};
use pkgbuild::builder::{Mount, MountKind};
use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    fs::{self, DirBuilder, File, Metadata, Permissions},
    io::copy,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
};

/// Changes whenever a program changes a file: the ctime, which no program can set, and the inode.
type Mark = (i64, i64, u64);

/// A stage in a folder, which is removed when this is dropped.
pub(super) struct Stage {
    folder: OwnedFolder,
    spool: PathBuf,
    marks: BTreeMap<Vec<u8>, Mark>,
    mounts: Vec<Vec<u8>>,
}

impl Stage {
    /// Writes `tree`, and what `mounts` mount on it, to a new folder in `folder`.
    pub(super) fn write(tree: &Tree, mounts: &[Mount], folder: &Path) -> Result<Self> {
        let temporary = OwnedFolder::new(folder, "stage-")?;
        let root = temporary.path().join("root");
        let mut links = HashMap::new();
        write_node(&tree.root, &root, &mut links)?;
        let mut stage = Self { folder: temporary, spool: folder.to_owned(), marks: BTreeMap::new(), mounts: Vec::new() };
        for mount in mounts {
            let at = tree.resolve(&mount.target, true)?;
            let place = root.join(OsStr::from_bytes(&at));
            if place.exists() {
                bail!("cannot mount on `{}`: it already exists in the stage", mount.target);
            }
            let parent = place.parent().context("a mount is below the root")?;
            fs::create_dir_all(parent)?;
            match &mount.kind {
                MountKind::Bind { node, .. } => write_node(node, &place, &mut links)?,
                MountKind::Scratch => fs::create_dir_all(&place)?,
            }
            stage.mounts.push(at);
        }
        stage.marks = marks(&root)?;
        Ok(stage)
    }

    pub(super) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// The tree after the step: unchanged files as in `before`, changed files owned by root and no newer than `epoch`.
    pub(super) fn read_back(self, before: &Tree, epoch: i64) -> Result<Tree> {
        let root = self.root();
        let mut spool = Spool::new_in(&self.spool)?;
        let mut after = Tree::new();
        after.root.meta = before.root.meta.clone();
        let mut links: HashMap<u64, (u64, Content)> = HashMap::new();
        let mut walk = walkdir::WalkDir::new(&root).min_depth(1).sort_by_file_name().into_iter();
        while let Some(entry) = walk.next() {
            let entry = entry.context("cannot read the files of the step")?;
            let path = entry.path().strip_prefix(&root)?.as_os_str().as_bytes().to_vec();
            let metadata = entry.metadata()?;
            let ours = |name: &[u8]| matches!(name, b"proc" | b"sys" | b"dev") || name == b"tmp" && before.get("tmp").is_none();
            if self.mounts.contains(&path) || ours(&path) {
                walk.skip_current_dir();
                continue;
            }
            if metadata.is_dir() {
                // Let the walk read directories that the step made unreadable.
                open_for_owner(entry.path(), &metadata, 0o700)?;
            }
            let old = before.get(&path).filter(|_| self.marks.get(&path) == Some(&mark(&metadata)));
            let node = match old {
                Some(old) => shallow(old),
                None => changed(&entry, &metadata, before.get(&path), epoch, &mut spool, &mut links)?,
            };
            after.insert(&path, node)?;
        }
        for name in ["dev", "proc", "sys"] {
            if let Some(node) = before.get(name) {
                after.insert(name, node.clone())?;
            }
        }
        keep_devices(before, &mut after)?;
        Ok(after)
    }
}

/// The node without its children, which the walk adds.
fn shallow(node: &Node) -> Node {
    let kind = match &node.kind {
        Kind::Dir(_) => Kind::Dir(BTreeMap::new()),
        other => other.clone(),
    };
    Node { meta: node.meta.clone(), kind }
}

fn changed(
    entry: &walkdir::DirEntry,
    metadata: &Metadata,
    old: Option<&Node>,
    epoch: i64,
    spool: &mut Spool,
    links: &mut HashMap<u64, (u64, Content)>,
) -> Result<Node> {
    let path = entry.path();
    let mut meta = Meta::root(metadata.mode() & 0o7777, metadata.mtime().min(epoch));
    let kind = metadata.file_type();
    let kind = if kind.is_dir() {
        // A directory changes with its content; keep its old owner and time.
        if let Some(Node { meta: old, kind: Kind::Dir(_) }) = old {
            meta = Meta { mode: meta.mode, ..old.clone() };
        }
        Kind::Dir(BTreeMap::new())
    } else if kind.is_symlink() {
        meta.mode = 0o777;
        Kind::Symlink(fs::read_link(path)?.as_os_str().as_bytes().to_vec())
    } else if kind.is_file() {
        let shared = metadata.nlink() > 1;
        let content = match links.get(&metadata.ino()).filter(|_| shared) {
            Some((_, content)) => content.clone(),
            None => {
                open_for_owner(path, metadata, 0o400)?;
                spool.add(&mut File::open(path).with_context(|| format!("cannot read `{}`, which the step wrote", path.display()))?)?
            }
        };
        // The number must differ from all link numbers of the tree before.
        let number = links.len() as u64 + (1 << 40);
        let link = shared.then(|| links.entry(metadata.ino()).or_insert_with(|| (number, content.clone())).0);
        Kind::File { content, link }
    } else if kind.is_fifo() {
        Kind::Fifo
    } else if kind.is_socket() {
        bail!("the step left a socket at `{}`: an image cannot contain sockets", path.display());
    } else {
        bail!("the step created a device at `{}`: steps cannot add devices to an image", path.display());
    };
    Ok(Node { meta, kind })
}

/// Copies devices and pipes, which the stage did not contain, from `before`, if their folders still exist.
fn keep_devices(before: &Tree, after: &mut Tree) -> Result<()> {
    let mut devices = Vec::new();
    before.walk(&mut |path, node| {
        if matches!(node.kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo) {
            devices.push((path.to_vec(), node.clone()));
        }
        Ok(())
    })?;
    for (path, node) in devices {
        let parent = path.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |at| &path[..at]);
        if after.get(parent).is_some_and(|node| matches!(node.kind, Kind::Dir(_))) {
            after.insert(&path, node)?;
        }
    }
    Ok(())
}

fn open_for_owner(path: &Path, metadata: &Metadata, bits: u32) -> Result<()> {
    let mode = metadata.mode() & 0o7777;
    if mode & bits != bits {
        fs::set_permissions(path, Permissions::from_mode(mode | bits)).with_context(|| format!("cannot open `{}`", path.display()))?;
    }
    Ok(())
}

fn mark(metadata: &Metadata) -> Mark {
    (metadata.ctime(), metadata.ctime_nsec(), metadata.ino())
}

fn marks(root: &Path) -> Result<BTreeMap<Vec<u8>, Mark>> {
    let mut marks = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        let entry = entry?;
        let path = entry.path().strip_prefix(root)?.as_os_str().as_bytes().to_vec();
        marks.insert(path, mark(&entry.metadata()?));
    }
    Ok(marks)
}

/// Writes a node and its children. Follows no links: `path` is below our own folder, and children of links do not exist.
fn write_node(node: &Node, path: &Path, links: &mut HashMap<u64, PathBuf>) -> Result<()> {
    match &node.kind {
        Kind::Dir(children) => {
            DirBuilder::new().mode(0o700).create(path).with_context(|| format!("cannot make `{}`", path.display()))?;
            for (name, child) in children {
                write_node(child, &path.join(OsStr::from_bytes(name)), links)?;
            }
            fs::set_permissions(path, Permissions::from_mode(node.meta.mode | 0o700))?;
        }
        Kind::File { content, link } => {
            if let Some(first) = link.and_then(|link| links.get(&link)) {
                return fs::hard_link(first, path).with_context(|| format!("cannot link `{}`", path.display()));
            }
            let mut file = File::create_new(path).with_context(|| format!("cannot write `{}`", path.display()))?;
            copy(&mut content.open()?, &mut file).with_context(|| format!("cannot write `{}`", path.display()))?;
            file.set_permissions(Permissions::from_mode(node.meta.mode))?;
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(node.meta.mtime).unwrap_or(0));
            file.set_modified(time)?;
            if let Some(link) = link {
                links.insert(*link, path.to_owned());
            }
        }
        Kind::Symlink(target) => symlink(OsStr::from_bytes(target), path)?,
        // An ordinary user cannot create devices, and no step needs them: the sandbox has its own /dev.
        Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo => {}
    }
    Ok(())
}
