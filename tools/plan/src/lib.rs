//! The plan: a graph of nodes, each of which makes named artifacts from named inputs. A pure value: it is printed, drawn
//! and run, and nothing in here starts a process or writes a file.

mod capabilities;
mod display;
mod facts;
mod goal;
mod layout;
mod node;
pub mod pins;
mod planner;
mod profile;
pub mod steps;
#[cfg(test)]
mod tests;

pub use capabilities::Capabilities;
pub use facts::{Composed, Facts, PackageFacts, Release};
pub use goal::{Goal, plan_goal};
pub use layout::{Dist, Layout};
pub use node::{DiskKind, ImageRef, Input, Need, Node, NodeId, Plan};
pub use pins::ToolPin;
pub use profile::{Detect, FILE as PROFILE, Profile, Value, VariantKnob};
pub use steps::{Describe, Step};

pub use common::PackageWork;

/// Which engine makes the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// In this process.
    Native,
    /// By docker and linuxkit.
    Linuxkit,
}

impl EngineKind {
    /// The word on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Linuxkit => "linuxkit",
        }
    }
}
