//! Packages: what `build.yml` says, which tag a package has, how its Dockerfile is built into an image without a daemon, and
//! the archives of Debian packages that images are made of.
//!
//! Nothing here starts a process: the output of git, the images to start from and the sandbox come from the caller.

pub mod build_yml;
pub mod builder;
pub mod debian;
pub mod dockerfile;
pub mod tags;
