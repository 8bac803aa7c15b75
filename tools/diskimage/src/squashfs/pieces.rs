//! Blocks that are not read yet: which bytes of which files they will have.

use super::{Options, store::Source};
use anyhow::{Context as _, Result};
use filetree::{Content, FileState};
use sha2::{Digest as _, Sha256};
use std::{collections::HashMap, fs::File, io::Read as _, sync::Arc};

/// A content or a part of one.
pub(super) struct Piece<'c> {
    pub content: Content,
    /// Where the content is in the tree, for errors.
    pub path: &'c str,
}

/// A block of a file, or the small files of a fragment block.
pub(super) struct Block<'c> {
    pieces: Vec<Piece<'c>>,
    /// The states of the pieces' files, in their order; none if they say nothing about the bytes, or all bytes are in memory.
    states: Option<Vec<Option<FileState>>>,
    /// Whether it is a hole if all its bytes are zero.
    can_be_hole: bool,
}

impl<'c> Block<'c> {
    pub(super) fn of_file(piece: Piece<'c>, states: &mut States) -> Self {
        Self::of(vec![piece], true, states)
    }

    pub(super) fn of_fragment(pieces: Vec<Piece<'c>>, states: &mut States) -> Self {
        Self::of(pieces, false, states)
    }

    fn of(pieces: Vec<Piece<'c>>, can_be_hole: bool, states: &mut States) -> Self {
        let states: Option<Vec<_>> = pieces.iter().map(|piece| states.of(&piece.content)).collect();
        let states = states.filter(|states| states.iter().any(Option::is_some));
        Self { pieces, states, can_be_hole }
    }

    /// Where the bytes come from; none if that does not decide them.
    pub(super) fn source(&self, options: &Options) -> Option<Source> {
        let states = self.states.as_ref()?;
        let mut hash = Sha256::new();
        hash.update(format!("{:?}\n{}\n{}\n", options.compressor, options.block_size, self.can_be_hole));
        for (Piece { content, .. }, state) in self.pieces.iter().zip(states) {
            hash.update(content.len().to_le_bytes());
            match (content, state) {
                (Content::Range { offset, .. }, Some(state)) => {
                    hash.update(b"r");
                    hash.update(state.to_bytes());
                    hash.update(offset.to_le_bytes());
                }
                (Content::Bytes(bytes), _) => {
                    hash.update(b"b");
                    hash.update(bytes);
                }
                _ => return None,
            }
        }
        Some(hash.finalize().into())
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

/// Where the bytes of a content in a file come from; none if that does not decide them, or they are in memory.
pub(super) fn source_of_content(content: &Content, states: &mut States) -> Option<Source> {
    let (Content::Range { offset, len, .. }, Some(state)) = (content, states.of(content)?) else { return None };
    let hash = Sha256::new().chain_update("content").chain_update(state.to_bytes());
    Some(hash.chain_update(offset.to_le_bytes()).chain_update(len.to_le_bytes()).finalize().into())
}

fn is_zero(block: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    block.chunks(ZEROS.len()).all(|chunk| chunk == &ZEROS[..chunk.len()])
}

/// The states of the open files of contents. The system is asked once a file.
#[derive(Default)]
pub(super) struct States(HashMap<*const File, (Arc<File>, Option<FileState>)>);

impl States {
    /// The state of the file of `content`, `None` inside for bytes in memory; none if it does not decide the bytes.
    fn of(&mut self, content: &Content) -> Option<Option<FileState>> {
        match content {
            Content::Bytes(_) => Some(None),
            Content::Path { .. } => None,
            Content::Range { file, .. } => {
                let known = self.0.entry(Arc::as_ptr(file)).or_insert_with(|| {
                    let state = file.metadata().ok().map(|metadata| FileState::of(&metadata)).filter(FileState::is_settled);
                    (Arc::clone(file), state)
                });
                known.1.map(Some)
            }
        }
    }
}
