//! The old helper scripts that make or read images.

use super::Verb;

/// The verbs of this family.
pub const VERBS: &[Verb] = &[];
