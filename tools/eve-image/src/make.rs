//! Makes the artifact that a request names.

use crate::{EveParts, EveRequest, Word, bits::DiskParts, formats};
use anyhow::{Context as _, Result, bail};
use diskimage::{
    FileImage, disk, eve, extract, fat,
    recipes::{self, IsoKind},
};
use filetree::{Content, Node, Tree};
use std::{fs::File, path::Path, sync::Arc};

/// No file of a configuration is larger: the volume has 1 MiB.
const MOST: u32 = 1 << 20;

/// Writes what `request` asks for to the empty file `out`. Files in the folder `overrides` replace or add to those of the configuration.
/// Temporary files go to `temporary`.
pub fn make(bits: &EveParts, request: &EveRequest, overrides: Option<&Path>, temporary: &Path, out: &mut File) -> Result<()> {
    if let Some(part) = request.word.part() {
        std::io::copy(&mut bits.file(part)?.0.open()?, out).with_context(|| format!("cannot write {part}"))?;
        return Ok(());
    }
    let config = config(bits, overrides, temporary)?;
    let manifest = &bits.manifest;
    if request.word == Word::Live {
        return make_disk(bits, &manifest.live, request, &config, temporary, out);
    }
    let Some(installer) = &manifest.installer else {
        bail!(
            "this image makes no {}: the tree that it was built from has no installer, or it was built on a machine of another architecture",
            request.word.as_str()
        );
    };
    match request.word {
        Word::InstallerIso => recipes::iso(IsoKind::Installer, &bits.parts(config)?, manifest.epoch)?.write(out),
        Word::InstallerNet => recipes::write_own_net(&bits.parts(config)?, manifest.epoch, &|_, _| {}, out),
        _ => make_disk(bits, installer, request, &config, temporary, out),
    }
}

/// The configuration volume, with the files of `overrides`.
fn config(bits: &EveParts, overrides: Option<&Path>, temporary: &Path) -> Result<Content> {
    let config = bits.file("config.img")?.0;
    let Some(folder) = overrides else { return Ok(config) };
    let changes = visible_files(folder, bits.manifest.epoch)?;
    if changes.root.children().is_none_or(|children| children.is_empty()) {
        return Ok(config);
    }
    let mut image = temporary_file(temporary)?;
    std::io::copy(&mut config.open()?, &mut image).context("cannot copy config.img")?;
    let image = FileImage::new(image)?;
    let volume = fat::Reader::open(&image).context("cannot read config.img")?;
    let mut tree = extract::fat_tree(&volume, MOST, bits.manifest.epoch)?;
    changes.walk(&mut |path, node| {
        let there = tree.get(path).is_some_and(|there| there.children().is_some());
        match (path.is_empty(), node.children().is_some()) {
            (true, _) => Ok(()),
            (_, true) if there => Ok(()),
            (_, true) => tree.insert(path, Node::dir(0o755, node.meta.mtime)),
            _ => tree.insert(path, node.clone()),
        }
    })?;
    let file = temporary_file(temporary)?;
    let volume = recipes::config(&tree, bits.manifest.epoch);
    volume.with_context(|| format!("the files of `{}` do not go into the configuration", folder.display()))?.write(&file)?;
    Ok(Content::Range { len: file.metadata()?.len(), file: Arc::new(file), offset: 0 })
}

/// The files of a folder but hidden ones at its top, as the shell's `*` names them.
fn visible_files(folder: &Path, epoch: i64) -> Result<Tree> {
    let mut tree = Tree::new();
    let visible = |entry: &walkdir::DirEntry| entry.depth() != 1 || !entry.file_name().to_string_lossy().starts_with('.');
    let walk = walkdir::WalkDir::new(folder).min_depth(1).follow_links(true).sort_by_file_name();
    for entry in walk.into_iter().filter_entry(visible) {
        let entry = entry.with_context(|| format!("cannot read `{}`", folder.display()))?;
        let path = entry.path().strip_prefix(folder)?;
        let name = path.to_str().with_context(|| format!("the name of `{}` is not UTF-8", entry.path().display()))?;
        let node = match entry.file_type().is_dir() {
            true => Node::dir(0o755, epoch),
            false => Node::file(0o644, epoch, Content::of_path(entry.path())?),
        };
        tree.insert(name, node)?;
    }
    Ok(tree)
}

fn make_disk(bits: &EveParts, parts: &DiskParts, request: &EveRequest, config: &Content, temporary: &Path, out: &mut File) -> Result<()> {
    let raw = request.format == crate::DiskFormat::Raw;
    let usual = if raw { parts.mebibytes } else { parts.grown };
    let size = request.mebibytes.unwrap_or(usual) << 20;
    let kinds = parts.partitions.iter().map(|word| word.parse()).collect::<Result<Vec<eve::Kind>>>()?;
    let table = recipes::disk(&kinds, size, &bits.parts(config.clone())?, bits.manifest.epoch);
    let layout = table.and_then(disk::layout).with_context(|| format!("a disk of {} MiB", size >> 20))?;
    if raw {
        return layout.write(out);
    }
    let disk = temporary_file(temporary)?;
    layout.write(&disk)?;
    formats::write(request.format, &disk, bits.manifest.epoch, out)
}

fn temporary_file(folder: &Path) -> Result<File> {
    tempfile::tempfile_in(folder).with_context(|| format!("cannot make a temporary file in `{}`", folder.display()))
}
