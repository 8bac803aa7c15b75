//! `ci`: checks what a change touches, as the project's CI does, on one machine. `facts` reads the tree, `touched` says what the changed
//! files are, `jobs` plans from both without reading anything, `execute` runs the plan and ends with a table.

mod execute;
mod facts;
mod jobs;
#[cfg(test)]
mod tests;
mod touched;

use anyhow::Result;
use checkout::context::Ctx;
use common::error::{did_you_mean, usage};
use jobs::Job;

/// What to check.
#[derive(clap::Args)]
pub struct Ci {
    /// only what differs from the commit where this branch left REV, uncommitted changes included [default: everything]
    #[arg(long, value_name = "REV")]
    since: Option<String>,
    /// print the jobs as the JSON of a matrix for GitHub Actions, in one line
    #[arg(long)]
    matrix: bool,
    /// stop after the first job that fails
    #[arg(long)]
    fail_fast: bool,
    /// run only these jobs of the plan
    #[arg(value_name = "JOB", num_args = 0..)]
    only: Vec<String>,
}

/// `ci`.
pub fn run(ctx: &Ctx, Ci { since, matrix, fail_fast, only }: Ci) -> Result<()> {
    let set = execute::settings(&ctx.knobs.origins)?;
    let facts = facts::read(ctx)?;
    let files = since.as_deref().map(|since| facts::changed_files(ctx, since)).transpose()?;
    let touched = touched::of(&facts, files.as_deref());
    let mut jobs = jobs::plan(&facts, &touched);
    if !only.is_empty() {
        jobs = choose(jobs, &only, since.is_some())?;
    }
    if matrix {
        println!("{}", jobs::matrix(&jobs));
        return Ok(());
    }
    println!("{}", touched.summary(since.as_deref(), files.as_deref()));
    if !set.is_empty() {
        println!("with {}", set.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "));
    }
    if ctx.globals.dry_run || jobs.is_empty() {
        print!("{}", jobs::text(&jobs));
        return Ok(());
    }
    execute::run(ctx, &jobs, &set, fail_fast)
}

/// The jobs with these names. A name of the whole plan that this difference does not need has nothing to do.
fn choose(jobs: Vec<Job>, only: &[String], is_part: bool) -> Result<Vec<Job>> {
    if let Some(name) = only.iter().find(|name| !jobs.iter().any(|job| job.name == **name)) {
        let near = did_you_mean(name, jobs.iter().map(|job| job.name.as_str()));
        let names = || jobs.iter().map(|job| job.name.as_str()).collect::<Vec<_>>().join(", ");
        let hint = near.map_or_else(|| format!("jobs are {}", names()), |near| format!("did you mean {near}?"));
        let why = if is_part { "; the difference may not need it" } else { "" };
        return Err(usage(format!("there is no job `{name}` in this plan{why}\nhint: {hint}")));
    }
    Ok(jobs.into_iter().filter(|job| only.contains(&job.name)).collect())
}
