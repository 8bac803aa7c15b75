//! Reads the event log of a TPM 2.0 as firmware and kernel keep it (`/sys/kernel/security/tpm0/binary_bios_measurements`), in the crypto agile
//! format of the TCG PC Client Platform Firmware Profile 1.05, section 10.2: the first entry is a TCG_PCClientPCREvent, all others are TCG_PCR_EVENT2.

use crate::kind::{EventKind, NO_ACTION};
use anyhow::{Context as _, Result, bail};

/// The id of SHA-256 in a log (TPM_ALG_SHA256).
pub const SHA256: u16 = 0x000b;
/// Digests of an event that a reader takes: a TPM has few banks.
const MOST_DIGESTS: usize = 16;
/// What the first entry says of itself (TCG_EfiSpecIDEvent, "Specification ID Version Event" in the profile).
const SIGNATURE: &[u8; 16] = b"Spec ID Event03\0";
/// What the entry with the locality says of itself (TCG_EfiStartupLocalityEvent, "Startup Locality Event").
const STARTUP_LOCALITY: &[u8; 16] = b"StartupLocality\0";

/// A log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLog {
    /// The banks: each algorithm with the size of its digests in bytes.
    pub banks: Vec<(u16, usize)>,
    /// All entries behind the first one.
    pub events: Vec<LoggedEvent>,
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEvent {
    /// The PCR that was extended.
    pub pcr: u32,
    /// What was measured.
    pub kind: EventKind,
    /// The algorithm and the digest for each bank.
    pub digests: Vec<(u16, Vec<u8>)>,
    /// What the log says of it.
    pub data: Vec<u8>,
}

impl LoggedEvent {
    /// The digest of the SHA-256 bank.
    #[must_use]
    pub fn sha256(&self) -> Option<[u8; 32]> {
        let (_, digest) = self.digests.iter().find(|(algorithm, _)| *algorithm == SHA256)?;
        digest.as_slice().try_into().ok()
    }

    /// Whether it extended a PCR; the others only say something.
    #[must_use]
    pub fn extends(&self) -> bool {
        self.kind != NO_ACTION
    }

    /// The locality from which the TPM was started, which is the last byte of PCR 0 before the first event.
    pub(crate) fn startup_locality(&self) -> Option<u8> {
        let is_it = self.kind == NO_ACTION && self.pcr == 0 && self.data.len() == 17 && self.data.starts_with(STARTUP_LOCALITY);
        is_it.then(|| self.data[16])
    }
}

impl EventLog {
    /// Reads a whole log.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut input = Input { bytes, at: 0 };
        let banks = first(&mut input)?;
        let mut events = Vec::new();
        // The memory behind the last entry is all ones or all zeros where a kernel hands out all of the firmware's area.
        let without = |padding: u8| bytes.iter().rposition(|byte| *byte != padding).map_or(0, |last| last + 1);
        let end = without(0xff).min(without(0));
        while input.at < end {
            let (start, number) = (input.at, events.len() + 1);
            events.push(event(&mut input, &banks).with_context(|| format!("event {number} of the log, at {start:#x}"))?);
        }
        Ok(Self { banks, events })
    }

    /// Whether it has a SHA-256 digest for each event.
    #[must_use]
    pub fn has_sha256(&self) -> bool {
        self.banks.iter().any(|(algorithm, _)| *algorithm == SHA256)
    }

    /// The events that extended a PCR.
    pub fn of_pcr(&self, pcr: u32) -> impl Iterator<Item = &LoggedEvent> {
        self.events.iter().filter(move |event| event.pcr == pcr && event.extends())
    }
}

/// The first entry: the banks.
fn first(input: &mut Input<'_>) -> Result<Vec<(u16, usize)>> {
    let what = "no event log of a TPM 2.0";
    let (pcr, kind) = (input.u32().context(what)?, input.u32().context(what)?);
    input.take(20).context(what)?;
    let size = input.size().context(what)?;
    let data = input.take(size).context(what)?;
    if (pcr, kind) != (0, NO_ACTION.0) || !data.starts_with(SIGNATURE) {
        bail!("{what}: its first entry is not `Spec ID Event03`. The logs of a TPM 1.2 are not read");
    }
    let mut header = Input { bytes: data, at: SIGNATURE.len() + 8 };
    let count = header.size().context("the first entry of the log")?;
    if count == 0 || count > MOST_DIGESTS {
        bail!("the log has {count} banks, and from 1 to {MOST_DIGESTS} are read");
    }
    let mut banks: Vec<(u16, usize)> = Vec::new();
    for _ in 0..count {
        let (algorithm, size) = (header.u16().context("the banks of the log")?, header.u16().context("the banks of the log")?);
        if size == 0 || size > 64 || algorithm == SHA256 && size != 32 {
            bail!("the log has digests of {size} bytes for the algorithm {algorithm:#06x}");
        }
        if banks.iter().any(|(known, _)| *known == algorithm) {
            bail!("the log has two banks of the algorithm {algorithm:#06x}");
        }
        banks.push((algorithm, size.into()));
    }
    Ok(banks)
}

/// A TCG_PCR_EVENT2.
fn event(input: &mut Input<'_>, banks: &[(u16, usize)]) -> Result<LoggedEvent> {
    let (pcr, kind) = (input.u32()?, EventKind(input.u32()?));
    let count = input.size()?;
    if count > MOST_DIGESTS {
        bail!("it has {count} digests, more than {MOST_DIGESTS}");
    }
    let mut digests = Vec::new();
    for _ in 0..count {
        let algorithm = input.u16()?;
        let Some((_, size)) = banks.iter().find(|(known, _)| *known == algorithm) else {
            bail!("it has a digest of the algorithm {algorithm:#06x}, which is none of the log's banks");
        };
        digests.push((algorithm, input.take(*size)?.to_vec()));
    }
    let size = input.size()?;
    Ok(LoggedEvent { pcr, kind, digests, data: input.take(size)?.to_vec() })
}

/// Bytes that are read one after the other.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, size: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(size);
        let Some(taken) = end.and_then(|end| self.bytes.get(self.at..end)) else {
            bail!("the log ends at {:#x}, within an entry that has {size} bytes at {:#x}", self.bytes.len(), self.at);
        };
        self.at += size;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.take(2)?.try_into()?))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into()?))
    }

    fn size(&mut self) -> Result<usize> {
        Ok(usize::try_from(self.u32()?)?)
    }
}
