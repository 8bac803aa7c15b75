//! The old helper scripts that tell where an image's sources are.

use super::Verb;

/// The verbs of this family.
pub const VERBS: &[Verb] = &[];
