//! PCRs: what a TPM does when it extends one (TPM 2.0 library, part 1, section 17), and the values that the events of a log give.

use crate::log::EventLog;
use sha2::{Digest as _, Sha256};

/// A value of the SHA-256 bank.
pub type PcrValue = [u8; 32];

/// PCRs of a TPM for PCs.
pub const PCRS: u32 = 24;

/// `value` extended with `digest`.
#[must_use]
pub fn extend(value: &PcrValue, digest: &PcrValue) -> PcrValue {
    Sha256::new().chain_update(value).chain_update(digest).finalize().into()
}

/// The value of a PCR from its start, which is zeros, with these digests.
#[must_use]
pub fn extended(digests: impl IntoIterator<Item = PcrValue>) -> PcrValue {
    digests.into_iter().fold([0; 32], |value, digest| extend(&value, &digest))
}

/// The value that the events of `log` give for `pcr`. None if one of them has no SHA-256 digest. PCRs 17 to 22 start with ones, because only a
/// launch that happens later sets them to zeros.
#[must_use]
pub fn replay(log: &EventLog, pcr: u32) -> Option<PcrValue> {
    let mut value = if (17..=22).contains(&pcr) { [0xff; 32] } else { [0; 32] };
    if let Some(locality) = log.events.iter().find_map(|event| event.startup_locality()).filter(|_| pcr == 0) {
        value[31] = locality;
    }
    for event in log.of_pcr(pcr) {
        value = extend(&value, &event.sha256()?);
    }
    Some(value)
}
