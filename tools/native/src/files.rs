//! Steps that every engine makes in process: small files, links, copies, and files extracted from tars and package images.

use anyhow::{Context as _, Result, bail};
use common::{artifact::Pending, artifact::link_atomically, artifact::write_atomically};
use diskimage::recipes::UsbConf;
use filetree::{Content, Kind, Node, Tree};
use plan::steps::{ComposeRootfs, CopyFiles, ExportParts, Link, MakePersist, MakeStick, ResolveYml, TakeOut, WriteText};
use std::{
    fs::File,
    io::{Read as _, Write as _, copy},
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
};

/// Writes a small text file.
pub fn write_text(step: &WriteText) -> Result<()> {
    write_atomically(&step.path, step.text.as_bytes())
}

/// Writes a resolved yml.
pub fn resolve_yml(step: &ResolveYml) -> Result<()> {
    write_atomically(&step.out, step.text.as_bytes())
}

/// Points a link at its target.
pub fn link(step: &Link) -> Result<()> {
    link_atomically(&step.link, &step.target)
}

/// Writes 1 MiB of zeros as the original Makefile does: the first boot formats it.
pub fn make_persist(step: &MakePersist) -> Result<()> {
    write_file(&step.out, |file| Ok(file.write_all(&vec![0; 1 << 20])?))
}

/// Writes the file `out` with `write`. The file appears under its name only when it is complete.
pub fn write_file(out: &Path, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let pending = Pending::new(out)?;
    write(&mut pending.create()?).with_context(|| format!("cannot write `{}`", out.display()))?;
    pending.commit_before_stamp()
}

/// Copies the files below the folders to the target folder, following links and replacing existing files.
pub fn copy_files(step: &CopyFiles) -> Result<()> {
    let CopyFiles { from, to } = step;
    for folder in from {
        for entry in walkdir::WalkDir::new(folder).follow_links(true).min_depth(1).sort_by_file_name() {
            let entry = entry.with_context(|| format!("cannot read `{}`", folder.display()))?;
            let target = to.join(entry.path().strip_prefix(folder)?);
            if entry.file_type().is_dir() {
                std::fs::create_dir_all(&target).with_context(|| format!("cannot make the folder `{}`", target.display()))?;
            } else {
                copy_file(entry.path(), &target)?;
            }
        }
    }
    Ok(())
}

/// Copies one file with its holes. The copy appears only when it is complete.
pub fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let pending = Pending::new(to)?;
    std::fs::copy(from, pending.part()).with_context(|| format!("cannot copy `{}` to `{}`", from.display(), to.display()))?;
    pending.commit()
}

/// Extracts one file from a tar.
pub fn take_out(step: &TakeOut) -> Result<()> {
    let TakeOut { tar, entry, out } = step;
    let tree = read_tree(tar)?;
    let Some(Kind::File { content, .. }) = tree.get(entry).map(|node| &node.kind) else {
        bail!("`{}` has no file {entry}\nhint: linuxkit writes it unless `--no-sbom` is given", tar.display());
    };
    write_content(content, out)
}

/// Puts the kernel and the hypervisor that come from files into the root file system; whether there are any.
pub fn put_own(tree: &mut Tree, step: &ComposeRootfs) -> Result<bool> {
    let ComposeRootfs { yml, kernel, hypervisor, .. } = step;
    if kernel.is_none() && hypervisor.is_none() {
        return Ok(false);
    }
    let Some(mut node) = tree.get("boot/kernel").cloned() else {
        bail!("the root file system of `{}` has no boot/kernel beside which a kernel or hypervisor belongs", yml.display());
    };
    let files = kernel.iter().map(|kernel| (kernel, "boot/kernel")).chain(hypervisor.iter().map(|(file, place)| (file, place.as_str())));
    for (file, place) in files {
        if place != "boot/kernel" {
            check_multiboot2(file)?;
        }
        // Owner, mode and time are the kernel's.
        node.kind = Kind::File { content: Content::of_path(file)?, link: None };
        tree.insert(place, node.clone())?;
    }
    Ok(true)
}

/// The same for the root file system in `tar`.
pub fn put_own_into(tar: &Path, step: &ComposeRootfs) -> Result<bool> {
    if step.kernel.is_none() && step.hypervisor.is_none() {
        return Ok(false);
    }
    let mut tree = read_tree(tar)?;
    put_own(&mut tree, step)?;
    let pending = Pending::new(tar)?;
    let out = std::io::BufWriter::with_capacity(1 << 20, pending.create()?);
    filetree::write_tar(&tree, out)?.flush().with_context(|| format!("cannot write `{}`", tar.display()))?;
    pending.commit()?;
    Ok(true)
}

/// Fails if GRUB cannot start the file by `multiboot2`: it looks for a header in the first 32 KiB.
fn check_multiboot2(file: &Path) -> Result<()> {
    let mut start = Vec::new();
    let reader = File::open(file).with_context(|| format!("cannot open `{}`", file.display()))?;
    reader.take(32 << 10).read_to_end(&mut start).with_context(|| format!("cannot read `{}`", file.display()))?;
    let word = |header: &[u8], at: usize| header[at..at + 4].iter().rev().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    let is_header = |header: &[u8]| {
        let [magic, architecture, length, check] = [0, 4, 8, 12].map(|at| word(header, at));
        magic == 0xe852_50d6 && magic.wrapping_add(architecture).wrapping_add(length).wrapping_add(check) == 0
    };
    // Headers lie at multiples of 8.
    if start.windows(16).step_by(8).any(is_header) {
        return Ok(());
    }
    bail!(
        "`{}` is no hypervisor for GRUB's multiboot2: there is no header in its first 32 KiB\nhint: ACRN's build makes acrn.bin",
        file.display()
    )
}

