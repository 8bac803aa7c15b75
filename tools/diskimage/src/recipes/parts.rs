//! The parts of a disk or an installation medium: files and folders with fixed names.

use super::esp_of_rootfs;
use crate::eve::Kind;
use anyhow::{Context as _, Result, bail};
use filetree::{Content, Kind as NodeKind, Meta, Node, Tree};
use std::{fs::File, path::Path};

/// Inputs of a disk, named as in make-raw: `rootfs.img`, `config.img`, `persist.img`; `EFI/` for the EFI system partition
/// (default: that of `rootfs.img`), `boot/` for additional files in its root; `imx8-flash.bin` with `imx8-flash.conf`; for
/// installers `grub.cfg`, `initrd.img`, `installer.img` or `verification.img`; for composed installers `rootfs_installer.img`.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    pub(super) tree: Tree,
}

pub(super) const ROOTFS: &str = "rootfs.img";
pub(super) const ROOTFS_OF_INSTALLER: &str = "rootfs_installer.img";
pub(super) const CONFIG: &str = "config.img";
pub(super) const PERSIST: &str = "persist.img";
const EFI: &str = "EFI";
const BOOT: &str = "boot";
pub(super) const IMX8_BLOB: &str = "imx8-flash.bin";
pub(super) const IMX8_CONF: &str = "imx8-flash.conf";
/// All parts; only installers use the last four.
const PARTS: [&str; 12] = [
    ROOTFS,
    ROOTFS_OF_INSTALLER,
    CONFIG,
    PERSIST,
    EFI,
    BOOT,
    IMX8_BLOB,
    IMX8_CONF,
    "grub.cfg",
    "initrd.img",
    "installer.img",
    "verification.img",
];

impl Parts {
    /// The parts in the root of `tree`.
    #[must_use]
    pub fn of_tree(tree: Tree) -> Self {
        Self { tree }
    }

    /// The parts in `folder` (absolute); follows links. Other files are ignored unless `all`.
    pub fn of_folder(folder: &Path, all: bool) -> Result<Self> {
        let mut tree = Tree::new();
        let is_part = |name: &str| PARTS.contains(&name);
        let wanted = |entry: &walkdir::DirEntry| entry.depth() != 1 || all || entry.file_name().to_str().is_some_and(is_part);
        let walk = walkdir::WalkDir::new(folder).min_depth(1).follow_links(true).sort_by_file_name();
        for entry in walk.into_iter().filter_entry(wanted) {
            // A broken link is reported before the filter sees its name.
            let entry = match entry {
                Err(error)
                    if !all
                        && error.depth() == 1
                        && !error.path().and_then(Path::file_name).and_then(|n| n.to_str()).is_some_and(is_part) =>
                {
                    continue;
                }
                // The ISO keeps a broken link, as lf-edge/eve's makeiso.sh does.
                Err(error) if all && error.loop_ancestor().is_none() && error.path().is_some_and(Path::is_symlink) => {
                    let path = error.path().context("a link has a path")?;
                    let target = std::fs::read_link(path)?.into_os_string().into_encoded_bytes();
                    tree.insert(
                        path.strip_prefix(folder)?.as_os_str().as_encoded_bytes(),
                        Node { meta: Meta::root(0o777, 0), kind: NodeKind::Symlink(target) },
                    )?;
                    continue;
                }
                entry => entry.with_context(|| format!("cannot read the parts in `{}`", folder.display()))?,
            };
            let path = entry.path().strip_prefix(folder)?;
            let name = path.to_str().with_context(|| format!("the name of `{}` is not UTF-8", entry.path().display()))?;
            let kind = entry.file_type();
            let node = if kind.is_dir() {
                Node::dir(0o755, 0)
            } else if kind.is_file() {
                Node::file(0o644, 0, Content::of_path(entry.path())?)
            } else {
                bail!("`{}` is neither a file nor a folder", entry.path().display());
            };
            tree.insert(name, node)?;
        }
        Ok(Self { tree })
    }

    /// Sets `rootfs.img` to the file at `path`.
    pub fn rootfs(self, path: &Path) -> Result<Self> {
        self.with(ROOTFS, path)
    }

    /// Sets `rootfs_installer.img` to the file at `path`.
    pub fn rootfs_of_medium(self, path: &Path) -> Result<Self> {
        self.with(ROOTFS_OF_INSTALLER, path)
    }

    /// Sets `config.img` to the file at `path`.
    pub fn config(self, path: &Path) -> Result<Self> {
        self.with(CONFIG, path)
    }

    /// Sets `persist.img` to the file at `path`.
    pub fn persist(self, path: &Path) -> Result<Self> {
        self.with(PERSIST, path)
    }

    fn with(mut self, name: &str, path: &Path) -> Result<Self> {
        self.tree.insert(name, Node::file(0o644, 0, Content::of_path(path)?))?;
        Ok(self)
    }

    pub(super) fn find(&self, name: &str) -> Result<Option<&Node>> {
        Ok(self.tree.get(self.tree.resolve(name, true)?))
    }

    pub(super) fn image(&self, name: &str, kind: Kind) -> Result<Content> {
        match self.find(name)? {
            Some(Node { kind: NodeKind::File { content, .. }, .. }) => Ok(content.clone()),
            _ => bail!("the part `{name}` for the partition `{}` is missing", kind.word()),
        }
    }

    /// Files of the EFI system partition.
    pub(super) fn esp(&self) -> Result<Tree> {
        let mut tree = Tree::new();
        match self.find(EFI)? {
            Some(efi @ Node { kind: NodeKind::Dir(_), .. }) => tree.insert(EFI, efi.clone())?,
            _ => tree = esp_of_rootfs(self.open_rootfs()?)?,
        }
        if let Some(Node { kind: NodeKind::Dir(files), .. }) = self.find(BOOT)? {
            for (name, node) in files.iter().filter(|(name, _)| !name.starts_with(b".")) {
                tree.insert(name, node.clone())?;
            }
        }
        Ok(tree)
    }

    /// The parts of an installation medium with a root file system: `rootfs_installer.img`, if it exists, is its IMGA.
    pub(super) fn of_medium(&self) -> Result<Self> {
        let mut parts = self.clone();
        if let Some(own) = self.find(ROOTFS_OF_INSTALLER)?.cloned() {
            parts.tree.insert(ROOTFS, own)?;
        }
        Ok(parts)
    }

    fn open_rootfs(&self) -> Result<File> {
        match self.image(ROOTFS, Kind::Efi)? {
            Content::Path { path, .. } => File::open(&path).with_context(|| format!("cannot open `{}`", path.display())),
            Content::Range { file, offset: 0, .. } => file.try_clone().context("cannot open rootfs.img"),
            _ => bail!("the part `{EFI}` is missing, and rootfs.img is not a separate file to take it from"),
        }
    }
}
