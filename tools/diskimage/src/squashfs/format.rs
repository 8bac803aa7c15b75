//! Numbers of the format.

/// `hsqs`, little-endian.
pub(super) const MAGIC: u32 = 0x7371_7368;
/// Bytes of the superblock.
pub(super) const SUPERBLOCK_SIZE: u64 = 96;
/// Bytes of a metadata block before compression, at most.
pub(super) const META_SIZE: usize = 8192;
/// Bit of a metadata block's header: stored as it is.
pub(super) const META_STORED: u16 = 0x8000;
/// Bit of a data block's size: stored as it is.
pub(super) const DATA_STORED: u32 = 1 << 24;
/// No fragment, no extended attributes, no table.
pub(super) const NONE32: u32 = u32::MAX;
/// No table.
pub(super) const NONE64: u64 = u64::MAX;
/// Image sizes are multiples of this, so that block devices take them.
pub(super) const PAD: u64 = 4096;

/// Superblock flags.
pub(super) mod flag {
    /// Equal files are stored once.
    pub const DUPLICATES: u16 = 0x40;
    /// There is an export table.
    pub const EXPORT: u16 = 0x80;
    /// There are no extended attributes.
    pub const NO_XATTRS: u16 = 0x200;
    /// Compressor options follow the superblock.
    pub const COMPRESSOR_OPTIONS: u16 = 0x400;
}

/// Inode types; an extended one is its basic one plus [`kind::EXTENDED`].
pub(super) mod kind {
    pub const DIR: u16 = 1;
    pub const FILE: u16 = 2;
    pub const SYMLINK: u16 = 3;
    pub const BLOCK: u16 = 4;
    pub const CHAR: u16 = 5;
    pub const FIFO: u16 = 6;
    pub const SOCKET: u16 = 7;
    pub const EXTENDED: u16 = 7;
}

/// Linux's encoding of a device number in 32 bits; none when it takes more.
pub(super) fn device(major: u32, minor: u32) -> Option<u32> {
    (major < 1 << 12 && minor < 1 << 20).then_some((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12))
}

/// Major and minor of an encoded device number.
pub(super) fn split_device(device: u32) -> (u32, u32) {
    ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & !0xff))
}
