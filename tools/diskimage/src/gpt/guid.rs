//! GUIDs: 16 bytes in mixed byte order on disk, and their text form.

use anyhow::{Context as _, Result};
use serde::{Serialize, Serializer};
use std::{fmt, str::FromStr};

/// A GUID as in its text form; on disk, its first three groups are little-endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub u128);

impl Guid {
    /// The 16 bytes on disk.
    #[must_use]
    pub fn to_disk(self) -> [u8; 16] {
        let mut bytes = self.0.to_be_bytes();
        bytes[0..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        bytes
    }

    /// Parses the 16 bytes on disk.
    #[must_use]
    pub fn from_disk(mut bytes: [u8; 16]) -> Self {
        bytes[0..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        Self(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            n >> 96,
            (n >> 80) & 0xffff,
            (n >> 64) & 0xffff,
            (n >> 48) & 0xffff,
            n & 0xffff_ffff_ffff
        )
    }
}

impl FromStr for Guid {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let groups: Vec<usize> = text.split('-').map(str::len).collect();
        let hex = text.replace('-', "");
        (groups == [8, 4, 4, 4, 12] && hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .then(|| u128::from_str_radix(&hex, 16).ok())
            .flatten()
            .map(Self)
            .with_context(|| format!("`{text}` is not a GUID such as ad6871ee-31f9-4cf3-9e09-6f7a25c30050"))
    }
}

impl Serialize for Guid {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn text_and_disk() {
        let guid: Guid = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B".parse().unwrap();
        assert_eq!(guid.to_disk()[..8], [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]);
        assert_eq!(Guid::from_disk(guid.to_disk()), guid);
        assert_eq!(guid.to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
        for bad in ["", "c12a7328f81f11d2ba4b00a0c93ec93b", "+12a7328-f81f-11d2-ba4b-00a0c93ec93b", "é12a732-f81f-11d2-ba4b-00a0c93ec93b"]
        {
            let error = bad.parse::<Guid>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{bad}` is not a GUID such as ")), "{error}");
        }
    }
}
