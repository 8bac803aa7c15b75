//! `pcrs --log`: the event log of a machine beside what was expected of it.

use anyhow::{Context as _, Result, bail};
use common::digest::hex;
use measured_boot::{EventLog, PcrForecast, PcrValue, compare, find_missing, kind::printable, replay};
use std::{collections::BTreeMap, fs, path::Path};

/// What a machine says of its start.
pub struct Machine {
    log: EventLog,
    /// The values of its TPM, if they were given.
    values: Option<BTreeMap<u32, PcrValue>>,
}

impl Machine {
    /// Reads the log in `file`, and the values in `values`.
    pub fn read(file: &Path, values: Option<&Path>) -> Result<Self> {
        let bytes = fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
        let log = EventLog::parse(&bytes).with_context(|| format!("`{}`", file.display()))?;
        if !log.has_sha256() {
            bail!("`{}` has no SHA-256 digests, and nothing else is compared: the TPM's SHA-256 bank is switched off", file.display());
        }
        Ok(Self { log, values: values.map(read_values).transpose()? })
    }

    /// Whether no PCR differs from `expected`.
    pub fn fits(&self, expected: &[PcrForecast]) -> bool {
        expected.iter().all(|pcr| one(pcr, &self.log, self.values.as_ref()).0 != DIFFERENT)
    }

    /// Whether this PCR differs from `expected`.
    pub fn differs_in(&self, expected: &[PcrForecast], number: u32) -> bool {
        expected.iter().filter(|pcr| pcr.pcr == number).any(|pcr| one(pcr, &self.log, self.values.as_ref()).0 == DIFFERENT)
    }

    /// Prints a line for each PCR; fails if one differs.
    pub fn show(&self, expected: &[PcrForecast], json: bool) -> Result<()> {
        let mut lines = Vec::new();
        for pcr in expected {
            let (state, words) = one(pcr, &self.log, self.values.as_ref());
            if !json {
                println!("{:>2}  {:<9}  {}", pcr.pcr, state, printable(&words));
            }
            lines.push((pcr.pcr, state, words));
        }
        if json {
            let line = |(pcr, state, words): &(u32, &str, String)| serde_json::json!({ "pcr": pcr, "state": state, "words": words });
            println!("{}", serde_json::to_string_pretty(&lines.iter().map(line).collect::<Vec<_>>())?);
        }
        let different: Vec<String> = lines.iter().filter(|(_, state, _)| *state == DIFFERENT).map(|(pcr, ..)| pcr.to_string()).collect();
        match different.as_slice() {
            [] => Ok(()),
            [one] => bail!("PCR {one} differs from what was expected"),
            _ => bail!("the PCRs {} differ from what was expected", different.join(", ")),
        }
    }
}

const SAME: &str = "as said";
const DIFFERENT: &str = "different";
const UNKNOWN: &str = "not said";

/// How a PCR compares, in a word and a sentence.
fn one(expected: &PcrForecast, log: &EventLog, machine: Option<&BTreeMap<u32, PcrValue>>) -> (&'static str, String) {
    let pcr = expected.pcr;
    let count = log.of_pcr(pcr).count();
    let replayed = replay(log, pcr);
    let value = machine.and_then(|machine| machine.get(&pcr).copied());
    if expected.logged
        && let (Some(replayed), Some(value)) = (replayed, value)
        && replayed != value
    {
        let why = "something extended it without a log, the firmware's log was full, or the log was changed";
        return (DIFFERENT, format!("the log gives {}, the TPM has {}: {why}", hex(&replayed), hex(&value)));
    }
    let Some(wanted) = expected.value else {
        return match find_missing(log, pcr, &expected.events) {
            Some(event) => (DIFFERENT, format!("the log has no {} `{}` {}", event.kind, event.what, hex(&event.digest[..8]))),
            None if expected.events.is_empty() => (UNKNOWN, format!("{count} events; {}", expected.remark)),
            None => (UNKNOWN, format!("{} of {count} events as said; {}", expected.events.len(), expected.remark)),
        };
    };
    if !expected.logged {
        return match value {
            None => (UNKNOWN, "no log has it, and no value of the TPM was given (--values)".to_owned()),
            Some(value) if value == wanted => (SAME, "the TPM's value".to_owned()),
            Some(value) => (DIFFERENT, format!("the TPM has {}, expected is {}", hex(&value), hex(&wanted))),
        };
    }
    match compare(log, pcr, &expected.events) {
        Some(difference) => (DIFFERENT, difference.to_string()),
        None => (SAME, format!("{count} events{}", if value.is_some() { ", and the TPM's value" } else { "" })),
    }
}

/// Reads lines `…/N:HEX`, as grep prints the files of sysfs, or `N: HEX`.
fn read_values(file: &Path) -> Result<BTreeMap<u32, PcrValue>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let mut values = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let parsed = line.rsplit_once(':').and_then(|(name, digits)| {
            let number = name.rsplit('/').next()?.trim().parse().ok()?;
            Some((number, parse_hex(digits.trim().trim_start_matches("0x"))?))
        });
        let Some((number, value)) = parsed else {
            bail!("`{}` has the line `{line}`, which is no `N:VALUE` of 64 hex digits", file.display())
        };
        values.insert(number, value);
    }
    Ok(values)
}

fn parse_hex(digits: &str) -> Option<PcrValue> {
    let mut value = [0; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    for (index, byte) in value.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(value)
}
