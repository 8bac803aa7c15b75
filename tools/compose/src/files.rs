//! The `files` of a yml: contents given there, files of the host, links, directories, and the yml itself as metadata.

use crate::{
    Yml,
    container::{Ids, owner},
    layers::clean,
    metadata,
    rootfs::{Origin, RootfsWriter},
    yml::File,
};
use anyhow::{Context as _, Result, bail};
use filetree::{Content, EntryKind, Kind, Meta};
use std::{
    collections::{BTreeMap, HashSet},
    io::Write,
    path::{Path, PathBuf},
};

/// Writes all files, each after the folders above it that no earlier file has written.
pub(crate) fn put_files<W: Write>(yml: &Yml, ids: &Ids, rootfs: &mut RootfsWriter<'_, W>) -> Result<()> {
    let mut made = HashSet::new();
    for (number, file) in yml.moby.files.iter().flatten().enumerate() {
        let location = format!("files[{number}]");
        put_file(yml, file, &location, ids, &mut made, rootfs).with_context(|| format!("`{}`: {location} `{}`", yml.name, file.path))?;
    }
    Ok(())
}

fn put_file<W: Write>(
    yml: &Yml,
    file: &File,
    location: &str,
    ids: &Ids,
    made: &mut HashSet<String>,
    rootfs: &mut RootfsWriter<'_, W>,
) -> Result<()> {
    let Some(kind) = kind_of(yml, file, &rootfs.options().sources)? else { return Ok(()) };
    let path = String::from_utf8(clean(file.path.as_bytes())?)?;
    if path == "." {
        bail!("it has no path");
    }
    let usual = if file.directory { 0o700 } else { 0o600 };
    let mode = match file.mode.as_str() {
        "" => usual,
        mode => u32::from_str_radix(mode, 8).ok().filter(|m| *m <= 0o7777).with_context(|| format!("the mode `{mode}` is not octal"))?,
    };
    let mut meta = Meta::root(mode, rootfs.mtime());
    meta.uid = owner(file.uid.as_ref(), ids)?;
    meta.gid = owner(file.gid.as_ref(), ids)?;
    let from = Origin { source: "linuxkit.files", location };
    // A folder named with a slash at its end counts as one above the file, too.
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

/// The mode of the folders above a file: whoever may do something with the file may enter them.
fn searchable(mode: u32) -> u32 {
    [0o700, 0o070, 0o007].into_iter().filter(|who| mode & who != 0).fold(mode, |mode, who| mode | (who & 0o111))
}

/// What the file is; nothing when it is optional and the host does not have it.
fn kind_of(yml: &Yml, file: &File, sources: &Path) -> Result<Option<Kind>> {
    let given = [file.contents.is_some(), !file.source.is_empty(), !file.metadata.is_empty(), !file.symlink.is_empty(), file.directory];
    match given.iter().filter(|given| **given).count() {
        0 => bail!("it has no contents, source, metadata or symlink, and is no directory"),
        1 => {}
        _ => bail!("it can have one of contents, source, metadata, symlink and directory, not more"),
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
        bail!("the source `{source}` depends on who builds\nhint: give a path beside the yml, or an absolute one");
    }
    let path = sources.join(source);
    if !path.is_absolute() {
        bail!("the source `{source}` is relative, and nothing says to what");
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
