//! PCR 7: the variables of Secure Boot, and what in db allowed what was started ("Measuring UEFI Variables" of the TCG PC Client Platform
//! Firmware Profile; PCR 7 in its chapter on the usage of PCRs).

use crate::{event::ExpectedEvent, firmware::FirmwareVolume};
use anyhow::{Context as _, Result, bail};
use secureboot::{Certificate, EfiProgram, store::StoredVariable};

/// EFI_GLOBAL_VARIABLE.
const GLOBAL: [u8; 16] = [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c];
/// EFI_IMAGE_SECURITY_DATABASE_GUID.
const SECURITY_DATABASE: [u8; 16] = [0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f];
/// EFI_SECURE_BOOT_ENABLE_DISABLE, the owner of SecureBootEnable.
const SECURE_BOOT_ENABLE: [u8; 16] = [0xc7, 0x0b, 0xa3, 0xf0, 0x08, 0xaf, 0x56, 0x45, 0x99, 0xc4, 0x00, 0x10, 0x09, 0xc9, 0x3a, 0x44];
/// The firmware's own switch.
const SWITCH: &str = "SecureBootEnable";
/// EFI_CERT_X509_GUID and EFI_CERT_SHA256_GUID.
const X509: [u8; 16] = [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];
const SHA256: [u8; 16] = [0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28];

/// The value of a variable; empty if it is not there.
fn value<'v>(variables: &'v [StoredVariable], vendor: &[u8; 16], name: &str) -> &'v [u8] {
    variables.iter().find(|variable| variable.name == name && variable.vendor == *vendor).map_or(&[], |variable| variable.data.as_slice())
}

/// Whether the firmware with these variables lets only signed programs run.
pub(crate) fn is_on(variables: &[StoredVariable]) -> bool {
    !value(variables, &GLOBAL, "PK").is_empty() && value(variables, &SECURE_BOOT_ENABLE, SWITCH) != [0]
}

/// Whether these volumes are of a firmware that has Secure Boot: only then one of its programs names the switch.
pub(crate) fn is_known_to(volumes: &[FirmwareVolume]) -> bool {
    let name: Vec<u8> = SWITCH.encode_utf16().flat_map(u16::to_le_bytes).collect();
    volumes.iter().any(|volume| contains(&volume.bytes, &name))
}

/// The events before the boot, with the separator behind them.
pub(crate) fn policy(variables: &[StoredVariable]) -> Vec<ExpectedEvent> {
    let mut events = vec![ExpectedEvent::variable(GLOBAL, "SecureBoot", &[u8::from(is_on(variables))])];
    for name in ["PK", "KEK"] {
        events.push(ExpectedEvent::variable(GLOBAL, name, value(variables, &GLOBAL, name)));
    }
    for name in ["db", "dbx", "dbt"] {
        let value = value(variables, &SECURITY_DATABASE, name);
        // Of these, dbt alone is left out if it is not there.
        if name != "dbt" || !value.is_empty() {
            events.push(ExpectedEvent::variable(SECURITY_DATABASE, name, value));
        }
    }
    events.push(ExpectedEvent::separator(7));
    events
}

