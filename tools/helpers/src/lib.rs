//! The helper scripts of lf-edge/eve that no build target calls, as functions: they collect the sources of an image, fill in image
//! templates, change tags in the tree, list old docker images, and read files from a machine's disk. `xtask` parses the command lines;
//! the crate depends on checkout, native, child and diskimage.
//!
//! Each script is a module with one public function for `xtask`. It takes absolute paths, prints its result on standard output, and
//! with `--dry-run` prints what it would do.

#[macro_use]
extern crate common;

pub mod adam;
pub mod build_tools;
pub mod compose_image_yml;
pub mod extract;
pub mod go_builder;
pub mod image_version;
pub mod kernel_build_yml;
pub mod old_images;
pub mod parallels_disk;
pub mod parse_pkgs;
pub mod rewrite;
pub mod single_use_installer;
pub mod sources;
pub mod update_component_sha;
