//! What marks versions in git, and makes keys.

mod patch;
#[allow(clippy::module_inception, reason = "the verb is called so")]
mod release;
mod ssh_key;

pub use ssh_key::path as ssh_key_path;

use super::{Verb, by_matches, no_arguments, verb};

/// The verbs of this family.
pub const VERBS: &[Verb] = &[
    by_matches("release", "prepare a branch and a tag for a release (VERSION=x.y.z)", no_arguments, release::run),
    by_matches("patch", "tag a patch release on a release's branch", no_arguments, patch::run),
    verb::<ssh_key::SshKey>("ssh-key", "make a key for ssh, and a configuration that takes it"),
];
