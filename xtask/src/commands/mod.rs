//! The verbs: one file for each, or for a family of similar ones. A file has a struct of clap arguments and a function
//! `run(ctx, arguments)`; the table of all verbs is in `cli/verbs.rs`.

mod attest;
pub mod bench;
pub mod build;
mod bump;
mod ci;
mod clean;
mod conformance;
pub mod containers;
mod coverage;
mod cve;
mod debian;
mod delta;
mod diff;
mod doctor;
mod early;
mod eve_image;
mod explain;
mod fuzz;
pub mod images;
mod info;
mod inspect;
mod keys;
mod lint;
mod lock;
pub mod machines;
mod mutants;
mod new;
mod owners;
mod paths;
mod published;
pub mod release;
mod report;
mod shell;
mod show_tag;
mod sign;
mod size;
pub mod sources;
mod store;
mod test;
mod update_statement;
pub mod upkeep;
mod verb;
mod verify;
mod visible;

pub use verb::{Action, Run, Verb, Wants, anywhere, simple, target, target_and, verb};
