//! Disk image formats, each with two phases: `layout` (sizes, offsets, every validation) and `write` (bytes).
//! Starts no process, reads no clock and no environment; atomic replacement of a file is the caller's business:
//! every writer takes an open file under a temporary name.

mod calendar;
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

pub use read_at::{FileImage, ReadAt, Window};
