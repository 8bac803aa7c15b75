//! What GRUB measures from its start until it starts something else: its module `tpm` extends PCR 8 with every command that runs and every command
//! line of a kernel, and PCR 9 with every file that is read. This runs the configurations on a disk as GRUB does and changes nothing.
//!
//! A command or a variable that is not known here is an error, not a guess.

mod commands;
mod condition;
mod environment;
mod interpreter;
mod program;
mod script;

pub use program::embedded_configuration;

use crate::event::ExpectedEvent;
use anyhow::Result;
use std::collections::BTreeMap;

/// The files that GRUB sees.
pub trait GrubDisk {
    /// The content of the file at `path` (without `/` at its start) in the partition with this number; none if one of both is missing.
    fn read(&self, partition: u32, path: &str) -> Result<Option<Vec<u8>>>;
    /// Whether the file is there.
    fn has(&self, partition: u32, path: &str) -> Result<bool> {
        Ok(self.read(partition, path)?.is_some())
    }
    /// The GUID of the partition, in lower case; none if there is no such partition.
    fn partition_guid(&self, partition: u32) -> Option<String>;
    /// GRUB's name of the partition's file system.
    fn file_system(&self, partition: u32) -> Result<Option<&'static str>>;
}

/// How GRUB was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrubStart {
    /// GRUB's name of the disk, such as `hd0`.
    pub disk: String,
    /// The partition that the program came from.
    pub partition: u32,
    /// Whether Secure Boot is on.
    pub secure_boot: bool,
}

/// What GRUB starts in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// A program of EFI.
    Program {
        /// The partition that it is on.
        partition: u32,
        /// Its path.
        path: String,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// The kernel with its command line and initrd.
    Linux {
        /// The kernel, which has a start for EFI.
        kernel: Vec<u8>,
        /// Its command line.
        command_line: String,
        /// The initrd, if one was loaded.
        initrd: Option<Vec<u8>>,
    },
}

/// What a run of GRUB measures, and what it starts; nothing if its configuration ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrubRun {
    /// The events for PCR 8 and PCR 9.
    pub events: Vec<ExpectedEvent>,
    /// What is started.
    pub loaded: Option<Loaded>,
    /// The blocks of environment that GRUB wrote, by partition and path.
    pub written: Written,
}

/// Files that GRUB has written, by partition and path.
pub type Written = BTreeMap<(u32, String), Vec<u8>>;

/// Runs `configuration`, which is inside of the program of GRUB. `written` are files that an earlier GRUB of this start has written.
pub fn run(disk: &dyn GrubDisk, start: &GrubStart, configuration: &str, written: Written) -> Result<GrubRun> {
    interpreter::Interpreter::new(disk, start, written).run(configuration)
}
