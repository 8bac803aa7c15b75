//! The Debian archive of a tree: pins of .deb files (`lock`, computed by `pin` from a mirror's `index`), the `store` that
//! downloads and keeps them, the archive image, and the step that unpacks a closure of it into a stage. It runs no program of
//! any package, so it needs no root and works for every architecture on any machine.
//!
//! The caller gives mirrors, folders and proxies: nothing here inspects the machine.

mod archive;
mod builtin;
mod control;
mod deb;
mod deploy;
mod download;
mod hosts;
mod http;
mod index;
mod indexes;
mod lock;
mod mirrors;
mod network;
mod pin;
mod release;
mod signed;
mod sources;
mod store;
mod unpack;
mod update;
mod version;
mod wanted;

#[cfg(test)]
mod tests;

pub use archive::{Archive, ArchiveOptions, build_archive};
pub use builtin::{Builtin, Builtins};
pub use control::{Stanza, Stanzas, check_version, stanzas};
pub use deb::{Deb, read_deb};
pub use deploy::{DeployOptions, Deployed, Selection, deploy};
pub use index::{Index, index_path};
pub(crate) use lock::nearest;
pub use lock::{Lock, Pin, Suite};
pub use mirrors::{Mirrors, read_apt_sources};
pub use network::{Limits, Network, Proxy, Tls};
pub use pin::{Prefer, pin};
pub use release::Locks;
pub use signed::{KEYS, Key, Trust, Verified, Verifier};
pub use sources::{SourceId, SourceLock, SourcePin, sources_of, update_sources};
pub use store::{Fetched, Policy, Progress, Store, missing_bytes};
pub use unpack::{STATUS, is_kept, unpack};
pub use update::{IndexSource, Pinning, Updated, update_locks};
pub use version::compare as compare_versions;
pub use wanted::Wanted;

/// Build arguments of the native builder for every package: the archive's first stage is based on `scratch`, with docker on a
/// Debian image.
pub const NATIVE_BUILD_ARGS: &[(&str, &str)] = &[("CACHE", "scratch")];
