//! `mutants`: changes one operator, constant or call of the code at a time, and asks whether a test notices. cargo-mutants does it; this
//! verb chooses what a change since a revision touched, and a sample of that.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::{Exit, Failure, Tool, cargo::Cargo, git::Git};
use common::error::usage;

/// What to mutate.
#[derive(clap::Args)]
pub struct Mutants {
    /// mutate only what changed since this revision
    #[arg(long, value_name = "REVISION", default_value = "HEAD~1")]
    since: String,
    /// try about so many mutants, evenly spread
    #[arg(long, value_name = "N", default_value_t = 20)]
    sample: usize,
}

/// `mutants`.
pub fn run(ctx: &Ctx, Mutants { since, sample }: Mutants) -> Result<()> {
    if sample == 0 {
        return Err(usage("--sample 0 tries nothing"));
    }
    let cargo = Cargo::new(&ctx.tools, &ctx.root)?;
    if !cargo.has("mutants") {
        return Err(usage("cargo-mutants is not installed\nhint: cargo install --locked cargo-mutants"));
    }
    let git = Git::new(ctx.tools.find(Tool::Git)?, ctx.tools.environment(), &ctx.environment, ctx.root.clone());
    let folder = tempfile::tempdir().context("cannot make a folder for the change")?;
    let diff = folder.path().join("change.diff");
    let text = git.look(["diff", "--no-color", "--no-ext-diff", &since, "--", "*.rs"]);
    std::fs::write(&diff, text.with_context(|| format!("cannot compare with {since}"))?).context("cannot write the change")?;
    let diff = diff.to_string_lossy().into_owned();
    let (lines, ended) = cargo.lines(&["mutants", "--list", "--in-diff", &diff]);
    ended.context("cannot list the mutants")?;
    let count = lines.iter().filter(|line| is_mutant(line)).count();
    if count == 0 {
        println!("nothing to mutate in the change since {since}");
        return Ok(());
    }
    let shards = count.div_ceil(sample);
    println!("{count} mutants in the change since {since}; trying 1 of {shards}");
    let shard = format!("0/{shards}");
    let words = ["mutants", "--in-diff", &diff, "--shard", &shard, "--sharding", "round-robin", "--output"];
    let output = ctx.root.join("target/mutants").to_string_lossy().into_owned();
    if ctx.globals.dry_run {
        println!("cargo {} {output}", words.join(" "));
        return Ok(());
    }
    // cargo-mutants ends with 2 if a mutant survived, and with others if it could not try them.
    let survived = |error: &anyhow::Error| error.downcast_ref::<Failure>().is_some_and(|failure| failure.exit == Exit::Status(2));
    cargo.run(&[&words[..], &[&output]].concat(), &[]).map_err(|error| match survived(&error) {
        true => error.context("a mutant survived: no test notices the change that is named above"),
        false => error.context("cargo-mutants could not try the mutants"),
    })
}

/// Whether a line of `cargo mutants --list` names one: `FILE:LINE:COLUMN: what it does`.
fn is_mutant(line: &str) -> bool {
    let mut parts = line.splitn(4, ':');
    let (file, line, column) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let number = |part: Option<&str>| part.is_some_and(|part| part.parse::<u32>().is_ok());
    file.ends_with(".rs") && number(line) && number(column) && parts.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_name_a_mutant_are_counted() {
        assert!(is_mutant("tools/oci/src/digest.rs:12:9: replace is_whole -> bool with true"));
        assert!(!is_mutant("INFO No mutants to filter"));
        assert!(!is_mutant("warning: a.rs: b"));
    }
}
