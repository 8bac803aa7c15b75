//! Compares a log with what was expected, event by event.

use crate::{
    event::ExpectedEvent,
    kind::{describe, printable},
    log::{EventLog, LoggedEvent},
};
use std::fmt;

/// Where a log begins to differ in a PCR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDifference {
    /// The PCR.
    pub pcr: u32,
    /// Which event of this PCR, from 1.
    pub number: usize,
    /// What was expected; none if the log goes on.
    pub expected: Option<ExpectedEvent>,
    /// What the log has; none if it has no more of this PCR.
    pub logged: Option<LoggedEvent>,
}

/// The first difference between the events of `pcr` in `log` and the expected ones.
#[must_use]
pub fn compare(log: &EventLog, pcr: u32, expected: &[ExpectedEvent]) -> Option<LogDifference> {
    let mut logged = log.of_pcr(pcr);
    let mut expected = expected.iter().filter(|event| event.pcr == pcr);
    for number in 1.. {
        let (left, right) = (expected.next(), logged.next());
        let is_same = match (left, right) {
            (None, None) => return None,
            (Some(left), Some(right)) => left.kind == right.kind && Some(left.digest) == right.sha256(),
            _ => false,
        };
        if !is_same {
            return Some(LogDifference { pcr, number, expected: left.cloned(), logged: right.cloned() });
        }
    }
    None
}

/// The first of the expected events of `pcr` that `log` does not have behind those before it. Other events may lie between them.
#[must_use]
pub fn find_missing<'e>(log: &EventLog, pcr: u32, expected: &'e [ExpectedEvent]) -> Option<&'e ExpectedEvent> {
    let mut logged = log.of_pcr(pcr);
    let mut expected = expected.iter().filter(|event| event.pcr == pcr);
    expected.find(|event| !logged.any(|logged| logged.kind == event.kind && logged.sha256() == Some(event.digest)))
}

impl fmt::Display for LogDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |digest: Option<[u8; 32]>| {
            digest.map_or_else(|| "without SHA-256".to_owned(), |digest| digest[..8].iter().map(|byte| format!("{byte:02x}")).collect())
        };
        write!(f, "PCR {}, event {}: ", self.pcr, self.number)?;
        match &self.expected {
            Some(event) => write!(f, "expected {} {} `{}`", event.kind, short(Some(event.digest)), printable(&event.what))?,
            None => write!(f, "expected no more")?,
        }
        match &self.logged {
            Some(event) => write!(f, ", the log has {} {} `{}`", event.kind, short(event.sha256()), describe(event.kind, &event.data)),
            None => write!(f, ", the log has no more"),
        }
    }
}
