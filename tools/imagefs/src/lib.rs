//! Opens any image as a file system (disks in containers, partitions, FAT, squashfs, ext4, ISO 9660, tar, OCI and docker archives, cpio),
//! and what is built on that: lists, extraction, sizes by package, comparison, and deltas. It starts no process.

mod archive;
mod compare;
mod cpio;
pub mod delta;
mod extract;
mod iso;
mod open;
mod packages;
mod size;
mod source;
#[cfg(test)]
mod tests;
mod texts;
mod volume;

pub use compare::{Changed, Comparison, FileChange, Package, compare, compare_contents, package_changes, split_image};
pub use extract::{Extracted, extract};
pub use open::{ImageContents, LookedUp, Spec, look_up, open_all, open_file};
pub use packages::{DebianRecord, Owners, debian_packages, images_of};
pub use size::{FileSize, Part, Sizes, measure, measure_files};
pub use source::Shared;
pub use texts::line_changes;
pub use volume::Volume;
