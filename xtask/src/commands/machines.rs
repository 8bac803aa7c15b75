//! What runs images: in QEMU, in other hypervisors of this machine, in a cloud.

use super::{Verb, run, verb};

/// The verbs of this family.
pub const VERBS: &[Verb] = &[verb("run", "boot the last live image in QEMU", run::arguments, run::run)];
