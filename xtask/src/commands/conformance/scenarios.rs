//! What is recorded: the scenarios of `xtask/conformance/scenarios.toml`, or those of another file. A scenario is a command line of make and
//! what is there before it.

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

const TODAY: &str = include_str!("../../../conformance/scenarios.toml");

/// One scenario.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Make's goals and variables, as they are typed; a word with a space in it stands in `variables`.
    pub line: String,
    /// More variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// What distinguishes it from another one with the same line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub after: String,
    /// Shell commands that change the checkout before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    /// Goals and variables that are made before, by the same program, and not recorded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub first: String,
    /// Words for the stand-ins: what docker, the cache or a cloud has.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Calls that fail: a regular expression.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fail: String,
    /// Whether its purpose is what it prints.
    #[serde(default, skip_serializing_if = "is_false")]
    pub prints: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    /// Scenarios that are only a line.
    #[serde(default)]
    lines: Vec<String>,
    /// The same, whose purpose is what they print.
    #[serde(default)]
    printing: Vec<String>,
    #[serde(default)]
    scenario: Vec<Scenario>,
}

impl Scenario {
    /// The name of its recording: the line, with letters that a file's name may have.
    pub fn name(&self) -> String {
        let mut name: String = self.line.split_whitespace().collect::<Vec<_>>().join("_");
        for (variable, value) in &self.variables {
            name.push_str(&format!("_{variable}-{}", if value.len() > 20 { "long" } else { value }));
        }
        if !self.after.is_empty() {
            // Rules about a second run look for `_after`.
            let word = if self.first.is_empty() { "with" } else { "after" };
            name.push_str(&format!("_{word}-{}", self.after));
        }
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect();
        if name.is_empty() { "no-goal".to_owned() } else { name }
    }

    /// The words after `make`.
    pub fn words(&self) -> Vec<String> {
        let variables = self.variables.iter().map(|(name, value)| format!("{name}={value}"));
        self.line.split_whitespace().map(str::to_owned).chain(variables).collect()
    }
}

/// The scenarios of the file `other`, or those of today's tree, by name.
pub fn read(other: Option<&Path>) -> Result<BTreeMap<String, Scenario>> {
    let Some(path) = other else { return parse(TODAY).context("xtask/conformance/scenarios.toml is not valid") };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the scenarios `{}`", path.display()))?;
    parse(&text).with_context(|| format!("`{}` is no list of scenarios", path.display()))
}

fn parse(text: &str) -> Result<BTreeMap<String, Scenario>> {
    let list: List = toml::from_str(text)?;
    let of_line = |prints| move |line| Scenario { line, prints, ..Scenario::default() };
    let lines = list.lines.into_iter().map(of_line(false)).chain(list.printing.into_iter().map(of_line(true)));
    let (mut found, mut twice) = (BTreeMap::new(), BTreeSet::new());
    for scenario in lines.chain(list.scenario) {
        if let Some(other) = found.insert(scenario.name(), scenario) {
            twice.insert(other.name());
        }
    }
    if let Some(name) = twice.first() {
        bail!("two scenarios are named {name}: give one of them another `after`");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_todays_tree_is_whole() {
        let all = read(None).expect("a valid list");
        assert!(all.len() >= 150, "{}", all.len());
        for scenario in all.values() {
            regex::Regex::new(&scenario.fail).expect("a regular expression");
        }
        let twice = parse("lines = ['live', 'live']").expect_err("refused").to_string();
        assert!(twice.contains("two scenarios are named live"), "{twice}");
        assert_eq!(
            parse("lines = ['pkg/grub HV=xen', '']").expect("valid").into_keys().collect::<Vec<_>>(),
            ["no-goal", "pkg-grub_HV-xen"]
        );
    }
}
