//! `conformance --eve DIR`: runs every recorded scenario of the original Makefile with xtask under the same fake tools. Prints a table:
//! which are equal, which differ for a reason in docs/DEVIATIONS.md, and which differ without one.

use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{Tool, ToolNeed, oracle::Oracle};
use common::error::usage;
use regex::Regex;
use serde::{Deserialize, Deserializer};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

const EXPLAINED: &str = include_str!("../../conformance/explained.toml");

/// The tree and the recordings to compare.
#[derive(clap::Args)]
pub struct Conformance {
    /// a git repository of lf-edge/eve, bare or not; it is only read
    #[arg(long, value_name = "DIR")]
    eve: PathBuf,
    /// the folder with oracle.py and the recordings
    #[arg(long, value_name = "DIR")]
    recordings: PathBuf,
    /// folder for the checkout [default: dist/conformance]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// run only scenarios whose names match
    #[arg(long, value_name = "REGEX", default_value = ".")]
    only: String,
    /// also show explained differences
    #[arg(long)]
    all: bool,
}

/// A reason to differ.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// The row of docs/DEVIATIONS.md.
    row: u32,
    /// Matches names of scenarios.
    #[serde(deserialize_with = "read_regex")]
    scenario: Regex,
    /// Matches differences: lines `missing: …`, `extra: …`, or `rc: …`.
    #[serde(deserialize_with = "read_regex")]
    difference: Regex,
}

fn read_regex<'de, D: Deserializer<'de>>(text: D) -> Result<Regex, D::Error> {
    Regex::new(&String::deserialize(text)?).map_err(serde::de::Error::custom)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    explained: Vec<Rule>,
}

fn read_rules() -> Result<Vec<Rule>> {
    let rules: Rules = toml::from_str(EXPLAINED).context("xtask/conformance/explained.toml is not valid")?;
    Ok(rules.explained)
}

/// The fields of a recording that we need.
#[derive(Deserialize)]
struct Recording {
    goal: Option<String>,
    #[serde(default)]
    vars: BTreeMap<String, String>,
    rc: serde_json::Value,
    #[serde(default)]
    stdout_tail: String,
    #[serde(default)]
    stderr_tail: String,
    #[serde(default)]
    tree_changes: Vec<String>,
    /// Shell commands that prepared the checkout.
    #[serde(default)]
    setup: Vec<String>,
}

impl Recording {
    /// Whether the original made this change of the checkout too, by its preparation or as the purpose of its target.
    fn expects(&self, change: &str) -> bool {
        let path = change.get(3..).unwrap_or_default();
        let folder = path.split('/').next().unwrap_or_default();
        let is_product = self.goal.as_deref().is_some_and(|goal| goal.starts_with("proto"));
        let is_set_up =
            self.setup.iter().any(|line| line.split([' ', ';', '&']).any(|word| word == path || word.trim_end_matches('/') == folder));
        self.tree_changes.iter().any(|known| known == change) && (is_product || is_set_up)
    }
}

fn read(path: &Path) -> Result<Recording> {
    let text = std::fs::read(path).with_context(|| format!("cannot read the recording `{}`", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("`{}` is no recording", path.display()))
}

/// `conformance`.
pub fn run(ctx: &Ctx, asked: Conformance) -> Result<()> {
    let recordings = std::path::absolute(&asked.recordings)?;
    let work = asked.work.as_ref().map(std::path::absolute).transpose()?.unwrap_or_else(|| ctx.dist().conformance());
    let only = Regex::new(&asked.only).map_err(|error| usage(error.to_string()))?;
    let chosen = scenarios(&recordings.join("eve-2023"))?.into_iter().filter(|(name, _)| only.is_match(name));
    if ctx.globals.dry_run {
        chosen.for_each(|(name, _)| println!("run {name}"));
        return Ok(());
    }
    super::doctor::ensure(ctx, &[ToolNeed::new(Tool::Python, "to run the harness")])?;
    let oracle = Oracle::new(&ctx.tools, &recordings, &work)?;
    oracle.prepare(&std::path::absolute(&asked.eve)?)?;
    let rules = read_rules()?;
    let mut counts = [0; 3];
    for (name, recording) in chosen {
        let differences = one(&oracle, &name, &recording, &work)?;
        let (rows, unexplained) = explain(&rules, &name, &differences);
        let verdict = match (differences.is_empty(), unexplained.is_empty()) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 2,
        };
        counts[verdict] += 1;
        let rows: Vec<String> = rows.iter().map(|row| format!("row {row}")).collect();
        println!("{name:<44} {:<12} {}", ["equal", "explained", "UNEXPLAINED"][verdict], rows.join(", "));
        for line in if asked.all { &differences } else { &unexplained } {
            println!("    {line}");
        }
    }
    if counts == [0; 3] {
        return Err(usage(format!("no scenario in `{}` matches --only", recordings.display())));
    }
    println!("{} equal, {} explained by docs/DEVIATIONS.md, {} unexplained", counts[0], counts[1], counts[2]);
    if counts[2] > 0 {
        bail!("{} scenarios differ from the recordings, and docs/DEVIATIONS.md does not say why", counts[2]);
    }
    Ok(())
}

