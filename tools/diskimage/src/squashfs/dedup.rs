//! Finds the distinct contents of a tree, so that hard links and equal files are stored once.

use super::{
    pieces::source_of_content,
    store::{BlockStore, Known},
};
use anyhow::{Context as _, Result, anyhow};
use filetree::{Content, Kind, Tree};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{HashMap, HashSet},
    io::Read as _,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Number of bytes read at a time to hash.
const CHUNK: usize = 64 << 10;

/// Distinct contents in the order of their first paths, and the content of each file.
pub(super) struct Contents<'t> {
    /// Each content with its first path, for errors.
    pub distinct: Vec<(&'t Content, String)>,
    /// Index into `distinct` by path, for non-empty regular files.
    pub of_path: HashMap<Vec<u8>, usize>,
    /// Number of files whose content equals an earlier file's.
    pub duplicates: u32,
    /// With a store: where contents come from, and their hashes.
    pub sources: Vec<Known>,
}

/// A regular file that is not empty.
struct File<'t> {
    path: Vec<u8>,
    content: &'t Content,
    link: Option<u64>,
}

impl File<'_> {
    fn name(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }
}

/// SHA-256: two contents with the same one are the same.
type Hash = [u8; 32];

impl<'t> Contents<'t> {
    /// `threads` read contents at the same time, those whose hash `store` does not know.
    pub(super) fn of(tree: &'t Tree, threads: usize, store: Option<&BlockStore>) -> Result<Self> {
        let mut files = Vec::new();
        tree.walk(&mut |path, node| {
            if let Kind::File { content, link } = &node.kind
                && !content.is_empty()
            {
                files.push(File { path: path.to_vec(), content, link: *link });
            }
            Ok(())
        })?;
        let Hashes { of_file: hashes, sources } = hashes(&files, threads, store)?;
        let mut contents = Self { distinct: Vec::new(), of_path: HashMap::new(), duplicates: 0, sources };
        let (mut by_link, mut by_hash) = (HashMap::new(), HashMap::new());
        for (number, file) in files.into_iter().enumerate() {
            let hash = hashes.get(&number);
            let linked = file.link.and_then(|link| by_link.get(&link).copied());
            let equal = hash.and_then(|hash| by_hash.get(hash).copied());
            contents.duplicates += u32::from(linked.is_none() && equal.is_some());
            let index = linked.or(equal).unwrap_or_else(|| {
                contents.distinct.push((file.content, file.name()));
                contents.distinct.len() - 1
            });
            by_link.extend(file.link.map(|link| (link, index)));
            by_hash.extend(hash.map(|hash| (*hash, index)));
            contents.of_path.insert(file.path, index);
        }
        Ok(contents)
    }
}

/// What [`hashes`] finds.
struct Hashes {
    /// By the number of the file.
    of_file: HashMap<usize, Hash>,
    sources: Vec<Known>,
}

/// The hashes of the `files` that are as long as another one. Of hard links to one file, only the first one counts.
fn hashes(files: &[File<'_>], threads: usize, store: Option<&BlockStore>) -> Result<Hashes> {
    let (mut links, mut by_length) = (HashSet::new(), HashMap::<u64, Vec<usize>>::new());
    for (number, file) in files.iter().enumerate() {
        if file.link.is_none_or(|link| links.insert(link)) {
            by_length.entry(file.content.len()).or_default().push(number);
        }
    }
    let mut wanted: Vec<usize> = by_length.into_values().filter(|numbers| numbers.len() > 1).flatten().collect();
    wanted.sort_unstable();
    let (mut all, mut sources) = (HashMap::new(), HashMap::new());
    if let Some(store) = store {
        sources.extend(wanted.iter().filter_map(|number| Some((*number, source_of_content(files[*number].content)?))));
        all.extend(sources.iter().filter_map(|(number, source)| Some((*number, store.key_of(source)??))));
        wanted.retain(|number| !all.contains_key(number));
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        while let Some(number) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            let file = &files[*number];
            found.push((*number, hash(file.content).with_context(|| format!("cannot read the content of `{}`", file.name()))?));
        }
        Ok(found)
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            all.extend(worker.join().unwrap_or_else(|_| Err(anyhow!("internal error: a thread that compares contents panicked")))?);
        }
        let sources = sources.into_iter().map(|(number, source)| (source, all.get(&number).copied())).collect();
        Ok(Hashes { of_file: all, sources })
    })
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
