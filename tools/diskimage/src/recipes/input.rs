//! Reads piped tars, and determines their newest mtime.

use anyhow::{Context as _, Result, bail};
use filetree::{Spool, Tree, entries_to_tree, read_tar_stream};
use flate2::read::MultiGzDecoder;
use std::io::{BufRead as _, BufReader, Read};

/// Reads a tar, gzip-compressed or not, from `stream`; contents go to `spool`. Reads the stream to its end, so that its writer
/// does not fail with a closed pipe. An empty stream is an error.
pub fn read_tar(stream: impl Read, spool: &mut Spool) -> Result<Tree> {
    let mut stream = BufReader::with_capacity(1 << 16, stream);
    let start = stream.fill_buf().context("cannot read the tar")?;
    if start.is_empty() {
        bail!("the input is empty: expected a tar");
    }
    let tree = if start.starts_with(&[0x1f, 0x8b]) {
        read_plain(MultiGzDecoder::new(&mut stream), spool)?
    } else {
        read_plain(&mut stream, spool)?
    };
    std::io::copy(&mut stream, &mut std::io::sink()).context("cannot read the rest of the input after the tar")?;
    Ok(tree)
}

fn read_plain(stream: impl Read, spool: &mut Spool) -> Result<Tree> {
    entries_to_tree(read_tar_stream(stream, spool).context("cannot read the tar")?)
}

/// The newest mtime in `tree`: the default time of an image, which depends on its input only.
pub fn newest(tree: &Tree) -> Result<i64> {
    let mut newest = 0;
    tree.walk(&mut |_, node| {
        newest = newest.max(node.meta.mtime);
        Ok(())
    })?;
    Ok(newest)
}
