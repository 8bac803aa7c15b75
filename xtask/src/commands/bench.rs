//! `bench`: how long our work takes, as a ratio against the tools that a person would use instead, in one run side by side.
//! A machine's times alone say little; docs/BENCHMARKS.md says what is compared and why.

mod builds;
mod compile;
mod compose;
mod disk;
mod eve;
mod gcp;
mod inputs;
mod memory;
mod part;
mod qcow2;
mod row;
mod setting;
mod squashfs;
mod tags;

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use common::{error::did_you_mean, error::usage};
use row::Row;
use setting::Setting;
use std::path::PathBuf;

/// One benchmark: a file with one function.
struct Bench {
    name: &'static str,
    /// Only with `--cold`.
    cold: bool,
    run: fn(&Setting<'_>) -> Result<Vec<Row>>,
}

const fn bench(name: &'static str, run: fn(&Setting<'_>) -> Result<Vec<Row>>) -> Bench {
    Bench { name, cold: false, run }
}

/// All of them, in the order of the table.
const BENCHES: &[Bench] = &[
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
    Bench { cold: true, ..bench("compile", compile::run) },
];

/// Its arguments.
pub fn arguments(command: Command) -> Command {
    let names: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
    command
        .arg(Arg::new("name").value_name("NAME").num_args(0..).help(format!("{}; all when none is named", names.join(", "))))
        .arg(
            Arg::new("cold")
                .long("cold")
                .action(ArgAction::SetTrue)
                .help("also what is slow or needs the network: cold downloads, compile"),
        )
        .arg(
            Arg::new("eve")
                .long("eve")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("a checkout of lf-edge/eve: plans and tags against its makefile and scripts"),
        )
        .arg(Arg::new("part").long("part").num_args(1..).hide(true).conflicts_with("name"))
}

/// `bench`.
pub fn run(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    if let Some(words) = arguments.get_many::<String>("part") {
        return part::run(ctx, &words.map(String::as_str).collect::<Vec<_>>());
    }
    let cold = arguments.get_flag("cold");
    let names: Vec<&str> = arguments.get_many::<String>("name").into_iter().flatten().map(String::as_str).collect();
    let chosen = choose(&names, cold)?;
    let eve = match arguments.get_one::<PathBuf>("eve") {
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
        rows.extend((bench.run)(&Setting { ctx, folder: folder.path().to_owned(), cold, eve: eve.clone() })?);
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

fn choose(names: &[&str], cold: bool) -> Result<Vec<&'static Bench>> {
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
    let wanted = |bench: &&Bench| if names.is_empty() { cold || !bench.cold } else { names.contains(&bench.name) };
    Ok(BENCHES.iter().filter(wanted).collect())
}

/// What a reader must know of the machine: ratios hold on a busy one too, seconds do not.
fn conditions() -> String {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").ok().and_then(|text| text.split(' ').next().map(str::to_owned));
    format!("{processors} processors, load {} at the start", load.as_deref().unwrap_or("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_ones_are_only_chosen_when_asked_for() {
        let names = |names: &[&str], cold| choose(names, cold).map(|chosen| chosen.iter().map(|bench| bench.name).collect::<Vec<_>>());
        assert!(!names(&[], false).expect("all").contains(&"compile"));
        assert!(names(&[], true).expect("all").contains(&"compile"));
        assert_eq!(names(&["tags", "disk"], false).expect("two"), ["disk", "tags"]);
        assert!(names(&["compile"], false).is_err());
        let error = names(&["squash"], false).map_err(|error| error.to_string());
        assert!(error.as_ref().is_err_and(|error| error.contains("did you mean squashfs?")), "{error:?}");
    }
}
