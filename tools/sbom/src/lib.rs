//! Bills of materials in SPDX 2.3 (JSON), made from the records that packages leave in a file system: Debian's control stanzas in
//! `var/lib/dpkg/status.d`, the copyright files beside them, and the lists of crates in `var/lib/cargo/status.d`. Looks up the packages of
//! such a document in Debian's security tracker. It starts no process.

mod copyright;
mod licences;
mod listed;
mod records;
mod spdx;
mod tracker;
mod vex;

pub use listed::{DebianPackage, Listing, read_bill};
pub use records::{CRATES, Component, Ecosystem, components};
pub use spdx::{Bill, Subject};
pub use tracker::{Exposure, Finding, Looked, look_up};
pub use vex::write_vex;
