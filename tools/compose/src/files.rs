//! The `files` of a yml: given contents, host files, links, directories, and metadata (the yml itself).

use crate::{
    Yml,
    container::{Ids, owner},
    layers::clean,
    metadata,
    places::Origin,
    rootfs::{RootfsWriter, Sink},
    yml::File,
};
use anyhow::{Context as _, Result, bail};
use filetree::{Content, EntryKind, Kind, Meta};
use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
};

/// The source of the yml's own files.
pub(crate) const FILES: &str = "linuxkit.files";

/// Writes all files, each preceded by its parent folders that no earlier file has written.
pub(crate) fn put_files<S: Sink>(yml: &Yml, ids: &Ids, rootfs: &mut RootfsWriter<'_, S>) -> Result<()> {
    let mut made = HashSet::new();
    for (number, file) in yml.moby.files.iter().flatten().enumerate() {
        let location = format!("files[{number}]");
        put_file(yml, file, &location, ids, &mut made, rootfs).with_context(|| format!("`{}`: {location} `{}`", yml.name, file.path))?;
    }
    Ok(())
}

fn put_file<S: Sink>(
    yml: &Yml,
    file: &File,
    location: &str,
    ids: &Ids,
    made: &mut HashSet<String>,
    rootfs: &mut RootfsWriter<'_, S>,
) -> Result<()> {
    let Some(kind) = kind_of(yml, file, &rootfs.options().sources)? else { return Ok(()) };
    let path = String::from_utf8(clean(file.path.as_bytes())?)?;
    if path == "." {
        bail!("the path is empty");
    }
    let usual = if file.directory { 0o700 } else { 0o600 };
    let mode = match file.mode.as_str() {
        "" => usual,
        mode => u32::from_str_radix(mode, 8).ok().filter(|m| *m <= 0o7777).with_context(|| format!("the mode `{mode}` is not octal"))?,
    };
    let mut meta = Meta::root(mode, rootfs.mtime());
    meta.uid = owner(file.uid.as_ref(), ids)?;
    meta.gid = owner(file.gid.as_ref(), ids)?;
    let from = Origin { source: FILES, location };
    // As in linuxkit, a directory whose path ends in `/` is written once more as its own parent.
    let ends = path.match_indices('/').map(|(at, _)| at).chain(file.path.ends_with('/').then_some(path.len()));
    for end in ends {
        if made.insert(path[..end].to_owned()) {
            let above = Meta { mode: searchable(mode), ..meta.clone() };
            rootfs.put(&path.as_bytes()[..end], &above, &EntryKind::Node(Kind::Dir(BTreeMap::new())), from, &[])?;
        }
    }
    made.insert(path.clone());
    rootfs.put(path.as_bytes(), &meta, &EntryKind::Node(kind), from, &[])
}

/// Mode of a file's parent folders: execute permission for everyone with any permission on the file.
fn searchable(mode: u32) -> u32 {
    [0o700, 0o070, 0o007].into_iter().filter(|who| mode & who != 0).fold(mode, |mode, who| mode | (who & 0o111))
}

/// The node to write; `None` if the file is optional and its source does not exist.
fn kind_of(yml: &Yml, file: &File, sources: &Path) -> Result<Option<Kind>> {
    let given = [file.contents.is_some(), !file.source.is_empty(), !file.metadata.is_empty(), !file.symlink.is_empty(), file.directory];
    match given.iter().filter(|given| **given).count() {
        0 => bail!("one of contents, source, metadata, symlink, directory is required"),
        1 => {}
        _ => bail!("only one of contents, source, metadata, symlink, directory is allowed"),
    }
    let content = match file {
        File { directory: true, .. } => return Ok(Some(Kind::Dir(BTreeMap::new()))),
        File { symlink, .. } if !symlink.is_empty() => return Ok(Some(Kind::Symlink(symlink.clone().into_bytes()))),
        File { contents: Some(contents), .. } => Content::from(contents.as_str()),
        File { source, .. } if !source.is_empty() => {
            let source = source_path(source, sources)?;
            if file.optional && std::fs::File::open(&source).is_err() {
                return Ok(None);
            }
            if source.is_dir() {
                bail!("the source `{}` is a directory", source.display());
            }
            Content::of_path(&source)?
        }
        _ => Content::from(metadata::render(yml, &file.metadata)?),
    };
    Ok(Some(Kind::File { content, link: None }))
}

fn source_path(source: &str, sources: &Path) -> Result<PathBuf> {
    if source.starts_with("~/") {
        bail!("the source `{source}` depends on the user's home folder\nhint: give a path next to the yml, or an absolute path");
    }
    let path = sources.join(source);
    if !path.is_absolute() {
        bail!("the source `{source}` is relative, and there is no base folder");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    #[test]
    fn folders_can_be_entered_by_whoever_may_read_the_file() {
        for (file, folder) in [(0o600, 0o700), (0o644, 0o755), (0o700, 0o700), (0o604, 0o705)] {
            assert_eq!(super::searchable(file), folder);
        }
    }
}
