//! Blocks that are not read yet: which bytes of which files they will have.

use super::{Options, store::Source};
use anyhow::{Context as _, Result};
use filetree::{Content, FileState};
use sha2::{Digest as _, Sha256};
use std::{io::Read as _, os::unix::fs::MetadataExt as _};

/// A content or a part of one.
pub(super) struct Piece<'c> {
    pub content: Content,
    /// Where the content is in the tree, for errors.
    pub path: &'c str,
}

/// A block of a file, or the small files of a fragment block.
pub(super) struct Block<'c> {
    pieces: Vec<Piece<'c>>,
    /// Whether it is a hole if all its bytes are zero.
    can_be_hole: bool,
}

impl<'c> Block<'c> {
    pub(super) fn of_file(piece: Piece<'c>) -> Self {
        Self { pieces: vec![piece], can_be_hole: true }
    }

    pub(super) fn of_fragment(pieces: Vec<Piece<'c>>) -> Self {
        Self { pieces, can_be_hole: false }
    }

    /// Where the bytes come from, as the files are now; none if that does not decide them, or all of them are in memory.
    pub(super) fn source(&self, options: &Options) -> Option<Source> {
        let mut hash = Sha256::new();
        hash.update(format!("{:?}\n{}\n{}\n", options.compressor, options.block_size, self.can_be_hole));
        let mut in_files = false;
        for Piece { content, .. } in &self.pieces {
            hash.update(content.len().to_le_bytes());
            match content {
                Content::Bytes(bytes) => {
                    hash.update(b"b");
                    hash.update(bytes);
                }
                _ => {
                    in_files = true;
                    hash.update(b"r");
                    hash.update(source_of_content(content)?);
                }
            }
        }
        in_files.then(|| hash.finalize().into())
    }

    /// Reads the bytes; none for a hole.
    pub(super) fn read(&self) -> Result<Option<Vec<u8>>> {
        let length: u64 = self.pieces.iter().map(|piece| piece.content.len()).sum();
        let mut bytes = Vec::with_capacity(usize::try_from(length)?);
        for Piece { content, path } in &self.pieces {
            let read = content.open().and_then(|mut reader| Ok(reader.read_to_end(&mut bytes)?));
            read.with_context(|| format!("cannot read the content of `{path}`"))?;
        }
        Ok((!self.can_be_hole || !is_zero(&bytes)).then_some(bytes))
    }
}

/// Where the bytes of a content in an open file come from, as the file is now. None if that does not decide them, or will never be asked
/// again because the file has no name.
pub(super) fn source_of_content(content: &Content) -> Option<Source> {
    let Content::Range { file, offset, len } = content else { return None };
    let metadata = file.metadata().ok().filter(|metadata| metadata.nlink() > 0)?;
    let state = Some(FileState::of(&metadata)).filter(FileState::is_settled)?;
    let hash = Sha256::new().chain_update("content").chain_update(state.to_bytes());
    Some(hash.chain_update(offset.to_le_bytes()).chain_update(len.to_le_bytes()).finalize().into())
}

fn is_zero(block: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    block.chunks(ZEROS.len()).all(|chunk| chunk == &ZEROS[..chunk.len()])
}
