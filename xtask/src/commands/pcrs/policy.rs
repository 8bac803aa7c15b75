//! What `pcrs` writes for programs: the values with their events, and the policy of a verifier.

use super::starts::{self, Start};
use anyhow::Result;
use common::digest::hex;
use measured_boot::PcrForecast;
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, path::Path};

/// The name of the policy's format.
const FORMAT: &str = "urn:eve-xtask:pcr-policy:v1";

/// The values with their events.
pub fn values(all: &[PcrForecast]) -> Value {
    let event =
        |event: &measured_boot::ExpectedEvent| json!({ "type": event.kind.to_string(), "sha256": hex(&event.digest), "what": event.what });
    let pcr = |pcr: &PcrForecast| {
        json!({
            "pcr": pcr.pcr, "sha256": pcr.value.map(|value| hex(&value)), "remark": pcr.remark, "logged": pcr.logged,
            "events": pcr.events.iter().map(event).collect::<Vec<_>>(),
        })
    };
    Value::Array(all.iter().map(pcr).collect())
}

/// The policy: for each PCR the values that the starts may have, if all of them are known, and the values of each start.
pub fn document(image: &Path, now: &[PcrForecast], starts: &[(Vec<PcrForecast>, Start)]) -> Result<String> {
    let mut allowed: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    // A list that lacks the values of some starts would refuse machines that are well, so it has only PCRs that each start knows.
    let (mut unknown, mut conditions) = (Reasons::default(), Reasons::default());
    for pcr in std::iter::once(now).chain(starts.iter().map(|(all, _)| all.as_slice())).flatten() {
        let Some(value) = pcr.value.map(|value| hex(&value)) else {
            unknown.add(pcr);
            continue;
        };
        conditions.add(pcr);
        let values = allowed.entry(pcr.pcr).or_default();
        if !values.contains(&value) {
            values.push(value);
        }
    }
    allowed.retain(|pcr, _| !unknown.0.contains_key(pcr));
    conditions.0.retain(|pcr, _| allowed.contains_key(pcr));
    let known = |all: &[PcrForecast]| -> Map<String, Value> {
        all.iter().filter_map(|pcr| Some((pcr.pcr.to_string(), json!(hex(&pcr.value?))))).collect()
    };
    let mut listed = vec![json!({ "slot": null, "state": "as the disk is now", "pcrs": known(now) })];
    listed.extend(starts.iter().map(|(all, start)| {
        let slot = starts::slot_of(all).unwrap_or(start.slot);
        let state =
            if slot == start.slot { start.name() } else { format!("slot {} {}, and CONFIG names {slot}", start.slot, start.name()) };
        json!({ "slot": slot.to_string(), "state": state, "pcrs": known(all) })
    }));
    let image = image.file_name().unwrap_or_default().to_string_lossy();
    let pcrs: Map<String, Value> = allowed.into_iter().map(|(pcr, values)| (pcr.to_string(), json!(values))).collect();
    let document = json!({
        "format": FORMAT, "image": image, "bank": "sha256", "pcrs": pcrs, "starts": listed,
        "conditions": conditions.shown(), "unknown": unknown.shown(),
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// What is said of PCRs, by their numbers: each sentence once.
#[derive(Default)]
struct Reasons(BTreeMap<u32, Vec<String>>);

impl Reasons {
    fn add(&mut self, pcr: &PcrForecast) {
        let known = self.0.entry(pcr.pcr).or_default();
        if !pcr.remark.is_empty() && !known.contains(&pcr.remark) {
            known.push(pcr.remark.clone());
        }
    }

    fn shown(&self) -> Map<String, Value> {
        self.0.iter().filter(|(_, words)| !words.is_empty()).map(|(pcr, words)| (pcr.to_string(), json!(words.join("; ")))).collect()
    }
}
