//! The image as a tree of files with their sizes.

use anyhow::Result;
use imagefs::{Owners, Part, Sizes, Volume, measure, measure_files};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// The root file system.
#[derive(Clone, Debug, Serialize)]
pub struct ImageReport {
    /// The file's name.
    pub name: String,
    /// What `size` prints.
    pub sizes: Sizes,
    /// The images that files come from; a file has an index of this list.
    pub owners: Vec<String>,
    /// All files.
    pub files: TreeEntry,
}

/// A folder or a file. Names of fields are short, because a page has thousands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TreeEntry {
    /// The name.
    pub n: String,
    /// A file's bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<u64>,
    /// A file's bytes in the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s: Option<u64>,
    /// The index of a file's owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub o: Option<usize>,
    /// What is in a folder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub c: Vec<TreeEntry>,
}

/// A folder while the tree grows.
#[derive(Default)]
struct Folder {
    folders: BTreeMap<String, Folder>,
    files: Vec<TreeEntry>,
}

impl Folder {
    fn into_entry(self, name: String) -> TreeEntry {
        let folders = self.folders.into_iter().map(|(name, folder)| folder.into_entry(name));
        TreeEntry { n: name, c: folders.chain(self.files).collect(), ..TreeEntry::default() }
    }
}

/// The report of `volume`, whose file is called `name`.
pub fn image_of(name: &str, volume: &Volume, owners: &Owners) -> Result<ImageReport> {
    let sizes = measure(volume, owners, 2)?;
    let names: Vec<String> = sizes.packages.iter().map(|part: &Part| part.name.clone()).collect();
    let places: HashMap<&str, usize> = names.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
    let mut root = Folder::default();
    for file in measure_files(volume, owners)? {
        let path = String::from_utf8_lossy(file.path).into_owned();
        let (above, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let folder = above
            .split('/')
            .filter(|part| !part.is_empty())
            .fold(&mut root, |folder, part| folder.folders.entry(part.to_owned()).or_default());
        let owner = places.get(file.owner).copied();
        folder.files.push(TreeEntry { n: name.to_owned(), b: Some(file.bytes), s: file.stored, o: owner, c: Vec::new() });
    }
    Ok(ImageReport { name: name.to_owned(), sizes, owners: names, files: root.into_entry(String::new()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use filetree::{Content, Kind, Meta, Node, Tree};

    fn sum(entry: &TreeEntry) -> (u64, u64) {
        let below = entry.c.iter().map(sum).fold((0, 0), |(files, bytes), (more, size)| (files + more, bytes + size));
        (below.0 + u64::from(entry.b.is_some()), below.1 + entry.b.unwrap_or_default())
    }

    #[test]
    fn the_tree_has_the_files_and_bytes_that_size_prints() {
        let mut tree = Tree::new();
        for (path, bytes) in [("usr/bin/a", 700), ("usr/lib/b", 20), ("c", 3)] {
            let kind = Kind::File { content: Content::from(vec![7; bytes]), link: None };
            tree.insert(path, Node { meta: Meta::root(0o644, 0), kind }).expect("an entry");
        }
        let volume = Volume::of_tree("tar", tree).expect("a volume");
        let owners = Owners::of(&volume, None, None).expect("owners");
        let report = image_of("rootfs.img", &volume, &owners).expect("a report");
        assert_eq!(sum(&report.files), (report.sizes.total.files, report.sizes.total.bytes));
        assert_eq!(sum(&report.files), (3, 723));
        let usr = report.files.c.iter().find(|entry| entry.n == "usr").expect("a folder");
        assert_eq!(usr.c.iter().map(|entry| entry.n.as_str()).collect::<Vec<_>>(), ["bin", "lib"]);
    }
}
