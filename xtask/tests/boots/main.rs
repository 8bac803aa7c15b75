//! Real machines in QEMU. One program for all of them: machines run side by side, as many as this machine has processors, and an image
//! that several tests boot is built once. libtest starts tests in the order of their names, and the longest is in `after_updates`, so that
//! no processor is idle while it runs alone at the end.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod after_updates;
mod buses;
mod dev;
mod enrolment;
mod formats;
mod guest;
mod hypervisors;
mod installer;
mod persist;
mod riscv64;
mod secure_boot;
