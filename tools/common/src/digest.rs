//! The SHA-256 of a file, and bytes as hex digits.

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use std::{fs::File, io::Read as _, path::Path};

/// The SHA-256 of a file's content, in hex.
pub fn sha256_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let got = file.read(&mut buffer).with_context(|| format!("cannot read `{}`", path.display()))?;
        if got == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..got]);
    }
}

/// The SHA-256 of `bytes`, in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// `bytes` as lower-case hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