/// Reads a tar as a tree.
pub fn read_tree(tar: &Path) -> Result<Tree> {
    let file = std::fs::File::open(tar).with_context(|| format!("cannot open `{}`", tar.display()))?;
    let entries = filetree::read_tar_file(std::sync::Arc::new(file)).with_context(|| format!("cannot read `{}`", tar.display()))?;
    filetree::entries_to_tree(entries)
}

/// The tree of the `names` below `folder`, following links, as tar packs them. Drops `/` and `..` from the start of names, as tar does.
pub fn listed(folder: &Path, names: &[String], epoch: i64) -> Result<Tree> {
    let mut tree = Tree::new();
    for name in names {
        let start = folder.join(name);
        for entry in walkdir::WalkDir::new(&start).follow_links(true).sort_by_file_name() {
            let entry = entry.with_context(|| format!("cannot read `{}`", start.display()))?;
            let mut inside = PathBuf::new();
            for part in Path::new(name).join(entry.path().strip_prefix(&start)?).components() {
                match part {
                    Component::Normal(part) => inside.push(part),
                    Component::ParentDir => inside.clear(),
                    _ => {}
                }
            }
            if inside.as_os_str().is_empty() {
                continue;
            }
            let kind = entry.file_type();
            if !kind.is_dir() && !kind.is_file() {
                bail!("`{}` is neither a file nor a folder: a configuration contains nothing else", entry.path().display());
            }
            let node = match kind.is_dir() {
                true => Node::dir(0o755, epoch),
                false => Node::file(0o644, epoch, Content::of_path(entry.path())?),
            };
            tree.insert(inside.as_os_str().as_bytes(), node)?;
        }
    }
    Ok(tree)
}

/// The content of a USB stick.
pub fn stick(step: &MakeStick) -> Result<UsbConf> {
    let config = step.config.as_deref().map(Content::of_path).transpose()?;
    Ok(UsbConf { dump: step.dump, identity: step.identity, config })
}

/// Extracts the entries of `step`, files or folders, from the image's root file system `tree` into the folder of the parts.
pub fn export(tree: &Tree, step: &ExportParts) -> Result<()> {
    let ExportParts { image, entries, out, .. } = step;
    for entry in entries {
        let at = tree.resolve(entry, true)?;
        let Some(node) = tree.get(&at) else { bail!("{image} has no `/{entry}`, needed in {}", out.display()) };
        match &node.kind {
            Kind::File { content, .. } => write_content(content, &out.join(entry))?,
            Kind::Dir(_) => export_folder(node, &image.to_string(), &out.join(entry))?,
            _ => bail!("`/{entry}` of {image} is neither a file nor a folder"),
        }
    }
    Ok(())
}

fn export_folder(folder: &Node, image: &str, out: &Path) -> Result<()> {
    // Write a new folder, then replace the old one: files that the image no longer has must disappear.
    let pending = Pending::new(out)?;
    write_folder(folder, image, pending.part())?;
    if out.is_dir() {
        std::fs::remove_dir_all(out).with_context(|| format!("cannot remove the old `{}`", out.display()))?;
    }
    pending.commit()
}

/// Writes a tree into the folder `out`; fails on devices.
pub fn write_tree(tree: &Tree, out: &Path) -> Result<()> {
    write_folder(&tree.root, "the root file system", out)
}

fn write_folder(folder: &Node, image: &str, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make the folder `{}`", out.display()))?;
    for (name, node) in folder.children().into_iter().flatten() {
        let path = out.join(std::ffi::OsStr::from_bytes(name));
        match &node.kind {
            Kind::File { content, .. } => write_content(content, &path)?,
            Kind::Dir(_) => write_folder(node, image, &path)?,
            Kind::Symlink(target) => link_atomically(&path, Path::new(std::ffi::OsStr::from_bytes(target)))?,
            _ => bail!("{image} has a device among its files: `{}`", path.display()),
        }
    }
    Ok(())
}

fn write_content(content: &Content, path: &Path) -> Result<()> {
    write_file(path, |file| Ok(copy(&mut content.open()?, file).map(drop)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use common::Arch;

    #[test]
    fn a_hypervisor_from_a_file_comes_beside_the_kernel_if_grub_can_start_it() {
        let folder = tempfile::tempdir().unwrap();
        let (tar, file) = (folder.path().join("rootfs.tar"), folder.path().join("acrn.bin"));
        let mut tree = Tree::new();
        tree.insert("boot", Node::dir(0o755, 7)).unwrap();
        tree.insert("boot/kernel", Node::file(0o640, 7, Content::from(b"Linux".to_vec()))).unwrap();
        filetree::write_tar(&tree, File::create(&tar).unwrap()).unwrap();
        let step = ComposeRootfs {
            yml: PathBuf::new(),
            images: vec![],
            arch: Arch::Amd64,
            sources: PathBuf::new(),
            kernel: None,
            hypervisor: Some((file.clone(), "boot/acrn.bin".to_owned())),
            update: false,
            out: tar.clone(),
        };
        let header = [0xe852_50d6_u32, 0, 24, 0_u32.wrapping_sub(0xe852_50d6 + 24), 0, 8].map(u32::to_le_bytes).concat();
        for (start, works) in [(0, true), (24, true), (4, false), (32 << 10, false)] {
            std::fs::write(&file, [vec![0; start], header.clone()].concat()).unwrap();
            assert_eq!(put_own_into(&tar, &step).is_ok(), works, "a header at {start}");
        }
        let node = read_tree(&tar).unwrap().get("boot/acrn.bin").cloned().unwrap();
        let Kind::File { content, .. } = &node.kind else { panic!("a file") };
        assert_eq!((content.len(), node.meta.mode, node.meta.mtime), (48, 0o640, 7));
    }
}
