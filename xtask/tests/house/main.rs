//! The rules of the house that a reader of the sources could check by hand. Each is a function of a text, checked on the whole tree, on
//! planted violations that it must catch (one of them behind a test module in the middle of a file) and on near misses that must pass.
//! What breaks a rule today stands in `known`, and that list only becomes shorter.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod by_string;
mod circles;
mod crates;
mod documents;
mod errors;
mod floors;
mod knobs;
mod known;
mod linux_only;
mod locks;
mod names;
mod ratchet;
mod reach;
mod reliability;
mod shape;
mod skipped;
mod source;
mod targets;
mod tree;

/// Fails when there is any hit, and shows all.
fn none(hits: impl IntoIterator<Item = String>) {
    let hits: Vec<String> = hits.into_iter().collect();
    assert!(hits.is_empty(), "{} break a rule of the house: {hits:#?}", hits.len());
}
