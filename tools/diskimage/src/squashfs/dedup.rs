//! Which files there are to store: each content once, whether by hard links or because two files are equal.

use anyhow::{Context as _, Result};
use filetree::{Content, Kind, Tree};
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hasher as _},
    io::{BufReader, Read as _},
};

/// The distinct contents of a tree, in the order of their first paths, and which one each file has.
pub(super) struct Contents<'t> {
    /// Contents with the path that names them in errors.
    pub distinct: Vec<(&'t Content, String)>,
    /// Index into `distinct` for every path of a non-empty regular file.
    pub of_path: HashMap<Vec<u8>, usize>,
    /// Files whose content another, earlier file has.
    pub duplicates: u32,
}

impl<'t> Contents<'t> {
    pub(super) fn of(tree: &'t Tree) -> Result<Self> {
        let mut contents = Self { distinct: Vec::new(), of_path: HashMap::new(), duplicates: 0 };
        let mut by_link: HashMap<u64, usize> = HashMap::new();
        let mut by_length: HashMap<u64, Vec<usize>> = HashMap::new();
        let mut hashes: HashMap<usize, u64> = HashMap::new();
        tree.walk(&mut |path, node| {
            let Kind::File { content, link } = &node.kind else { return Ok(()) };
            if content.is_empty() {
                return Ok(());
            }
            let known = link.and_then(|link| by_link.get(&link).copied());
            let index = match known {
                Some(index) => index,
                None => {
                    let same_length = by_length.entry(content.len()).or_default();
                    let twin = contents.find_twin(content, same_length, &mut hashes)?;
                    twin.unwrap_or_else(|| {
                        contents.distinct.push((content, String::from_utf8_lossy(path).into_owned()));
                        same_length.push(contents.distinct.len() - 1);
                        contents.distinct.len() - 1
                    })
                }
            };
            if let Some(link) = link {
                by_link.insert(*link, index);
            }
            contents.of_path.insert(path.to_vec(), index);
            Ok(())
        })?;
        Ok(contents)
    }

    /// An earlier content with the same bytes. Only files of one length are read, and a hash decides which are compared.
    fn find_twin(&mut self, content: &Content, same_length: &[usize], hashes: &mut HashMap<usize, u64>) -> Result<Option<usize>> {
        if same_length.is_empty() {
            return Ok(None);
        }
        let own = hash(content)?;
        for index in same_length {
            let other = self.distinct[*index].0;
            let theirs = match hashes.get(index) {
                Some(hash) => *hash,
                None => *hashes.entry(*index).or_insert(hash(other)?),
            };
            if own == theirs && equal(content, other)? {
                self.duplicates += 1;
                return Ok(Some(*index));
            }
        }
        hashes.insert(self.distinct.len(), own);
        Ok(None)
    }
}

fn hash(content: &Content) -> Result<u64> {
    let mut reader = content.open()?;
    let mut hasher = DefaultHasher::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let got = reader.read(&mut buffer).context("cannot read a file of the tree")?;
        if got == 0 {
            return Ok(hasher.finish());
        }
        hasher.write(&buffer[..got]);
    }
}

fn equal(a: &Content, b: &Content) -> Result<bool> {
    let (mut a, mut b) = (BufReader::with_capacity(64 << 10, a.open()?), BufReader::with_capacity(64 << 10, b.open()?));
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let got = a.read(&mut left)?;
        if got == 0 {
            return Ok(true);
        }
        b.read_exact(&mut right[..got])?;
        if left[..got] != right[..got] {
            return Ok(false);
        }
    }
}