/// The recordings by name.
fn scenarios(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("there are no recordings in `{}`", folder.display()))? {
        let path = entry?.path();
        if let (Some("json"), Some(name)) = (path.extension().and_then(|e| e.to_str()), path.file_stem().and_then(|n| n.to_str())) {
            found.insert(name.to_owned(), path.clone());
        }
    }
    Ok(found)
}

/// Runs one scenario and returns its differences.
fn one(oracle: &Oracle, name: &str, recording: &Path, work: &Path) -> Result<Vec<String>> {
    let wanted = read(recording)?;
    let us = std::env::current_exe().context("this program has no path")?.display().to_string();
    let make = format!("{us} --root {} make", oracle.checkout().display());
    let mut words = vec![us, "--root".to_owned(), "{ROOT}".to_owned(), "make".to_owned()];
    words.extend(wanted.goal.iter().flat_map(|goal| goal.split_whitespace()).map(str::to_owned));
    // The recordings write `$RUN` for the harness's own folder.
    let place = |value: &str| value.replace("$RUN", &work.join("run").display().to_string());
    words.extend(wanted.vars.iter().map(|(name, value)| format!("{name}={}", place(value))));
    let out = work.join("out").join(format!("{name}.json"));
    std::fs::create_dir_all(work.join("out"))?;
    oracle.exec(name, &make, &words, &out)?;
    let made = read(&out)?;
    let mut differences = oracle.differences(recording, &out)?;
    let ended_well = |recording: &Recording| recording.rc == 0;
    if ended_well(&wanted) != ended_well(&made) {
        let why = made.stderr_tail.lines().find(|line| line.starts_with("error")).unwrap_or_default();
        differences.push(format!("rc: wanted {}, got {} {why}", wanted.rc, made.rc));
    }
    // Some recordings do not contain the output.
    if !wanted.stdout_tail.is_empty()
        && wanted.goal.as_deref().is_some_and(only_prints)
        && wanted.stdout_tail.trim() != made.stdout_tail.trim()
    {
        differences.push(format!("told: wanted {:?}, got {:?}", wanted.stdout_tail.trim(), made.stdout_tail.trim()));
    }
    // Tracked files may not change, even where the original changed them.
    let changed = made.tree_changes.iter().filter(|change| !wanted.expects(change));
    differences.extend(changed.map(|change| format!("changed: {change}")));
    Ok(differences)
}

/// Targets that only print something.
fn only_prints(goal: &str) -> bool {
    ["version", "currentversion", "sbom_info", "collected_sources_info"].contains(&goal) || goal.ends_with("-show-tag")
}

/// The rows that explain differences, and the differences that no row explains.
fn explain(rules: &[Rule], name: &str, differences: &[String]) -> (Vec<u32>, Vec<String>) {
    let (mut rows, mut unexplained) = (Vec::new(), Vec::new());
    for difference in differences {
        match rules.iter().find(|rule| rule.scenario.is_match(name) && rule.difference.is_match(difference)) {
            Some(rule) if rows.contains(&rule.row) => {}
            Some(rule) => rows.push(rule.row),
            None => unexplained.push(difference.clone()),
        }
    }
    rows.sort_unstable();
    (rows, unexplained)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_prepared_files_may_change() {
        let text = r#"{"goal": "run", "rc": 0, "setup": ["echo x >> pkg/grub/Dockerfile", "mkdir other && cp conf/server other/"],
            "tree_changes": [" M pkg/grub/Dockerfile", "?? other/server", " M conf/grub.cfg"]}"#;
        let recording: Recording = serde_json::from_str(text).expect("a recording");
        for (change, expected) in
            [(" M pkg/grub/Dockerfile", true), ("?? other/server", true), (" M conf/grub.cfg", false), (" M pkg/grub/build.yml", false)]
        {
            assert_eq!(recording.expects(change), expected, "{change}");
        }
    }

    #[test]
    fn every_reason_is_a_row_of_the_page() {
        let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/DEVIATIONS.md")).expect("the page");
        for rule in read_rules().expect("valid rules") {
            assert!(page.contains(&format!("\n| {} |", rule.row)), "docs/DEVIATIONS.md has no row {}", rule.row);
        }
    }

    #[test]
    fn a_difference_without_a_reason_stays() {
        let rules = [Rule { row: 7, scenario: Regex::new("^live").expect("regex"), difference: Regex::new("uefi").expect("regex") }];
        let differences = ["missing: uefi".to_owned(), "extra: docker".to_owned()];
        assert_eq!(explain(&rules, "live-raw", &differences), (vec![7], vec!["extra: docker".to_owned()]));
        assert_eq!(explain(&rules, "eve", &differences).1.len(), 2);
    }
}
