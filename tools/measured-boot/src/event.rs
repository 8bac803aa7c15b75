//! Events that a boot will log, with the digests that they extend a PCR with.

use crate::{
    kind::{BOOT_SERVICES_APPLICATION, EFI_ACTION, EventKind, IPL, SEPARATOR, VARIABLE_AUTHORITY, VARIABLE_DRIVER_CONFIG},
    replay::PcrValue,
};
use anyhow::Result;
use secureboot::EfiProgram;
use sha2::{Digest as _, Sha256};

/// An event of a boot that has not happened yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedEvent {
    /// The PCR.
    pub pcr: u32,
    /// Its type.
    pub kind: EventKind,
    /// What the PCR is extended with.
    pub digest: PcrValue,
    /// What is measured, for a person.
    pub what: String,
}

impl ExpectedEvent {
    /// An event whose digest is that of `data`.
    #[must_use]
    pub fn of(pcr: u32, kind: EventKind, data: &[u8], what: impl Into<String>) -> Self {
        Self { pcr, kind, digest: Sha256::digest(data).into(), what: what.into() }
    }

    /// The end of what the firmware measures before it boots: four zeros.
    #[must_use]
    pub fn separator(pcr: u32) -> Self {
        Self::of(pcr, SEPARATOR, &[0; 4], "separator")
    }

    /// A step of the boot, by its name.
    #[must_use]
    pub fn action(pcr: u32, name: &str) -> Self {
        Self::of(pcr, EFI_ACTION, name.as_bytes(), name)
    }

    /// A program that the firmware loads: its Authenticode digest (UEFI_IMAGE_LOAD_EVENT in the profile).
    pub fn application(program: &[u8], what: impl Into<String>) -> Result<Self> {
        let digest = EfiProgram::parse(program)?.digest();
        Ok(Self { pcr: 4, kind: BOOT_SERVICES_APPLICATION, digest, what: what.into() })
    }

    /// Something that a boot loader measures.
    #[must_use]
    pub fn loader(pcr: u32, data: &[u8], what: impl Into<String>) -> Self {
        Self::of(pcr, IPL, data, what)
    }

    /// A variable of Secure Boot, in PCR 7.
    #[must_use]
    pub fn variable(vendor: [u8; 16], name: &str, data: &[u8]) -> Self {
        let what = if data.is_empty() { format!("{name}: empty") } else { format!("{name}: {} bytes", data.len()) };
        Self::of(7, VARIABLE_DRIVER_CONFIG, &variable_data(vendor, name, data), what)
    }

    /// What in db allowed a program, in PCR 7: an EFI_SIGNATURE_DATA.
    #[must_use]
    pub fn authority(vendor: [u8; 16], name: &str, signature: &[u8], what: impl Into<String>) -> Self {
        Self::of(7, VARIABLE_AUTHORITY, &variable_data(vendor, name, signature), what)
    }
}

/// UEFI_VARIABLE_DATA ("Measuring UEFI Variables" in the profile): GUID, letters of the name, bytes of the value, both.
fn variable_data(vendor: [u8; 16], name: &str, data: &[u8]) -> Vec<u8> {
    let name: Vec<u16> = name.encode_utf16().collect();
    let mut bytes = vendor.to_vec();
    bytes.extend((name.len() as u64).to_le_bytes());
    bytes.extend((data.len() as u64).to_le_bytes());
    bytes.extend(name.into_iter().flat_map(u16::to_le_bytes));
    bytes.extend(data);
    bytes
}
