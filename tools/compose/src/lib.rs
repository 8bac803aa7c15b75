//! Composes a root file system, as a tar or a tree, from a linuxkit yml and its images, entry by entry as `linuxkit build` does. It
//! leaves finding the images to the caller (trait [`Images`]) and file system images to diskimage. It depends on the crates
//! filetree and oci.

mod compose;
mod container;
mod files;
mod go_json;
mod go_yaml;
mod kernel;
mod layers;
mod metadata;
mod node;
mod places;
mod rootfs;
mod schema;
mod spec;
mod volumes;
mod yml;

pub use compose::{Images, Part, Summary, compose, compose_tree, sources};
pub use rootfs::{ComposeMeter, Options};
pub use yml::{Reference, Yml, image_references};
