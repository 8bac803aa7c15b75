//! Runs the jobs of a plan one after another, and prints a table of their results.

use super::jobs::{Command, Job};
use anyhow::{Result, bail};
use checkout::context::Ctx;
use child::{cargo::Cargo, itself::Itself};
use common::error::usage;
use knobs::{Origin, Source, find};
use std::time::{Duration, Instant};

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    NotRun,
}

/// The values of knobs that were typed: the commands of the jobs get them in their environment. Refuses those that the jobs set themselves.
pub fn settings(origins: &[Origin]) -> Result<Vec<(&str, &str)>> {
    let mut set = Vec::new();
    for Origin { name, value, .. } in origins.iter().filter(|origin| origin.source == Source::Command) {
        if ["HV", "ZARCH"].contains(&name.as_str()) {
            return Err(usage(format!(
                "each job sets {name} itself, so `ci` takes no {name}\nhint: cargo xtask ci image-amd64-xen is the job of one image; cargo xtask ci -n lists them"
            )));
        }
        if value == "(hidden)" {
            return Err(usage(format!(
                "{name} contains a password, and `ci` passes only others on\nhint: {name}=… before `cargo`, in the environment"
            )));
        }
        set.push((name.as_str(), value.as_str()));
    }
    Ok(set)
}

/// `environment` with the values that were `set` instead of those that a knob has by any of its names.
fn variables<'v>(environment: impl Iterator<Item = (&'v str, &'v str)>, set: &[(&'v str, &'v str)]) -> Vec<(&'v str, &'v str)> {
    let is_set = |name: &str| find(name).is_some_and(|knob| set.iter().any(|(set, _)| *set == knob.name));
    environment.filter(|(name, _)| !is_set(name)).chain(set.iter().copied()).collect()
}

/// Runs all jobs, or up to the first failure, with the values of knobs that were `set`. Fails if one fails.
pub fn run(ctx: &Ctx, jobs: &[Job], set: &[(&str, &str)], fail_fast: bool) -> Result<()> {
    let itself = Itself::new(&ctx.tools, &ctx.root)?;
    let mut results = Vec::new();
    for job in jobs {
        let stop = fail_fast && results.iter().any(|(_, outcome, _)| *outcome == Outcome::Failed);
        if stop {
            results.push((job, Outcome::NotRun, Duration::ZERO));
            continue;
        }
        println!("\n== {}: {}", job.name, job.why);
        let begun = Instant::now();
        let done = job.commands.iter().try_for_each(|command| {
            println!("$ {command}");
            start(ctx, &itself, set, command)
        });
        if let Err(error) = &done {
            eprint!("{}", common::error::render(error));
        }
        results.push((job, if done.is_ok() { Outcome::Passed } else { Outcome::Failed }, begun.elapsed()));
    }
    print!("\n{}", table(&results));
    let failed: Vec<&str> =
        results.iter().filter(|(_, outcome, _)| *outcome == Outcome::Failed).map(|(job, ..)| job.name.as_str()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    bail!("{} of {} jobs failed: {}\nhint: one job alone: cargo xtask ci {}", failed.len(), results.len(), failed.join(", "), failed[0])
}

fn start(ctx: &Ctx, itself: &Itself, set: &[(&str, &str)], command: &Command) -> Result<()> {
    match command {
        Command::Xtask(words) => {
            let mut all = vec!["--engine".to_owned(), ctx.engine.to_string()];
            all.extend(ctx.globals.offline.then(|| "--offline".to_owned()));
            all.extend(words.iter().cloned());
            itself.run(&all, variables(ctx.environment.all(), set))
        }
        Command::Cargo(words) => {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            Cargo::new(&ctx.tools, &ctx.root)?.run(&words, &[])
        }
    }
}

fn table(results: &[(&Job, Outcome, Duration)]) -> String {
    let width = results.iter().map(|(job, ..)| job.name.len()).max().unwrap_or_default().max(3);
    let mut text = format!("{:<width$}  result    time\n", "job");
    for (job, outcome, time) in results {
        let (word, time) = match outcome {
            Outcome::Passed => ("passed", format!("{:>5.1} s", time.as_secs_f64())),
            Outcome::Failed => ("FAILED", format!("{:>5.1} s", time.as_secs_f64())),
            Outcome::NotRun => ("not run", "–".to_owned()),
        };
        text.push_str(&format!("{:<width$}  {word:<7}  {time:>7}\n", job.name));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn typed_knobs_reach_the_jobs() {
        let typed = |name: &str, value: &str| Origin { name: name.to_owned(), value: value.to_owned(), source: Source::Command };
        let other = Origin { source: Source::File, ..typed("CACHE_MODE", "read") };
        let origins = [typed("STORE", "off"), typed("CACHE", ""), other];
        let set = settings(&origins).unwrap();
        assert_eq!(set, [("STORE", "off"), ("CACHE", "")]);
        let environment = [("HOME", "/h"), ("STORE", "/s"), ("CACHE", "c")];
        assert_eq!(variables(environment.into_iter(), &set), [("HOME", "/h"), ("STORE", "off"), ("CACHE", "")]);
        for (name, value, said) in [("ZARCH", "arm64", "each job sets ZARCH itself"), ("CACHE", "(hidden)", "CACHE contains a password")] {
            assert!(settings(&[typed(name, value)]).unwrap_err().to_string().contains(said));
        }
    }

    #[test]
    fn the_table_has_a_row_for_each_job() {
        let job = |name: &str| Job { name: name.to_owned(), why: String::new(), commands: Vec::new(), arch: None };
        let (a, b, c) = (job("lint"), job("image-amd64-kvm"), job("boots"));
        let rows = [
            (&a, Outcome::Passed, Duration::from_millis(1234)),
            (&b, Outcome::Failed, Duration::from_secs(61)),
            (&c, Outcome::NotRun, Duration::ZERO),
        ];
        let text = "job              result    time\n\
                    lint             passed     1.2 s\n\
                    image-amd64-kvm  FAILED    61.0 s\n\
                    boots            not run        –\n";
        assert_eq!(table(&rows), text);
    }
}
