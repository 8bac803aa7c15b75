//! What marks versions in git: releases, patches, keys.

use super::Verb;

/// The verbs of this family.
pub const VERBS: &[Verb] = &[];
