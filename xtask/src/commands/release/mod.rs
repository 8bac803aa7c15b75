//! Verbs that tag releases in git, and `ssh-key`.

mod patch;
#[allow(clippy::module_inception, reason = "the verb is called so")]
mod release;
mod ssh_key;

pub use ssh_key::{ensure as ensure_key, for_login as key_for_login};

use super::{Run, Verb, simple, verb};

/// The verbs of this family.
pub const VERBS: &[Verb] = &[
    verb("release", "prepare a branch and a tag for a release (VERSION=x.y.z)", &Run(release::run)),
    simple("patch", "tag a patch release on a release branch", patch::run),
    verb("ssh-key", "make an ssh key, and a configuration that authorizes it", &Run(ssh_key::run)),
];
