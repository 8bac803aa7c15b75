//! TODO-diskimage
