//! Finds the distinct contents of a tree, so that hard links and equal files are stored once.

use anyhow::{Context as _, Result};
use filetree::{Content, Kind, Tree};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{HashMap, hash_map},
    io::Read as _,
};

/// Number of bytes read at a time to compare or hash.
const CHUNK: usize = 64 << 10;

/// Distinct contents in the order of their first paths, and the content of each file.
pub(super) struct Contents<'t> {
    /// Each content with its first path, for errors.
    pub distinct: Vec<(&'t Content, String)>,
    /// Index into `distinct` by path, for non-empty regular files.
    pub of_path: HashMap<Vec<u8>, usize>,
    /// Number of files whose content equals an earlier file's.
    pub duplicates: u32,
}

/// Contents found so far.
#[derive(Default)]
struct Known {
    by_link: HashMap<u64, usize>,
    by_length: HashMap<u64, SameLength>,
}

/// Contents of the same length: hashed once there are two.
enum SameLength {
    One(usize),
    Many(HashMap<Hash, Vec<usize>>),
}

/// SHA-256: the standard library's hasher takes several times as long for whole files.
type Hash = [u8; 32];

impl<'t> Contents<'t> {
    pub(super) fn of(tree: &'t Tree) -> Result<Self> {
        let mut contents = Self { distinct: Vec::new(), of_path: HashMap::new(), duplicates: 0 };
        let mut known = Known::default();
        tree.walk(&mut |path, node| {
            let Kind::File { content, link } = &node.kind else { return Ok(()) };
            if content.is_empty() {
                return Ok(());
            }
            let index = match link.and_then(|link| known.by_link.get(&link).copied()) {
                Some(index) => index,
                None => contents.add(content, path, &mut known)?,
            };
            if let Some(link) = link {
                known.by_link.insert(*link, index);
            }
            contents.of_path.insert(path.to_vec(), index);
            Ok(())
        })?;
        Ok(contents)
    }

    /// Index of an earlier content with the same bytes, or of this new one.
    fn add(&mut self, content: &'t Content, path: &[u8], known: &mut Known) -> Result<usize> {
        let own = self.distinct.len();
        self.distinct.push((content, String::from_utf8_lossy(path).into_owned()));
        let hash_map::Entry::Occupied(mut same_length) = known.by_length.entry(content.len()) else {
            known.by_length.insert(content.len(), SameLength::One(own));
            return Ok(own);
        };
        if let SameLength::One(first) = *same_length.get() {
            same_length.insert(SameLength::Many(HashMap::from([(self.hash(first)?, vec![first])])));
        }
        let SameLength::Many(by_hash) = same_length.into_mut() else { return Ok(own) };
        let candidates = by_hash.entry(self.hash(own)?).or_default();
        for other in candidates.iter() {
            if equal(content, self.distinct[*other].0).with_context(|| self.name(own))? {
                self.distinct.pop();
                self.duplicates += 1;
                return Ok(*other);
            }
        }
        candidates.push(own);
        Ok(own)
    }

    fn name(&self, index: usize) -> String {
        format!("cannot read the content of `{}`", self.distinct[index].1)
    }

    fn hash(&self, index: usize) -> Result<Hash> {
        hash(self.distinct[index].0).with_context(|| self.name(index))
    }
}

fn hash(content: &Content) -> Result<Hash> {
    let mut reader = content.open()?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().into()),
            got => hasher.update(&buffer[..got]),
        }
    }
}

/// Compares two contents of the same length.
fn equal(a: &Content, b: &Content) -> Result<bool> {
    let (mut a, mut b) = (a.open()?, b.open()?);
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
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
