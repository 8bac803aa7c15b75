//! TODO-pkgbuild

pub mod debian;
