//! What marks versions in git, and makes keys.

mod patch;
#[allow(clippy::module_inception, reason = "the verb is called so")]
mod release;
mod ssh_key;

pub use ssh_key::path as ssh_key_path;

use super::{Verb, simple, verb};

/// The verbs of this family.
pub const VERBS: &[Verb] = &[
    verb::<release::Release>("release", "prepare a branch and a tag for a release (VERSION=x.y.z)"),
    simple("patch", "tag a patch release on a release's branch", patch::run),
    verb::<ssh_key::SshKey>("ssh-key", "make a key for ssh, and a configuration that takes it"),
];
