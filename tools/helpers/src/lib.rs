//! The old helper scripts of lf-edge/eve that no build target calls, as functions: they collect the sources of an image, fill
//! in image templates, write other tags into the tree, list old docker images, and read what a machine left on its disk.
//!
//! Each script is a module with one struct of options and one function. All paths in options are absolute. A function prints
//! its result on standard output, and with `--dry-run` what it would do. The crate knows no command line: `xtask` turns the
//! words of a command into options.

#[macro_use]
extern crate common;

pub mod adam;
pub mod artifact_paths;
pub mod build_tools;
pub mod compose_image_yml;
pub mod extract;
pub mod go_builder;
pub mod image_version;
pub mod kernel_build_yml;
pub mod old_images;
pub mod parallels_disk;
pub mod parse_pkgs;
pub mod single_use_installer;
pub mod sources;
pub mod update_component_sha;
