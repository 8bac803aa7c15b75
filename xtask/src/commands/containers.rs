//! What is done by or to containers: the Go builder, linuxkit and its cache, docker's images, generators and checkers.

use super::Verb;

/// The verbs of this family.
pub const VERBS: &[Verb] = &[];
