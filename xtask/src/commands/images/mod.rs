//! The old helper scripts that make or read images: one file a verb. What makes an image is a step of the plan without the
//! plan around it, so both engines make it with the code that targets run.

mod adam;
mod asked;
mod config;
mod disk;
mod extract;
mod installer;
mod parallels;
mod rootfs;
mod single_use;
mod stick;

use super::{Verb, verb};
use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, ArgMatches};
use common::error::usage;
use std::path::PathBuf;

/// The verbs of this family.
pub const VERBS: &[Verb] = &[
    verb("makerootfs", "make rootfs.tar of a yml, or rootfs.img of a yml or a tar", rootfs::arguments, rootfs::run),
    verb("makeflash", "make a disk of the parts in a folder", disk::arguments, disk::make_flash),
    verb("makeverification", "make a disk that installs and checks, of the parts in a folder", disk::arguments, disk::make_verification),
    verb("makeconfig", "make config.img of files", config::arguments, config::run),
    verb("makeiso", "make an ISO of the parts in a folder", installer::iso_arguments, installer::make_iso),
    verb("makenet", "make a tar for a netboot of the parts in a folder", installer::net_arguments, installer::make_net),
    verb("makeusbconf", "make a USB stick for a device's port configuration or its dumps", stick::arguments, stick::run),
    verb("parallels-disk", "write the description of a disk in its Parallels bundle", parallels::arguments, parallels::run),
    verb("extract-persist", "take /persist out of a disk, without mounting it", extract::persist_arguments, extract::persist),
    verb("extract-verification-info", "show what a machine's verification left", extract::verification_arguments, extract::verification),
    verb("eve-gen-single-use-installer", "make an installer for one device of lfedge/eve", single_use::arguments, single_use::run),
    Verb {
        without_tree: Some(adam::fake_zboot),
        ..verb("fake-zboot", "answer as zboot on a machine that runs from IMGA", adam::zboot_arguments, super::make::never)
    },
    verb("adam", "talk to an adam that runs together with EVE", adam::arguments, adam::run),
];

/// An option with a value, as the scripts had it: one letter.
fn option(letter: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(letter).short(letter.chars().next()).value_name(value).help(help)
}

/// An option without a value.
fn switch(letter: &'static str, help: &'static str) -> Arg {
    Arg::new(letter).short(letter.chars().next()).action(ArgAction::SetTrue).help(help)
}

/// A word at its place. It is asked for by [`needed`], whose refusal fits on one line.
fn word(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).value_name(value).help(help)
}

/// What stands for `name` on the command line; without it, `help` is the error: the verb's usage with an example.
fn needed<'m>(arguments: &'m ArgMatches, name: &str, help: &str) -> Result<&'m str> {
    arguments.get_one::<String>(name).map(String::as_str).ok_or_else(|| usage(format!("usage: {help}")))
}

/// The same as an absolute path.
fn needed_path(arguments: &ArgMatches, name: &str, help: &str) -> Result<PathBuf> {
    absolute(needed(arguments, name, help)?)
}

/// `path` as seen from the folder in which the person stands.
fn absolute(path: &str) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("`{path}` is no path"))
}

/// A folder that must be there, with its links followed: docker mounts it by this name.
fn folder(path: &str, help: &str) -> Result<PathBuf> {
    let found = std::fs::canonicalize(path).ok().filter(|path| path.is_dir());
    found.ok_or_else(|| usage(format!("`{path}` is no folder\nhint: usage: {help}")))
}
