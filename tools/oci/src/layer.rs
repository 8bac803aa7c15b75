//! One layer of an image: a tar blob of the cache, plain or compressed (gzip, zstd).

use crate::{
    digest::{ReadAt, check_blob},
    names,
};
use anyhow::{Context as _, Result};
use filetree::{Entry, Spool, read_tar_file, read_tar_stream};
use std::{
    fs::File,
    io::{BufRead, BufReader, ErrorKind, Read},
    path::PathBuf,
    sync::Arc,
};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A layer in the cache. Cheap to clone; reading its entries opens the blob.
#[derive(Clone, Debug)]
pub struct Layer {
    pub(crate) blob: PathBuf,
    pub(crate) digest: String,
    pub(crate) diff_id: String,
    pub(crate) media_type: String,
    pub(crate) size: u64,
    pub(crate) spool: PathBuf,
}

impl Layer {
    /// Digest of the blob, `sha256:…`.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Digest of the uncompressed tar, as in the image's configuration.
    #[must_use]
    pub fn diff_id(&self) -> &str {
        &self.diff_id
    }

    /// Length of the blob in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Media type of the blob. [`Layer::entries`] ignores it and detects compression from the first bytes.
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Whether the blob is an uncompressed tar, which linuxkit before 1.3 cannot read.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.media_type == names::LAYER
    }

    /// Opens the blob and checks its length and digest.
    pub fn open(&self) -> Result<File> {
        let file = File::open(&self.blob).map_err(|error| {
            let what = cannot_open(&error, &format!("the layer `{}`", self.blob.display()), "the image");
            anyhow::Error::from(error).context(what)
        })?;
        check_blob(&file, &self.blob, &self.digest, self.size)?;
        Ok(file)
    }

    /// The layer's members in archive order, with whiteouts. Contents are ranges of the blob; contents of a compressed layer
    /// are copied to an unlinked temporary file.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let file = self.open()?;
        let mut magic = Vec::new();
        ReadAt { file: &file, position: 0 }.take(4).read_to_end(&mut magic)?;
        let context = || format!("cannot read the layer `{}`", self.blob.display());
        if magic.starts_with(&GZIP) {
            let reader = BufReader::with_capacity(1 << 17, ReadAt { file: &file, position: 0 });
            self.spooled(flate2::bufread::MultiGzDecoder::new(reader)).with_context(context)
        } else if magic == ZSTD {
            let reader = BufReader::with_capacity(1 << 17, ReadAt { file: &file, position: 0 });
            self.spooled(ZstdReader::new(reader)).with_context(context)
        } else {
            read_tar_file(Arc::new(file)).with_context(context)
        }
    }

    fn spooled(&self, reader: impl Read) -> Result<Vec<Entry>> {
        let mut spool = Spool::new_in(&self.spool)?;
        read_tar_stream(BufReader::with_capacity(1 << 17, reader), &mut spool)
    }

    /// The media type of a blob with these first bytes.
    pub(crate) fn media_type_of(first: &[u8]) -> &'static str {
        if first.starts_with(&GZIP) {
            names::LAYER_GZIP
        } else if first.starts_with(&ZSTD) {
            names::LAYER_ZSTD
        } else {
            names::LAYER
        }
    }
}

/// The sentence for a blob `what` of `owner` that cannot be opened.
pub(crate) fn cannot_open(error: &std::io::Error, what: &str, owner: &str) -> String {
    match error.kind() {
        ErrorKind::NotFound => format!("{what} is missing in the cache\nhint: build or pull {owner} again"),
        // Each layer of an image that is composed has a file open.
        _ if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
            format!("cannot open {what}\nhint: `ulimit -Hn` shows the most files that a process may have open here; raise it")
        }
        _ => format!("cannot open {what}"),
    }
}

/// Decodes all zstd frames of a stream; `ruzstd` decodes only one.
struct ZstdReader<R: BufRead> {
    state: State<R>,
}

enum State<R: BufRead> {
    Between(R),
    Inside(Box<ruzstd::decoding::StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>),
    Ended,
}

impl<R: BufRead> ZstdReader<R> {
    fn new(reader: R) -> Self {
        Self { state: State::Between(reader) }
    }
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Ok(0),
                State::Between(mut reader) => {
                    if reader.fill_buf()?.is_empty() {
                        return Ok(0);
                    }
                    let decoder = ruzstd::decoding::StreamingDecoder::new(reader).map_err(std::io::Error::other)?;
                    self.state = State::Inside(Box::new(decoder));
                }
                State::Inside(mut decoder) => {
                    let got = decoder.read(buffer)?;
                    self.state =
                        if got == 0 && !buffer.is_empty() { State::Between((*decoder).into_inner()) } else { State::Inside(decoder) };
                    if got > 0 || buffer.is_empty() {
                        return Ok(got);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_is_there_is_not_called_missing() {
        let of = |number: i32| cannot_open(&std::io::Error::from_raw_os_error(number), "the layer `a`", "the image");
        let errno = |errno: rustix::io::Errno| of(errno.raw_os_error());
        assert_eq!(errno(rustix::io::Errno::NOENT), "the layer `a` is missing in the cache\nhint: build or pull the image again");
        assert!(errno(rustix::io::Errno::MFILE).starts_with("cannot open the layer `a`\nhint: `ulimit -Hn`"));
        assert_eq!(errno(rustix::io::Errno::ACCESS), "cannot open the layer `a`");
    }
}
