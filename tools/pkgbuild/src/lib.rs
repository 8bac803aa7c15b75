//! TODO-pkgbuild
