//! Runs a build step (a Dockerfile's RUN) in namespaces of its own: it sees only the files of its stage, and no files, processes, network
//! or users of this machine. Starts this program itself as the inner half ([`inside`]), so it needs no other tool and no root. pkgbuild
//! decides which steps run; child starts the process; filetree holds the stage. Systems other than Linux have no such namespaces: there each
//! step is an error.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod filter;
#[cfg(target_os = "linux")]
pub mod inside;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod stage;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::{Failed, Sandbox, inside};
#[cfg(target_os = "linux")]
pub use linux::{Failed, Sandbox};

/// The first word of our command line when we start ourselves as the inner half.
pub const INNER: &str = "__sandbox";
