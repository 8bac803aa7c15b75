//! Real machines in QEMU. One program for all of them: machines run side by side, as many as this machine has processors, and an image
//! that several tests boot is built once.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod buses;
mod dev;
mod formats;
mod hypervisors;
mod installer;
mod riscv64;
mod slots;
