//! Container images on disk: linuxkit's cache (an OCI image layout), image configurations, layers as [`filetree::Tree`]s, and
//! the tar archives of docker and buildkit. It talks to no registry and starts no process. It depends on the crate filetree.

mod archive;
mod cache;
mod capabilities;
mod checked;
mod config;
mod digest;
mod image;
mod layer;
pub mod names;
mod reference;
mod spec;

pub use archive::clean_path;
pub use cache::{BlobName, Cache, Document, Fork, NewImage, NewLayer, is_blob};
pub use capabilities::{CAPABILITIES, unknown_capability};
pub use checked::{keep_checked, remember_checked};
pub use config::Config;
pub use digest::DamagedBlob;
pub use image::{Image, apply_layer};
pub use layer::Layer;
pub use reference::expand_reference;
pub use spec::rfc3339;
