//! Container images at rest: linuxkit's cache (an OCI image layout), image configurations, layers as trees, and the
//! archives that docker and buildkit exchange. Nothing here talks to a registry or starts a process.

mod archive;
mod cache;
mod config;
mod digest;
mod image;
mod layer;
pub mod names;
mod reference;
mod spec;

pub use cache::{Cache, Fork, NewImage, NewLayer};
pub use config::Config;
pub use image::Image;
pub use layer::Layer;
pub use reference::expand_reference;
