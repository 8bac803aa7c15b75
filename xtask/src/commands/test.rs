//! `test`: everything that must hold, boots included. CI calls this and nothing else.

use super::doctor;
use anyhow::Result;
use checkout::context::Ctx;
use child::cargo::Cargo;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// Its arguments.
pub fn arguments(command: Command) -> Command {
    command
        .arg(Arg::new("quick").long("quick").action(ArgAction::SetTrue).help("leave out what builds and boots whole images"))
        .arg(Arg::new("filter").value_name("FILTER").num_args(0..).help("only tests whose names contain one of these"))
}

/// `test`: tools, form, lints, tests. A tool that cannot be had is named, and the tests that want it say that they were skipped.
pub fn run(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    doctor::provide_for_tests(ctx)?;
    let cargo = Cargo::new(&ctx.tools, &ctx.root)?;
    let filters: Vec<&str> = arguments.get_many::<String>("filter").into_iter().flatten().map(String::as_str).collect();
    if filters.is_empty() {
        check_form(&cargo)?;
    }
    let boots = if arguments.get_flag("quick") { "n" } else { "y" };
    // Everything that fails is told in one run, not the first alone.
    let mut words = vec!["test", "--release", "--workspace", "--no-fail-fast"];
    if !filters.is_empty() {
        words.push("--");
        words.extend(filters);
    }
    cargo.run(&words, &[("XTASK_TEST_BOOTS", boots.to_owned()), ("XTASK_TEST_DOCKER", boots.to_owned())])
}

/// Formatting and lints, where their tools came with the toolchain.
fn check_form(cargo: &Cargo) -> Result<()> {
    let checks: [(&str, &[&str]); 2] = [
        ("fmt", &["fmt", "--all", "--check"]),
        ("clippy", &["clippy", "--release", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"]),
    ];
    for (name, words) in checks {
        if cargo.has(name) {
            cargo.run(words, &[])?;
        } else {
            eprintln!("SKIPPED: cargo {name} is not installed (rustup component add {})", if name == "fmt" { "rustfmt" } else { name });
        }
    }
    Ok(())
}
