//! Bills of materials in SPDX 2.3 (JSON), made from the records that packages leave in a file system: Debian's control stanzas in
//! `var/lib/dpkg/status.d`, the copyright files beside them, and the lists of crates in `var/lib/cargo/status.d`. It starts no process.

mod copyright;
mod licences;
mod records;
mod spdx;

pub use records::{CRATES, Component, Ecosystem, components};
pub use spdx::{Bill, Subject};
