//! Collects the sources of the software in an image: Alpine packages, the kernel and Go modules. Licenses such as the GPL require to
//! publish them with the image.

pub mod alpine;
mod apkbuild;
pub mod collect;
pub mod debian;
mod download;
pub mod go_modules;
pub mod go_pseudo_version;
pub mod go_sum;
mod installed;
pub mod kernel;
pub mod manifests;
