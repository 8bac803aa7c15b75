//! Limits with a list of those that are over them today: who is on the list may not grow, who is back below the limit leaves it, and
//! nobody comes onto it.

use std::collections::BTreeMap;

/// What is wrong with `found` (each name with its number), where more than `limit` needs an entry in `known`.
pub fn complaints(found: &BTreeMap<String, usize>, limit: usize, known: &[(&str, usize)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, number) in found.iter().filter(|(_, number)| **number > limit) {
        match known.iter().find(|(known, _)| known == name) {
            None => wrong.push(format!("{name}: {number}, and {limit} is the limit")),
            Some((_, most)) if number > most => wrong.push(format!("{name}: {number}, it has grown from {most}, and {limit} is the limit")),
            Some(_) => {}
        }
    }
    for (name, _) in known {
        let number = found.get(*name).copied().unwrap_or(0);
        if number <= limit {
            wrong.push(format!("{name}: {number} is within the limit of {limit}: remove it from the list in xtask/tests/house/known.rs"));
        }
        if known.iter().filter(|(other, _)| other == name).count() > 1 {
            wrong.push(format!("{name}: it stands twice in xtask/tests/house/known.rs"));
        }
    }
    wrong
}

#[test]
fn over_the_limit_grown_and_recovered_are_caught() {
    let found = BTreeMap::from([("new", 12), ("grown", 12), ("well", 9)].map(|(name, number)| (name.to_owned(), number)));
    let wrong = complaints(&found, 10, &[("grown", 11), ("well", 12), ("gone", 30), ("gone", 31)]);
    assert_eq!(wrong.len(), 7, "{wrong:#?}");
    for (at, word) in ["it has grown from 11", "new: 12, and", "well: 9 is within", "gone: 0 is within"].iter().enumerate() {
        assert!(wrong[at].contains(word), "{wrong:#?}");
    }
}

#[test]
fn what_is_known_and_did_not_grow_passes() {
    let found = BTreeMap::from([("same", 12), ("less", 11), ("at the limit", 10)].map(|(name, number)| (name.to_owned(), number)));
    assert_eq!(complaints(&found, 10, &[("same", 12), ("less", 14)]), Vec::<String>::new());
}
