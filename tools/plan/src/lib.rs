//! Computes plans. A plan is a graph of nodes, each of which makes artifacts from named inputs; the same value is printed, drawn and run.
//! Also reads profiles of trees and computes the paths below `dist/`. Starts no process and reads or writes no file: `tools/checkout`
//! provides the facts, `tools/executor` runs the plan. Depends on `knobs`, `common` and `diskimage` (sizes and names).

mod capabilities;
mod display;
mod facts;
mod goal;
pub mod layers;
mod layout;
mod node;
pub mod pins;
mod planner;
mod profile;
mod signing;
pub mod steps;
mod svg;
mod tables;
#[cfg(test)]
mod tests;

pub use capabilities::Capabilities;
pub use facts::{BasePackage, Composed, Facts, PackageFacts, Release};
pub use goal::{Goal, plan_goal};
pub use layout::{Dist, Layout};
pub use node::{DiskKind, ImageRef, Input, Need, Node, NodeId, Plan};
pub use pins::ToolPin;
pub use profile::{FILE as PROFILE, Profile, Value, VariantKnob};
pub use signing::{SignedMedium, Signing};
pub use steps::{Describe, Keep, Step, release_calls};
pub use tables::{PatchLanguage, TargetCommand, TargetTable};

pub use common::PackageWork;

common::words! {
    /// The engine that makes the nodes.
    EngineKind { /// In this process.
        Native = "native", /// With docker and linuxkit.
        Linuxkit = "linuxkit" }
}
