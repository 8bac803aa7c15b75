//! `pcrs --log`: the event log of a machine beside what was expected of it.

use anyhow::{Context as _, Result, bail};
use common::digest::hex;
use measured_boot::{EventLog, PcrForecast, PcrValue, compare, find_missing, replay};
use std::{collections::BTreeMap, fs, path::Path};

/// Compares the log in `file`, and the values in `values`, with `expected`; fails at a difference.
pub fn compare_with(expected: &[PcrForecast], file: &Path, values: Option<&Path>, json: bool) -> Result<()> {
    let bytes = fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let log = EventLog::parse(&bytes).with_context(|| format!("`{}`", file.display()))?;
    let machine = values.map(read_values).transpose()?;
    let mut lines = Vec::new();
    for pcr in expected {
        let (state, words) = one(pcr, &log, machine.as_ref());
        if !json {
            println!("{:>2}  {:<9}  {words}", pcr.pcr, state);
        }
        lines.push((pcr.pcr, state, words));
    }
    if json {
        let lines: Vec<_> =
            lines.iter().map(|(pcr, state, words)| serde_json::json!({ "pcr": pcr, "state": state, "words": words })).collect();
        println!("{}", serde_json::to_string_pretty(&lines)?);
    }
    let different: Vec<String> = lines.iter().filter(|(_, state, _)| *state == DIFFERENT).map(|(pcr, ..)| pcr.to_string()).collect();
    if !different.is_empty() {
        bail!("PCR {} differ from what was expected", different.join(", "));
    }
    Ok(())
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
        return (DIFFERENT, format!("the log gives {}, the TPM has {}: something extended it without a log", hex(&replayed), hex(&value)));
    }
    let Some(wanted) = expected.value else {
        return match find_missing(log, pcr, &expected.events) {
            Some(event) => (DIFFERENT, format!("the log has no {} `{}` {}", event.kind, event.what, hex(&event.digest[..8]))),
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
