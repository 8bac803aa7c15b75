//! `conformance --eve DIR`: plays recorded scenarios of the original Makefile with xtask under the same stand-ins for tools. Prints a table:
//! which are equal, which differ for a reason in docs/DEVIATIONS.md, and which differ without one. It also checks the reasons: a program
//! that does nothing may pass only where there is nothing to do. `--record` plays them with the checkout's own make, and keeps that.

mod calls;
mod recording;
mod rules;
mod scenarios;
mod scene;

use self::{
    recording::Recording,
    rules::Rules,
    scenarios::Scenario,
    scene::{Player, Scene},
};
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
    /// the folder of the recordings, or that of oracle.py and its recordings [default: recordings in the folder of --work]
    #[arg(long, value_name = "DIR")]
    recordings: Option<PathBuf>,
    /// record what the tree's own make does, and say what differs from older recordings
    #[arg(long, conflicts_with_all = ["again", "all"])]
    record: bool,
    /// the commit to record [default: HEAD of --eve]
    #[arg(long, value_name = "COMMIT", requires = "record")]
    commit: Option<String>,
    /// the list of scenarios to record [default: that of today's lf-edge/eve]
    #[arg(long, value_name = "FILE", requires = "record")]
    scenarios: Option<PathBuf>,
    /// folder for the checkout [default: dist/conformance]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// only scenarios whose names match
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
    let work = asked.work.as_ref().map(std::path::absolute).transpose()?.unwrap_or_else(|| ctx.dist().conformance());
    let recordings = asked.recordings.as_ref().map(std::path::absolute).transpose()?.unwrap_or_else(|| work.join("recordings"));
    let only = Regex::new(&asked.only).map_err(|error| usage(error.to_string()))?;
    if asked.record {
        let all = scenarios::read(asked.scenarios.as_deref())?;
        return record(ctx, &asked, &work, &recordings, all.into_iter().filter(|(name, _)| only.is_match(name)).collect());
    }
    let is_harness = recordings.join("oracle.py").is_file();
    let folder = if is_harness { recordings.join("eve-2023") } else { recordings.clone() };
    let chosen = recorded(&folder)?.into_iter().filter(|(name, _)| only.is_match(name));
    if ctx.globals.dry_run {
        chosen.for_each(|(name, _)| println!("run {name}"));
        return Ok(());
    }
    let rules = Rules::read()?;
    let mut counts = Counts::default();
    let eve = std::path::absolute(&asked.eve)?;
    let mut stage = if is_harness { Stage::harness(ctx, &recordings, &work, &eve)? } else { Stage::own(ctx, &work, &eve)? };
    std::fs::create_dir_all(work.join("out")).with_context(|| format!("cannot make the folder `{}`", work.display()))?;
    for (name, path) in chosen {
        let wanted = Recording::read(&path)?;
        let out = work.join("out").join(format!("{name}.json"));
        if !asked.again {
            stage.play(&name, &wanted, &work, &out)?;
        }
        counts.take(&rules, &name, &wanted, &Recording::read(&out)?, asked.all);
    }
    counts.tell(&recordings)
}

/// `conformance --record`.
fn record(ctx: &Ctx, asked: &Conformance, work: &Path, recordings: &Path, chosen: BTreeMap<String, Scenario>) -> Result<()> {
    if chosen.is_empty() {
        return Err(usage("no scenario matches --only"));
    }
    if ctx.globals.dry_run {
        chosen.values().for_each(|scenario| println!("make {}", scenario.words().join(" ")));
        return Ok(());
    }
    let _make = ctx.tools.helper("make").context("recording runs the tree's own Makefile")?;
    let scene = Scene::new(ctx, work)?;
    let commit = scene.prepare(&std::path::absolute(&asked.eve)?, asked.commit.as_deref())?;
    std::fs::create_dir_all(recordings).with_context(|| format!("cannot make the folder `{}`", recordings.display()))?;
    let (mut new, mut changed) = (0, 0);
    for (name, scenario) in &chosen {
        let made = scene.play(name, &commit, scenario, Player::Make)?;
        let path = recordings.join(format!("{name}.json"));
        let older = path.is_file().then(|| Recording::read(&path)).transpose()?;
        let changes = older.map(|older| made.changes_since(&older));
        let word = match &changes {
            None => "new",
            Some(lines) if lines.is_empty() => "as before",
            Some(_) => "CHANGED",
        };
        new += usize::from(changes.is_none());
        changed += usize::from(word == "CHANGED");
        println!("{name:<44} {word:<10} status {}, {} calls", made.rc, made.trace.len());
        changes.unwrap_or_default().iter().for_each(|line| println!("    {line}"));
        made.write(&path)?;
    }
    println!("{} recorded from {}: {new} new, {changed} changed", chosen.len(), commit.get(..12).unwrap_or(&commit));
    println!("now compare: cargo xtask conformance --eve {} --recordings {}", asked.eve.display(), recordings.display());
    Ok(())
}

/// Where recorded scenarios are played again.
enum Stage {
    Harness(Oracle),
    Own { scene: Scene, eve: PathBuf, commit: Option<String> },
}

impl Stage {
    fn harness(ctx: &Ctx, recordings: &Path, work: &Path, eve: &Path) -> Result<Self> {
        super::doctor::ensure(ctx, &[ToolNeed::new(Tool::Python, "to run the harness")])?;
        let oracle = Oracle::new(&ctx.tools, recordings, work)?;
        oracle.prepare(eve)?;
        Ok(Self::Harness(oracle))
    }

    fn own(ctx: &Ctx, work: &Path, eve: &Path) -> Result<Self> {
        Ok(Self::Own { scene: Scene::new(ctx, work)?, eve: eve.to_owned(), commit: None })
    }

    /// Plays one scenario by this program and writes it to `out`.
    fn play(&mut self, name: &str, wanted: &Recording, work: &Path, out: &Path) -> Result<()> {
        match self {
            Self::Harness(oracle) => run_scenario(oracle, name, wanted, work, out),
            Self::Own { scene, eve, commit } => {
                let scenario = wanted.scenario.as_ref().with_context(|| format!("the recording {name} does not say how to play it"))?;
                if commit.as_deref() != Some(&wanted.commit) {
                    *commit = Some(scene.prepare(eve, Some(&wanted.commit))?);
                }
                scene.play(name, &wanted.commit, scenario, Player::Us)?.write(out)
            }
        }
    }
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
fn recorded(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
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
    oracle.exec(name, &make, &words, out)
}
