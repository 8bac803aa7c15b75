//! Paths that share the bytes of the index, so that thousands of them need no memory of their own.

use std::{borrow::Borrow, ffi::CStr, fmt, ops::Deref, sync::Arc};

/// A path below the top, with `/`.
#[derive(Clone)]
pub struct Name {
    bytes: Arc<Vec<u8>>,
    start: u32,
    len: u32,
}

impl Name {
    /// `len` bytes of `bytes` from `start` on; `None` beyond their end or 4 GiB.
    pub(crate) fn part_of(bytes: &Arc<Vec<u8>>, start: usize, len: usize) -> Option<Self> {
        bytes.get(start..start.checked_add(len)?)?;
        Some(Self { bytes: Arc::clone(bytes), start: start.try_into().ok()?, len: len.try_into().ok()? })
    }

    /// The path from its byte `skip` on, for a system call; `None` if no zero follows it, as it does in an index.
    pub(crate) fn after(&self, skip: usize) -> Option<&CStr> {
        let (start, end) = (self.start as usize, self.start as usize + self.len as usize);
        CStr::from_bytes_with_nul(self.bytes.get(start + skip..=end)?).ok()
    }
}

impl From<&[u8]> for Name {
    /// # Panics
    /// On a path of 4 GiB.
    fn from(path: &[u8]) -> Self {
        Self { bytes: Arc::new(path.to_vec()), start: 0, len: path.len().try_into().expect("paths are shorter than 4 GiB") }
    }
}

impl Deref for Name {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start as usize..self.start as usize + self.len as usize]
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Name {}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self).fmt(f)
    }
}
