//! PCR 7: the variables of Secure Boot, and the certificates in db that allowed what was started ("Measuring UEFI Variables" of the TCG PC Client Platform
//! Firmware Profile; PCR 7 in its chapter on the usage of PCRs).

use crate::event::ExpectedEvent;
use anyhow::{Context as _, Result, bail};
use secureboot::{EfiProgram, store::StoredVariable};

/// EFI_GLOBAL_VARIABLE.
const GLOBAL: [u8; 16] = [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c];
/// EFI_IMAGE_SECURITY_DATABASE_GUID.
const SECURITY_DATABASE: [u8; 16] = [0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f];
/// EFI_CERT_X509_GUID.
const X509: [u8; 16] = [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];

/// The value of a variable; empty if it is not there.
fn value<'v>(variables: &'v [StoredVariable], name: &str) -> &'v [u8] {
    variables.iter().find(|variable| variable.name == name).map_or(&[], |variable| variable.data.as_slice())
}

/// Whether the firmware with these variables lets only signed programs run.
pub(crate) fn is_on(variables: &[StoredVariable]) -> bool {
    !value(variables, "PK").is_empty() && value(variables, "SecureBootEnable") != [0]
}

/// The events before the boot, with the separator behind them.
pub(crate) fn policy(variables: &[StoredVariable]) -> Vec<ExpectedEvent> {
    let mut events = vec![ExpectedEvent::variable(GLOBAL, "SecureBoot", &[u8::from(is_on(variables))])];
    for name in ["PK", "KEK"] {
        events.push(ExpectedEvent::variable(GLOBAL, name, value(variables, name)));
    }
    for name in ["db", "dbx"] {
        events.push(ExpectedEvent::variable(SECURITY_DATABASE, name, value(variables, name)));
    }
    events.push(ExpectedEvent::separator(7));
    events
}

/// The event of the certificate in db that allows `program`: the first one that is in its signature.
pub(crate) fn authority(variables: &[StoredVariable], program: &[u8]) -> Result<ExpectedEvent> {
    let unsigned = EfiProgram::parse(program)?.unsigned().len();
    let signatures = program.get(unsigned..).unwrap_or_default();
    if signatures.is_empty() {
        bail!("it is not signed");
    }
    for entry in certificates(value(variables, "db"))? {
        let certificate = &entry[16..];
        if signatures.windows(certificate.len()).any(|bytes| bytes == certificate) {
            return Ok(ExpectedEvent::authority(SECURITY_DATABASE, "db", entry, "db: the certificate that signed the program"));
        }
    }
    bail!("none of db's certificates is in its signature")
}

/// The certificates in `db`, EFI_SIGNATURE_LISTs: each with its owner before it.
fn certificates(mut db: &[u8]) -> Result<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !db.is_empty() {
        let number = |at: usize| -> Result<usize> {
            let bytes = db.get(at..at + 4).context("db is cut off")?;
            Ok(usize::try_from(u32::from_le_bytes(bytes.try_into()?))?)
        };
        let (size, header, entry) = (number(16)?, number(20)?, number(24)?);
        let entries = header.checked_add(28).and_then(|start| db.get(start..size)).context("db is cut off")?;
        if db.starts_with(&X509) && entry > 16 {
            found.extend(entries.chunks_exact(entry));
        }
        db = &db[size..];
    }
    Ok(found)
}
