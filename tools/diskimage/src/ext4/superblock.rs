//! Superblock and group descriptors.

use super::{
    Options,
    geometry::{DESCRIPTOR, GROUP, Geometry, INODE},
    put16, put32,
};

const EXT_ATTR: u32 = 0x8;
const FILETYPE: u32 = 0x2;
const EXTENTS: u32 = 0x40;
const FLEX_BG: u32 = 0x200;
const SPARSE_SUPER: u32 = 0x1;
const LARGE_FILE: u32 = 0x2;
const HUGE_FILE: u32 = 0x8;
const EXTRA_ISIZE: u32 = 0x40;

/// First non-reserved inode.
pub(super) const FIRST_INODE: u32 = 11;

/// Free blocks and inodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Free {
    pub blocks: u64,
    pub inodes: u64,
}

/// The superblock's copy in `group`.
pub(super) fn encode(geometry: &Geometry, options: &Options, free: Free, group: u64) -> [u8; 1024] {
    let mut out = [0; 1024];
    let number = |value: u64| u32::try_from(value).expect("the file system has fewer than 2^32 blocks");
    let mut put = |at: usize, value: u32| put32(&mut out, at, value);
    put(0, number(geometry.groups * geometry.inodes_per_group));
    put(4, number(geometry.blocks));
    put(8, number(geometry.blocks / 20));
    put(12, number(free.blocks));
    put(16, number(free.inodes));
    // log2 of block and cluster size, minus 10.
    put(24, 2);
    put(28, 2);
    put(32, number(GROUP));
    put(36, number(GROUP));
    put(40, number(geometry.inodes_per_group));
    put(48, options.mtime);
    put(64, options.mtime);
    // Dynamic revision.
    put(76, 1);
    put(84, FIRST_INODE);
    put(92, EXT_ATTR);
    put(96, FILETYPE | EXTENTS | FLEX_BG);
    put(100, SPARSE_SUPER | LARGE_FILE | HUGE_FILE | EXTRA_ISIZE);
    // Default mount options: user_xattr and acl, as from mke2fs.
    put(256, 0xc);
    put(264, options.mtime);
    // Directory hashes use unsigned characters.
    put(352, 2);
    let mut put = |at: usize, value: u16| put16(&mut out, at, value);
    put(54, 0xffff);
    put(56, 0xEF53);
    // Clean; continue on errors.
    put(58, 1);
    put(60, 1);
    put(88, u16::try_from(INODE).expect("256"));
    put(90, u16::try_from(group).unwrap_or(0));
    put(348, 32);
    put(350, 32);
    let uuid = options.uuid.0.to_be_bytes();
    out[104..120].copy_from_slice(&uuid);
    out[120..120 + options.label.len()].copy_from_slice(options.label.as_bytes());
    out[236..252].copy_from_slice(&uuid);
    // Default hash of directory indexes: half MD4.
    out[252] = 1;
    // All groups form one flexible group.
    out[372] = u8::try_from(geometry.groups.next_power_of_two().trailing_zeros()).expect("at most 17");
    out
}

/// A group's descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub block_bitmap: u64,
    pub inode_bitmap: u64,
    pub inode_table: u64,
    pub free: Free,
    pub directories: u64,
}

impl Group {
    pub(super) fn encode(&self) -> [u8; DESCRIPTOR] {
        let mut out = [0; DESCRIPTOR];
        let places = [self.block_bitmap, self.inode_bitmap, self.inode_table];
        for (at, block) in (0..).step_by(4).zip(places) {
            put32(&mut out, at, u32::try_from(block).expect("the file system has fewer than 2^32 blocks"));
        }
        for (at, count) in (12..).step_by(2).zip([self.free.blocks, self.free.inodes, self.directories]) {
            put16(&mut out, at, u16::try_from(count).expect("a group has at most 32768 of everything"));
        }
        out
    }
}
