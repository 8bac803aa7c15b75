//! `conformance --eve DIR`: runs every recorded scenario of the original Makefile with xtask under the same fake tools. Prints a table:
//! which are equal, which differ for a reason in docs/DEVIATIONS.md, and which differ without one. It also checks the reasons: a program
//! that does nothing may pass only where there is nothing to do.

mod recording;
mod rules;

use self::{recording::Recording, rules::Rules};
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{Tool, ToolNeed, oracle::Oracle};
use common::error::usage;
use regex::Regex;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

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
    /// also show explained differences, and calls that could be left out without a difference that no row explains
    #[arg(long)]
    all: bool,
    /// compare the runs that the folder has from the last time; run nothing
    #[arg(long)]
    again: bool,
}

/// How many scenarios came out in which way.
#[derive(Default)]
struct Counts {
    equal: usize,
    explained: usize,
    unexplained: usize,
    /// Working calls that were made, and those of them that nobody would miss.
    calls: usize,
    unnoticed: usize,
    /// Scenarios with something to do that a program passes which does nothing.
    idle: Vec<String>,
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
    let rules = Rules::read()?;
    super::doctor::ensure(ctx, &[ToolNeed::new(Tool::Python, "to run the harness")])?;
    let oracle = Oracle::new(&ctx.tools, &recordings, &work)?;
    oracle.prepare(&std::path::absolute(&asked.eve)?)?;
    let mut counts = Counts::default();
    for (name, path) in chosen {
        let wanted = Recording::read(&path)?;
        let out = work.join("out").join(format!("{name}.json"));
        if !asked.again {
            run_scenario(&oracle, &name, &wanted, &work, &out)?;
        }
        counts.take(&rules, &name, &wanted, &Recording::read(&out)?, asked.all);
    }
    counts.tell(&recordings)
}

impl Counts {
    /// Judges one run and prints its line.
    fn take(&mut self, rules: &Rules, name: &str, wanted: &Recording, made: &Recording, all: bool) {
        let verdict = rules.judge(name, wanted, made);
        let (word, count) = match (verdict.differences.is_empty(), verdict.unexplained.is_empty()) {
            (true, _) => ("equal", &mut self.equal),
            (false, true) => ("explained", &mut self.explained),
            (false, false) => ("UNEXPLAINED", &mut self.unexplained),
        };
        *count += 1;
        let rows: Vec<String> = verdict.rows.iter().map(|row| format!("row {row}")).collect();
        println!("{name:<44} {word:<12} {}", rows.join(", "));
        for line in if all { &verdict.differences } else { &verdict.unexplained } {
            println!("    {line}");
        }
        if all {
            let unnoticed = rules.unnoticed(name, wanted, made);
            self.calls += made.with_one_call_less().count();
            self.unnoticed += unnoticed.len();
            unnoticed.iter().for_each(|call| println!("    could be left out: {call}"));
        }
        if rules.pass_nothing(name, wanted) {
            println!("    a program that does nothing passes this");
            self.idle.push(name.to_owned());
        }
    }

    /// Prints the sums; an error if a scenario is unexplained or a reason explains everything.
    fn tell(&self, recordings: &Path) -> Result<()> {
        if self.equal + self.explained + self.unexplained == 0 {
            return Err(usage(format!("no scenario in `{}` matches --only", recordings.display())));
        }
        println!("{} equal, {} explained by docs/DEVIATIONS.md, {} unexplained", self.equal, self.explained, self.unexplained);
        if self.calls > 0 {
            println!("{} of {} calls could be left out without an unexplained difference", self.unnoticed, self.calls);
        }
        if self.unexplained > 0 {
            bail!("{} scenarios differ from the recordings, and docs/DEVIATIONS.md does not say why", self.unexplained);
        }
        if !self.idle.is_empty() {
            let names = self.idle.join(", ");
            bail!("a program that does nothing passes {names}: a rule in xtask/conformance/explained.toml is too wide");
        }
        Ok(())
    }
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

/// Runs one scenario and records it in `out`.
fn run_scenario(oracle: &Oracle, name: &str, wanted: &Recording, work: &Path, out: &Path) -> Result<()> {
    let us = std::env::current_exe().context("this program has no path")?.display().to_string();
    let make = format!("{us} --root {} make", oracle.checkout().display());
    let mut words = vec![us, "--root".to_owned(), "{ROOT}".to_owned(), "make".to_owned()];
    words.extend(wanted.goal.iter().flat_map(|goal| goal.split_whitespace()).map(str::to_owned));
    // The recordings write `$RUN` for the harness's own folder.
    let place = |value: &str| value.replace("$RUN", &work.join("run").display().to_string());
    words.extend(wanted.vars.iter().map(|(name, value)| format!("{name}={}", place(value))));
    std::fs::create_dir_all(work.join("out"))?;
    oracle.exec(name, &make, &words, out)
}
