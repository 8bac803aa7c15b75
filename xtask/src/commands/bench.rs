//! `bench`: measures how long our work takes, and the usual tools for the same work in the same run. The result is a ratio: seconds
//! depend on the machine. docs/BENCHMARKS.md lists what is compared and why.

mod builds;
mod compile;
mod compose;
mod dev;
mod disk;
mod eve;
mod gcp;
mod inputs;
mod large;
mod loops;
mod memory;
mod part;
mod qcow2;
mod row;
mod setting;
mod squashfs;
mod tags;
mod team;

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::rivals::Rivals;
use common::{error::did_you_mean, error::usage};
use row::Row;
use setting::Setting;
use std::path::PathBuf;

/// One benchmark.
struct Measurement {
    name: &'static str,
    /// Whether it runs only with `--cold`.
    cold: bool,
    run: fn(&Setting<'_>) -> Result<Vec<Row>>,
}

const fn bench(name: &'static str, run: fn(&Setting<'_>) -> Result<Vec<Row>>) -> Measurement {
    Measurement { name, cold: false, run }
}

/// All benchmarks, in the order of the printed table.
const BENCHES: &[Measurement] = &[
    bench("squashfs", squashfs::run),
    bench("disk", disk::run),
    bench("qcow2", qcow2::run),
    bench("gcp", gcp::run),
    bench("memory", memory::run),
    bench("compose", compose::run),
    bench("tags", tags::run),
    bench("eve", eve::run),
    bench("again", builds::again),
    bench("fresh", builds::fresh),
    bench("loop", loops::run),
    bench("team", team::run),
    bench("plan", large::run),
    Measurement { cold: true, ..bench("dev", dev::run) },
    Measurement { cold: true, ..bench("compile", compile::run) },
];

/// The names of all benchmarks.
pub fn names() -> impl Iterator<Item = &'static str> {
    BENCHES.iter().map(|bench| bench.name)
}

/// The benchmarks to run.
#[derive(clap::Args)]
pub struct Bench {
    /// benchmarks to run [default: all]
    #[arg(value_name = "NAME", num_args = 0..)]
    name: Vec<String>,
    /// also measure what is slow or needs the network: cold downloads, dev, compile
    #[arg(long)]
    cold: bool,
    /// a checkout of lf-edge/eve, to compare plans and tags with its makefile and scripts
    #[arg(long, value_name = "DIR")]
    eve: Option<PathBuf>,
    /// run our side of a comparison; `bench` starts itself with it to measure the process
    #[arg(long, num_args = 1.., hide = true, conflicts_with = "name")]
    part: Vec<String>,
}

/// `bench`.
pub fn run(ctx: &Ctx, asked: Bench) -> Result<()> {
    match asked.part.is_empty() {
        true => measure(ctx, &asked),
        false => part::run(ctx, &asked.part.iter().map(String::as_str).collect::<Vec<_>>()),
    }
}

fn measure(ctx: &Ctx, asked: &Bench) -> Result<()> {
    let cold = asked.cold;
    let names: Vec<&str> = asked.name.iter().map(String::as_str).collect();
    let chosen = choose(&names, cold)?;
    if ctx.globals.dry_run {
        chosen.iter().for_each(|bench| println!("measure {}", bench.name));
        return Ok(());
    }
    let eve = match &asked.eve {
        Some(eve) => Some(eve.canonicalize().with_context(|| format!("cannot find the checkout `{}`", eve.display()))?),
        None => None,
    };
    let conditions = conditions();
    eprintln!("{conditions}");
    let scratch = ctx.dist().spool();
    std::fs::create_dir_all(&scratch).with_context(|| format!("cannot make `{}`", scratch.display()))?;
    let mut rows = Vec::new();
    for bench in chosen {
        eprintln!("measuring {}", bench.name);
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(&scratch).context("cannot make a folder to measure in")?;
        rows.extend((bench.run)(&Setting {
            ctx,
            rivals: Rivals::new(&ctx.tools)?,
            folder: folder.path().to_owned(),
            cold,
            eve: eve.clone(),
        })?);
    }
    if ctx.globals.json {
        let rows: Vec<_> = rows.iter().map(Row::to_json).collect();
        println!("{}", serde_json::to_string_pretty(&serde_json::json!({"conditions": conditions, "rows": rows}))?);
        return Ok(());
    }
    print!("{}", row::table(&rows));
    let over = rows.iter().filter(|row| row.within() == Some(false)).count();
    let held = rows.iter().filter(|row| row.within().is_some()).count();
    println!("{} of {held} within their budgets; {conditions}", held - over);
    Ok(())
}

fn choose(names: &[&str], cold: bool) -> Result<Vec<&'static Measurement>> {
    for name in names {
        match BENCHES.iter().find(|bench| bench.name == *name) {
            Some(bench) if bench.cold && !cold => {
                return Err(usage(format!("the benchmark `{name}` takes minutes\nhint: cargo xtask bench {name} --cold")));
            }
            Some(_) => {}
            None => {
                let near = did_you_mean(name, BENCHES.iter().map(|bench| bench.name));
                let hint = near.map_or_else(|| "cargo xtask help bench".to_owned(), |near| format!("did you mean {near}?"));
                return Err(usage(format!("there is no benchmark `{name}`\nhint: {hint}")));
            }
        }
    }
    let wanted = |bench: &&Measurement| if names.is_empty() { cold || !bench.cold } else { names.contains(&bench.name) };
    Ok(BENCHES.iter().filter(wanted).collect())
}

/// Facts about the machine for the report: a busy machine changes seconds, but not ratios.
fn conditions() -> String {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").ok().and_then(|text| text.split(' ').next().map(str::to_owned));
    format!("{processors} processors, load {} at the start", load.as_deref().unwrap_or("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_benchmarks_run_only_with_cold() {
        let names = |names: &[&str], cold| choose(names, cold).map(|chosen| chosen.iter().map(|bench| bench.name).collect::<Vec<_>>());
        assert!(!names(&[], false).expect("all").contains(&"compile"));
        assert!(names(&[], true).expect("all").contains(&"compile"));
        assert_eq!(names(&["tags", "disk"], false).expect("two"), ["disk", "tags"]);
        let error = names(&["compile"], false).expect_err("slow").to_string();
        assert_eq!(error, "the benchmark `compile` takes minutes\nhint: cargo xtask bench compile --cold");
        let error = names(&["squash"], false).map_err(|error| error.to_string());
        assert!(error.as_ref().is_err_and(|error| error.contains("did you mean squashfs?")), "{error:?}");
    }
}
