//! Random GUIDs, from the kernel.

use anyhow::{Context as _, Result};
use std::{fs::File, io::Read as _};

/// A random GUID (RFC 9562, version 4).
pub fn guid() -> Result<u128> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("cannot read /dev/urandom")?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(u128::from_be_bytes(bytes))
}

/// The same as a text.
pub fn uuid() -> Result<String> {
    Ok(diskimage::gpt::Guid(guid()?).to_string())
}
