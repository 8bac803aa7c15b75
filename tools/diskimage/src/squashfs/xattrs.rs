//! Extended attributes: name-value lists in metadata, and a table of the distinct lists.

use super::meta::MetaWriter;
use anyhow::{Result, bail};
use std::collections::{BTreeMap, HashMap};

/// Namespace prefixes by their number in the format.
const PREFIXES: [&str; 3] = ["user.", "trusted.", "security."];

/// Bit of a prefix number: the value is a reference (out-of-line value).
pub(super) const ELSEWHERE: u16 = 0x100;
/// Longer values are stored once and referenced, as in mksquashfs.
const INLINE: usize = 128;

/// Linux's limits.
const LONGEST_NAME: usize = 255;
const LONGEST_VALUE: usize = 65536;

/// The attributes of one file.
type List = BTreeMap<String, Vec<u8>>;

/// The lists written so far.
pub(super) struct XattrWriter<'c> {
    /// Names and values.
    pub values: MetaWriter<'c>,
    /// One row per list: reference, number of attributes, size.
    pub rows: Vec<[u8; 16]>,
    lists: HashMap<List, u32>,
    long_values: HashMap<Vec<u8>, u64>,
}

impl<'c> XattrWriter<'c> {
    pub(super) fn new(values: MetaWriter<'c>) -> Self {
        Self { values, rows: Vec::new(), lists: HashMap::new(), long_values: HashMap::new() }
    }

    /// Index of the list, which is written if it is new; `None` for an empty list. Attributes of other namespaces (`system.`)
    /// are errors.
    pub(super) fn add(&mut self, list: &List, path: &[u8]) -> Result<Option<u32>> {
        if list.is_empty() {
            return Ok(None);
        }
        if let Some(number) = self.lists.get(list) {
            return Ok(Some(*number));
        }
        let start = self.values.reference();
        let mut size = 0;
        for (name, value) in list {
            let found = PREFIXES.iter().zip(0u16..).find_map(|(prefix, number)| Some((number, name.strip_prefix(prefix)?)));
            let Some((prefix, rest)) = found else {
                bail!("`{}` has the extended attribute `{name}`, which squashfs does not support", String::from_utf8_lossy(path));
            };
            if rest.is_empty() || name.len() > LONGEST_NAME || value.len() > LONGEST_VALUE {
                bail!(
                    "`{}` has the extended attribute `{name}` with a value of {} bytes; Linux allows names of {LONGEST_NAME} and values of {LONGEST_VALUE} bytes",
                    String::from_utf8_lossy(path),
                    value.len()
                );
            }
            size += self.add_value(prefix, rest.as_bytes(), value)?;
        }
        let number = u32::try_from(self.rows.len())?;
        let mut row = [0; 16];
        row[..8].copy_from_slice(&start.to_le_bytes());
        row[8..12].copy_from_slice(&u32::try_from(list.len())?.to_le_bytes());
        row[12..].copy_from_slice(&u32::try_from(size)?.to_le_bytes());
        self.rows.push(row);
        self.lists.insert(list.clone(), number);
        Ok(Some(number))
    }

    fn add_value(&mut self, prefix: u16, name: &[u8], value: &[u8]) -> Result<usize> {
        let known = self.long_values.get(value).map(|reference| reference.to_le_bytes());
        let (prefix, stored) = known.as_ref().map_or((prefix, value), |reference| (prefix | ELSEWHERE, &reference[..]));
        let mut bytes = Vec::with_capacity(8 + name.len() + stored.len());
        bytes.extend_from_slice(&prefix.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(name.len())?.to_le_bytes());
        bytes.extend_from_slice(name);
        self.values.push(&bytes)?;
        let reference = self.values.reference();
        if known.is_none() && value.len() > INLINE {
            self.long_values.insert(value.to_vec(), reference);
        }
        self.values.push(&u32::try_from(stored.len())?.to_le_bytes())?;
        self.values.push(stored)?;
        Ok(bytes.len() + 4 + stored.len())
    }
}

/// The namespace prefix of a number.
pub(super) fn prefix(number: u16) -> Option<&'static str> {
    PREFIXES.get(usize::from(number)).copied()
}
