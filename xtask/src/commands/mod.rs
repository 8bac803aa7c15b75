//! What a person can type: one file a verb (or a family that differs in one word). Each verb is a struct of its arguments and what runs;
//! the table of all verbs is the command line's.

pub mod bench;
pub mod build;
mod bump;
mod clean;
mod conformance;
pub mod containers;
mod debian;
mod doctor;
mod explain;
pub mod images;
mod info;
mod inspect;
pub mod machines;
mod paths;
pub mod release;
mod show_tag;
pub mod sources;
mod test;
pub mod upkeep;
mod verb;

pub use verb::{Action, Run, RunAnywhere, Verb, anywhere, simple, target, verb};
