//! How a node is made: natively in this process, or by docker and linuxkit.

use crate::Job;
use anyhow::Result;
use plan::{Node, PackageJob};

/// One way of making nodes.
pub trait Engine: Sync {
    /// The digest of a package's image when it exists already, for all architectures that are asked for.
    fn package(&self, job: &PackageJob) -> Result<Option<String>>;

    /// Makes `node`: afterwards its outputs stand under their names. What it has to tell goes to `job`.
    fn make(&self, node: &Node, job: &Job<'_>) -> Result<()>;
}
