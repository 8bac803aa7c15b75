//! The reasons to differ from a recording (`xtask/conformance/explained.toml`), and what the original prints (`told.toml`).

use super::recording::{Recording, differences};
use anyhow::{Context as _, Result};
use regex::Regex;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

const EXPLAINED: &str = include_str!("../../../conformance/explained.toml");
const TOLD: &str = include_str!("../../../conformance/told.toml");

/// A reason to differ.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// The row of docs/DEVIATIONS.md.
    row: u32,
    /// Matches names of scenarios.
    #[serde(deserialize_with = "read_regex")]
    scenario: Regex,
    /// Matches lines of differences.
    #[serde(deserialize_with = "read_regex")]
    difference: Regex,
    /// What must have been done or said in place of what is not there: each matches a line of the run's evidence. `$1` is the text of the
    /// difference's first group.
    #[serde(default)]
    instead: Vec<String>,
}

fn read_regex<'de, D: Deserializer<'de>>(text: D) -> Result<Regex, D::Error> {
    Regex::new(&String::deserialize(text)?).map_err(serde::de::Error::custom)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Explained {
    explained: Vec<Rule>,
}

/// All rules.
pub struct Rules {
    rules: Vec<Rule>,
    told: BTreeMap<String, Regex>,
}

/// How a run compares with its recording.
#[derive(Debug, Default)]
pub struct Verdict {
    pub differences: Vec<String>,
    /// The rows that explain differences.
    pub rows: Vec<u32>,
    /// The differences that no row explains.
    pub unexplained: Vec<String>,
}

impl Rule {
    /// Whether the rule is the reason for a difference of a run with this evidence. Only what was done or left behind besides the wanted
    /// (`extra`, `stays`) needs nothing in its place.
    fn explains(&self, name: &str, difference: &str, evidence: &[String]) -> bool {
        let Some(groups) = self.difference.captures(difference).filter(|_| self.scenario.is_match(name)) else { return false };
        let is_done = |what: &String| {
            let first = groups.get(1).map_or("", |group| group.as_str());
            let wanted = Regex::new(&what.replace("$1", &regex::escape(first)));
            wanted.is_ok_and(|wanted| evidence.iter().any(|line| wanted.is_match(line)))
        };
        let is_besides = difference.starts_with("extra: ") || difference.starts_with("stays: ");
        (is_besides || !self.instead.is_empty()) && self.instead.iter().all(is_done)
    }
}

impl Rules {
    /// The rules in `xtask/conformance`.
    pub fn read() -> Result<Self> {
        Self::of(EXPLAINED, TOLD)
    }

    fn of(explained: &str, told: &str) -> Result<Self> {
        let Explained { explained: rules } = toml::from_str(explained).context("xtask/conformance/explained.toml is not valid")?;
        let told: BTreeMap<String, String> = toml::from_str(told).context("xtask/conformance/told.toml is not valid")?;
        let whole = |(name, text): (String, String)| anyhow::Ok((name, Regex::new(&format!("(?s)^(?:{text})$"))?));
        Ok(Self { rules, told: told.into_iter().map(whole).collect::<Result<_>>().context("xtask/conformance/told.toml")? })
    }

    /// Compares a run of the scenario `name` with its recording.
    pub fn judge(&self, name: &str, wanted: &Recording, made: &Recording) -> Verdict {
        // A recording of ours has the words itself.
        let told = self.told.get(name).filter(|_| wanted.scenario.is_none());
        let differences = differences(wanted, made, told);
        let evidence = made.evidence();
        let (mut rows, mut unexplained) = (Vec::new(), Vec::new());
        for difference in &differences {
            match self.rules.iter().find(|rule| rule.explains(name, difference, &evidence)) {
                Some(rule) if rows.contains(&rule.row) => {}
                Some(rule) => rows.push(rule.row),
                None => unexplained.push(difference.clone()),
            }
        }
        rows.sort_unstable();
        Verdict { differences, rows, unexplained }
    }

    /// Whether a program that does nothing, and ends with either status, would pass a scenario in which there is something to do.
    pub fn pass_nothing(&self, name: &str, wanted: &Recording) -> bool {
        let passes = |rc: i32| {
            // Whoever fails says so.
            let stderr_tail = if rc == 0 { String::new() } else { "error: nothing was done\n".to_owned() };
            let verdict = self.judge(name, wanted, &Recording { rc: rc.into(), stderr_tail, ..Recording::default() });
            !verdict.differences.is_empty() && verdict.unexplained.is_empty()
        };
        passes(0) || passes(1)
    }

    /// The calls of a run that nobody would miss: without one of them, its differences are explained all the same.
    pub fn unnoticed(&self, name: &str, wanted: &Recording, made: &Recording) -> Vec<String> {
        let is_explained = |less: &Recording| self.judge(name, wanted, less).unexplained.is_empty();
        made.with_one_call_less().filter(|(_, less)| is_explained(less)).map(|(call, _)| call).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn judge(explained: &str, made: &str) -> Verdict {
        let wanted = r#"{"rc": 0, "trace": [{"tool": "docker", "argv": ["run", "a"]}, {"tool": "docker", "argv": ["run", "a"]}]}"#;
        let read = |text| serde_json::from_str::<Recording>(text).expect("a recording");
        Rules::of(explained, "").expect("valid rules").judge("live-raw", &read(wanted), &read(made))
    }

    const ONCE: &str = r#"
        [[explained]]
        row = 7
        scenario = '^live'
        difference = '^missing: (\["docker", .*)'
        instead = ['^call: $1$']"#;

    #[test]
    fn a_missing_call_is_explained_by_what_stands_in_its_place() {
        let once = judge(ONCE, r#"{"rc": 0, "trace": [{"tool": "docker", "argv": ["run", "a"]}]}"#);
        assert_eq!((once.rows.as_slice(), once.unexplained.len()), ([7].as_slice(), 0));
        assert_eq!(judge(ONCE, r#"{"rc": 0}"#).unexplained.len(), 2, "it was never called");
        let nothing_named = ONCE.lines().filter(|line| !line.contains("instead")).collect::<Vec<_>>().join("\n");
        assert_eq!(judge(&nothing_named, r#"{"rc": 0}"#).unexplained.len(), 2, "a rule without `instead` explains no missing call");
        assert_eq!(judge(&ONCE.replace("^live", "^eve"), r#"{"rc": 0}"#).unexplained.len(), 2);
    }

    #[test]
    fn a_call_besides_needs_nothing_in_its_place() {
        let rule = "[[explained]]\nrow = 7\nscenario = '.'\ndifference = '^extra: .\"git\", \"init\"'";
        let made = r#"{"rc": 0, "trace": [{"tool": "docker", "argv": ["run", "a"]}, {"tool": "docker", "argv": ["run", "a"]},
            {"tool": "git", "argv": ["init"]}, {"tool": "git", "argv": ["push"]}]}"#;
        assert_eq!(judge(rule, made).unexplained, [r#"extra: ["git", "push"]"#]);
    }

    /// Some recordings, without the fields that are not compared. The command makes the same check with all recordings.
    const SAMPLE: &str = include_str!("../../../conformance/sample.json");

    #[test]
    fn a_program_that_does_nothing_passes_only_where_there_is_nothing_to_do() {
        let rules = Rules::read().expect("valid rules");
        let sample: BTreeMap<String, Recording> = serde_json::from_str(SAMPLE).expect("recordings");
        assert_eq!(sample.len(), 17);
        for (name, wanted) in &sample {
            assert!(!rules.pass_nothing(name, wanted), "{name}");
            let idle = rules.judge(name, wanted, &Recording { rc: 0.into(), ..Recording::default() });
            let has_nothing_to_do = ["build-tools", "clean"].contains(&name.as_str());
            assert_eq!(idle.differences.is_empty(), has_nothing_to_do, "{name}: {:?}", idle.differences);
        }
    }

    #[test]
    fn every_reason_is_a_row_of_the_page_and_names_what_differs() {
        let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/DEVIATIONS.md")).expect("the page");
        for rule in Rules::read().expect("valid rules").rules {
            let row = rule.row;
            assert!(page.contains(&format!("\n| {row} |")), "docs/DEVIATIONS.md has no row {row}");
            for kind in ["missing", "extra", "absent", "stays", "told", "changed"] {
                let planted = format!("{kind}: [\"nonsense\", \"run\", \"pkg/nonsense\"]");
                assert!(!rule.difference.is_match(&planted), "the rule of row {row} explains any `{kind}: …`");
            }
            assert!(!rule.instead.iter().any(|what| Regex::new(what).expect("a regular expression").is_match("")), "row {row}");
        }
    }
}
