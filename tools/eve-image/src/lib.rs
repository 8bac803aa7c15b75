//! What the image lfedge/eve does: it makes the artifact that a word names from the parts in its folder `/bits`. The program in the
//! image (eve-tools) calls this crate, and so does xtask, which reads the parts from the image's archive. It starts no process.

mod bits;
mod formats;
mod make;
mod request;

pub use bits::{EvePart, EveParts, MANIFEST};
pub use formats::DiskFormat;
pub use make::make;
pub use request::{EveRequest, USAGE, Word};
