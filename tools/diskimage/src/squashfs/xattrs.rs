//! Extended attributes: lists of names and values in metadata, and a table of the distinct lists.

use super::meta::MetaWriter;
use anyhow::{Result, bail};
use std::collections::{BTreeMap, HashMap};

/// Prefixes by their number in the format.
const PREFIXES: [&str; 3] = ["user.", "trusted.", "security."];

/// One attribute list of a file.
type List = BTreeMap<String, Vec<u8>>;

/// The lists written so far.
pub(super) struct XattrWriter<'c> {
    /// The names and values.
    pub values: MetaWriter<'c>,
    /// A row for each list: reference, number of attributes, bytes.
    pub rows: Vec<[u8; 16]>,
    known: HashMap<Vec<u8>, u32>,
}

impl<'c> XattrWriter<'c> {
    pub(super) fn new(values: MetaWriter<'c>) -> Self {
        Self { values, rows: Vec::new(), known: HashMap::new() }
    }

    /// The number of the list, which is written unless an equal one was; none for an empty list. An attribute of a namespace
    /// that the format has no number for (`system.`) is an error.
    pub(super) fn add(&mut self, list: &List, path: &[u8]) -> Result<Option<u32>> {
        if list.is_empty() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        for (name, value) in list {
            let found = PREFIXES.iter().zip(0u16..).find_map(|(prefix, number)| Some((number, name.strip_prefix(prefix)?)));
            let Some((number, rest)) = found else {
                bail!("`{}` has the extended attribute `{name}`, which squashfs cannot hold", String::from_utf8_lossy(path));
            };
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.extend_from_slice(&u16::try_from(rest.len())?.to_le_bytes());
            bytes.extend_from_slice(rest.as_bytes());
            bytes.extend_from_slice(&u32::try_from(value.len())?.to_le_bytes());
            bytes.extend_from_slice(value);
        }
        if let Some(number) = self.known.get(&bytes) {
            return Ok(Some(*number));
        }
        let number = u32::try_from(self.rows.len())?;
        let mut row = [0; 16];
        row[..8].copy_from_slice(&self.values.reference().to_le_bytes());
        row[8..12].copy_from_slice(&u32::try_from(list.len())?.to_le_bytes());
        row[12..].copy_from_slice(&u32::try_from(bytes.len())?.to_le_bytes());
        self.values.push(&bytes)?;
        self.rows.push(row);
        self.known.insert(bytes, number);
        Ok(Some(number))
    }
}

/// The prefix with this number.
pub(super) fn prefix(number: u16) -> Option<&'static str> {
    PREFIXES.get(usize::from(number)).copied()
}