/// What the firmware does with a program under Secure Boot.
pub(crate) enum Verdict {
    /// It starts it because of this event.
    Allowed(ExpectedEvent),
    /// It does not, and why.
    Refused(&'static str),
}

/// Whether the firmware with these variables starts `program`. An error if that is not sure: EDK2's DxeImageVerificationLib looks at the signatures in
/// their order, for each at dbx, then at db in its order, and last at the digest.
pub(crate) fn verdict(variables: &[StoredVariable], program: &[u8]) -> Result<Verdict> {
    let parsed = EfiProgram::parse(program)?;
    let digest = parsed.digest();
    let signature = one_signature(program.get(parsed.unsigned().len()..).unwrap_or_default())?;
    let read = |name| entries(value(variables, &SECURITY_DATABASE, name)).with_context(|| name);
    let (db, dbx) = (read("db")?, read("dbx")?);
    for entry in &dbx {
        match entry.kind {
            SHA256 if entry.content() == digest => return Ok(Verdict::Refused("dbx has its digest")),
            SHA256 => {}
            X509 => match of_certificate(entry.content(), signature) {
                Some(true) => return Ok(Verdict::Refused("dbx has a certificate that is in its signature")),
                Some(false) => {}
                None => bail!("its signature may be of the owner of a certificate in dbx"),
            },
            _ => bail!("dbx has entries that are neither certificates nor SHA-256 digests"),
        }
    }
    if !signature.is_empty() && !contains(signature, &digest) {
        bail!("its signature has no SHA-256 digest of it");
    }
    let allowed = |entry: &Entry<'_>, what| Ok(Verdict::Allowed(ExpectedEvent::authority(SECURITY_DATABASE, "db", entry.whole, what)));
    for entry in db.iter().filter(|entry| entry.kind == X509 && !signature.is_empty()) {
        match of_certificate(entry.content(), signature) {
            Some(true) => return allowed(entry, "db: the certificate that signed the program"),
            Some(false) => {}
            None => bail!("its signature may be of the owner of a certificate in db that is not in it"),
        }
    }
    if let Some(entry) = db.iter().find(|entry| entry.kind == SHA256 && entry.content() == digest) {
        return allowed(entry, "db: the digest of the program");
    }
    if db.iter().any(|entry| entry.kind != X509 && entry.kind != SHA256) {
        bail!("db has entries that are neither certificates nor SHA-256 digests");
    }
    Ok(Verdict::Refused(if signature.is_empty() { "it is not signed" } else { "none of db's certificates is in its signature" }))
}

/// The content of the one WIN_CERTIFICATE in `table`; empty without one.
fn one_signature(table: &[u8]) -> Result<&[u8]> {
    let Some(size) = table.get(..4) else { return Ok(&[]) };
    let size = usize::try_from(u32::from_le_bytes(size.try_into()?))?;
    let content = table.get(8..size).context("its signature is cut off")?;
    if size.next_multiple_of(8) < table.len() {
        bail!("it has more than one signature");
    }
    Ok(content)
}

/// Whether `certificate` is in `signature`. None if it is not, but its owner is named there: it may have signed another certificate in it.
fn of_certificate(certificate: &[u8], signature: &[u8]) -> Option<bool> {
    if contains(signature, certificate) {
        return Some(true);
    }
    let subject = Certificate::parse(certificate).ok()?.subject;
    (!contains(signature, &subject)).then_some(false)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    let Some((first, rest)) = part.split_first() else { return true };
    let mut starts = bytes.iter().enumerate().filter(|(_, byte)| *byte == first);
    starts.any(|(at, _)| bytes[at + 1..].starts_with(rest))
}

/// An entry of an EFI_SIGNATURE_LIST.
struct Entry<'a> {
    kind: [u8; 16],
    /// With its owner before it.
    whole: &'a [u8],
}

impl<'a> Entry<'a> {
    fn content(&self) -> &'a [u8] {
        &self.whole[16..]
    }
}

/// The entries of `lists`, EFI_SIGNATURE_LISTs.
fn entries(mut lists: &[u8]) -> Result<Vec<Entry<'_>>> {
    let mut found = Vec::new();
    while !lists.is_empty() {
        let number = |at: usize| -> Result<usize> {
            let bytes = lists.get(at..at + 4).context("it is cut off")?;
            Ok(usize::try_from(u32::from_le_bytes(bytes.try_into()?))?)
        };
        let (size, header, entry) = (number(16)?, number(20)?, number(24)?);
        let content = header.checked_add(28).and_then(|start| lists.get(start..size)).context("it is cut off")?;
        if entry <= 16 {
            bail!("it has entries of {entry} bytes");
        }
        let kind = lists[..16].try_into()?;
        found.extend(content.chunks_exact(entry).map(|whole| Entry { kind, whole }));
        lists = &lists[size..];
    }
    Ok(found)
}
