//! Disk image formats: partition tables, file systems (FAT, ext4, squashfs, ISO 9660), containers (qcow2, VDI, Parallels, GCP) and
//! EVE's recipes of them. Each writer has two phases: `layout` (sizes, offsets, all validation) and `write` (bytes). It starts
//! no process and reads neither clock nor environment; callers replace files atomically, by passing an open temporary file. It
//! depends on the crate filetree.

mod calendar;
pub mod container;
pub mod cpio;
pub mod disk;
pub mod eve;
pub mod ext4;
pub mod extract;
pub mod fat;
pub mod gcp;
pub mod gpt;
pub mod inspect;
pub mod iso;
pub mod parallels;
pub mod qcow2;
mod read_at;
pub mod recipes;
pub mod rootfs;
pub mod sparse;
pub mod squashfs;
pub mod verity;

pub use read_at::{FileImage, ReadAt, Window};
