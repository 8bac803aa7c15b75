//! Where an artifact is from: in-toto statements (github.com/in-toto/attestation, v1) with SLSA provenance (slsa.dev/spec/v1.0), and the
//! envelopes that sign them (DSSE, github.com/secure-systems-lab/dsse); lists of digests that a build may take; statements about updates, which machines check. Makes and reads the documents; signs nothing itself.

mod digests;
mod envelope;
mod statement;
mod update;

pub use digests::{DigestList, Listed, ListedArtifact, ListedImage};
pub use envelope::{Envelope, PAYLOAD_TYPE, signed_bytes};
pub use statement::{Build, Builder, Definition, External, Internal, Provenance, Resource, RunDetails, Statement};
pub use update::{Update, UpdateStatement};
