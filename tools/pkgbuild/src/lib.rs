//! Packages: parses `build.yml`, computes tags from git's state, builds images from Dockerfiles without a daemon, and manages
//! archives of pinned Debian packages. It starts no process: the caller provides git's output, base images and the sandbox. It
//! depends on the crates filetree, gitindex and oci.

pub mod build_yml;
pub mod builder;
pub mod bump;
pub mod debian;
pub mod dockerfile;
pub mod known;
pub mod tags;
