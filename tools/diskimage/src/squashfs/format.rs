//! Constants of the format.

/// `hsqs`, little-endian.
pub(super) const MAGIC: u32 = 0x7371_7368;
/// Size of the superblock in bytes.
pub(super) const SUPERBLOCK_SIZE: u64 = 96;
/// Maximum uncompressed size of a metadata block in bytes.
pub(super) const META_SIZE: usize = 8192;
/// Bit in a metadata block's header: stored uncompressed.
pub(super) const META_STORED: u16 = 0x8000;
/// Bit in a data block's size: stored uncompressed.
pub(super) const DATA_STORED: u32 = 1 << 24;
/// No fragment, no extended attributes, no table.
pub(super) const NONE32: u32 = u32::MAX;
/// No table.
pub(super) const NONE64: u64 = u64::MAX;
/// Alignment of the image size, for block devices.
pub(super) const PAD: u64 = 4096;

/// Superblock flags.
pub(super) mod flag {
    /// Equal files are stored once.
    pub const DUPLICATES: u16 = 0x40;
    /// An export table exists.
    pub const EXPORT: u16 = 0x80;
    /// There are no extended attributes.
    pub const NO_XATTRS: u16 = 0x200;
    /// Compressor options follow the superblock.
    pub const COMPRESSOR_OPTIONS: u16 = 0x400;
}

/// Inode types; an extended type is the basic type plus [`kind::EXTENDED`].
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

/// Linux's 32-bit encoding of a device number; `None` if it does not fit.
pub(super) fn device(major: u32, minor: u32) -> Option<u32> {
    (major < 1 << 12 && minor < 1 << 20).then_some((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12))
}

/// Splits an encoded device number into major and minor.
pub(super) fn split_device(device: u32) -> (u32, u32) {
    ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & !0xff))
}
