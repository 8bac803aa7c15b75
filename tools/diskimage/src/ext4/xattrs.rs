//! Extended attributes: in the inode after its fields if they fit, else in one block.

use super::{
    BLOCK_BYTES,
    geometry::{EXTRA, INODE},
    put16, put32,
};
use anyhow::{Context as _, Result, bail};
use std::collections::BTreeMap;

const MAGIC: u32 = 0xEA02_0000;
/// Space in the inode after its fields, including the magic number.
pub(super) const IN_INODE: usize = INODE - 128 - EXTRA;
/// Size of a block's header, and of an entry without its name.
const HEADER: usize = 32;
const ENTRY: usize = 16;

/// Encoded attributes of an inode.
#[derive(Debug)]
pub(super) enum Xattrs {
    None,
    /// In the inode, after its fields.
    Inside(Vec<u8>),
    /// In a block.
    Block(Vec<u8>),
}

struct Attribute {
    index: u8,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Attribute {
    /// The kernel's `ext4_xattr_hash_entry`.
    fn hash(&self) -> u32 {
        let name = self.name.iter().fold(0_u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
        self.value.chunks(4).fold(name, |hash, word| {
            let mut padded = [0; 4];
            padded[..word.len()].copy_from_slice(word);
            hash.rotate_left(16) ^ u32::from_le_bytes(padded)
        })
    }
}

pub(super) fn encode(xattrs: &BTreeMap<String, Vec<u8>>) -> Result<Xattrs> {
    if xattrs.is_empty() {
        return Ok(Xattrs::None);
    }
    let mut all = xattrs.iter().map(|(name, value)| attribute(name, value)).collect::<Result<Vec<_>>>()?;
    all.sort_by(|a, b| (a.index, a.name.len(), &a.name).cmp(&(b.index, b.name.len(), &b.name)));
    // Value offsets count from the first entry in an inode, from the block's start in a block.
    let mut inside = vec![0; IN_INODE];
    if fill(&mut inside[4..], 0, &all) {
        put32(&mut inside, 0, MAGIC);
        return Ok(Xattrs::Inside(inside));
    }
    let mut block = vec![0; BLOCK_BYTES];
    if !fill(&mut block, HEADER, &all) {
        let bytes: usize = all.iter().map(|attribute| attribute.name.len() + attribute.value.len()).sum();
        bail!("the extended attributes have {bytes} bytes, more than a block of {BLOCK_BYTES}");
    }
    put32(&mut block, 0, MAGIC);
    put32(&mut block, 4, 1);
    put32(&mut block, 8, 1);
    put32(&mut block, 12, all.iter().fold(0, |hash: u32, attribute| hash.rotate_left(16) ^ attribute.hash()));
    Ok(Xattrs::Block(block))
}

/// Writes entries from `start` on, and values backwards from the end, with a zero word in between. `false` if there is no room.
fn fill(out: &mut [u8], start: usize, all: &[Attribute]) -> bool {
    let (mut at, mut end) = (start, out.len());
    for attribute in all {
        let entry = ENTRY + attribute.name.len().next_multiple_of(4);
        let value = attribute.value.len().next_multiple_of(4);
        if at + entry + 4 + value > end {
            return false;
        }
        end -= value;
        out[at] = u8::try_from(attribute.name.len()).expect("names were checked");
        out[at + 1] = attribute.index;
        // The offset of an empty value is 0.
        put16(out, at + 2, if value == 0 { 0 } else { u16::try_from(end).expect("a block has 4096 bytes") });
        put32(out, at + 8, u32::try_from(attribute.value.len()).expect("it fits into a block"));
        put32(out, at + 12, attribute.hash());
        out[at + ENTRY..at + ENTRY + attribute.name.len()].copy_from_slice(&attribute.name);
        out[end..end + attribute.value.len()].copy_from_slice(&attribute.value);
        at += entry;
    }
    true
}

fn attribute(name: &str, value: &[u8]) -> Result<Attribute> {
    const ACL_ACCESS: u8 = 2;
    const ACL_DEFAULT: u8 = 3;
    let acl = match name {
        "system.posix_acl_access" => Some(ACL_ACCESS),
        "system.posix_acl_default" => Some(ACL_DEFAULT),
        _ => None,
    };
    if let Some(index) = acl {
        let value = encode_acl(value).with_context(|| format!("invalid extended attribute `{name}`"))?;
        return Ok(Attribute { index, name: Vec::new(), value });
    }
    let prefixes = [("user.", 1), ("trusted.", 4), ("security.", 6), ("system.", 7)];
    let found = prefixes.iter().find_map(|(prefix, index)| Some((name.strip_prefix(prefix)?, *index)));
    let Some((rest, index)) = found.filter(|(rest, _)| !rest.is_empty() && rest.len() <= 255) else {
        bail!("ext4 does not support the extended attribute `{}`", name.escape_debug());
    };
    Ok(Attribute { index, name: rest.as_bytes().to_vec(), value: value.to_vec() })
}

/// Converts an ACL from the xattr form (version 2, entries of 8 bytes) to ext4's (version 1, with ids only in entries for named
/// users and groups).
fn encode_acl(value: &[u8]) -> Result<Vec<u8>> {
    const NAMED: [u16; 2] = [0x02, 0x08];
    let Some((&[2, 0, 0, 0], entries)) = value.split_first_chunk::<4>() else { bail!("the ACL is not of version 2") };
    if !entries.len().is_multiple_of(8) {
        bail!("{} bytes are not a whole number of ACL entries", entries.len());
    }
    let mut out = vec![1, 0, 0, 0];
    for entry in entries.chunks(8) {
        let named = NAMED.contains(&u16::from_le_bytes([entry[0], entry[1]]));
        out.extend_from_slice(&entry[..if named { 8 } else { 4 }]);
    }
    Ok(out)
}
