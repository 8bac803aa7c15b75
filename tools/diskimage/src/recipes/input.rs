//! Tars as they are piped into a tool, and the time of what was in them.

use anyhow::{Context as _, Result, bail};
use filetree::{Spool, Tree, entries_to_tree, read_tar_stream};
use flate2::read::MultiGzDecoder;
use std::io::{BufRead as _, BufReader, Read};

/// The tree in a tar, compressed by gzip or not, that comes from `stream`; contents go to `spool`. All of the stream is
/// read, so that whoever writes it does not fail on a closed pipe. An empty stream is an error.
pub fn read_tar(stream: impl Read, spool: &mut Spool) -> Result<Tree> {
    let mut stream = BufReader::with_capacity(1 << 16, stream);
    let start = stream.fill_buf().context("cannot read the tar")?;
    if start.is_empty() {
        bail!("there is no tar: the input is empty");
    }
    let tree = if start.starts_with(&[0x1f, 0x8b]) {
        read_plain(MultiGzDecoder::new(&mut stream), spool)?
    } else {
        read_plain(&mut stream, spool)?
    };
    std::io::copy(&mut stream, &mut std::io::sink()).context("cannot read what follows the tar")?;
    Ok(tree)
}

fn read_plain(stream: impl Read, spool: &mut Spool) -> Result<Tree> {
    entries_to_tree(read_tar_stream(stream, spool).context("cannot read the tar")?)
}

/// The newest time of all in `tree`: the time of an image for which nobody named another one. It depends on the input alone.
pub fn newest(tree: &Tree) -> Result<i64> {
    let mut newest = 0;
    tree.walk(&mut |_, node| {
        newest = newest.max(node.meta.mtime);
        Ok(())
    })?;
    Ok(newest)
}
