//! From a linuxkit yml and the images it names to the tar of a root file system, entry by entry as `linuxkit build` writes it.
//! Where the images come from is the caller's affair: a cache, a test, a registry.

mod compose;
mod container;
mod files;
mod go_json;
mod go_yaml;
mod kernel;
mod layers;
mod metadata;
mod node;
mod rootfs;
mod schema;
mod spec;
mod volumes;
mod yml;

pub use compose::{Images, Options, Part, Summary, compose};
pub use yml::{Reference, Yml, image_references};
