//! `test`: everything that must hold, boots included. CI calls this and nothing else.

use super::{Run, doctor};
use anyhow::Result;
use checkout::context::Ctx;
use child::cargo::Cargo;

/// Which tests run.
#[derive(clap::Args)]
pub struct Test {
    /// leave out what builds and boots whole images
    #[arg(long)]
    quick: bool,
    /// only tests whose names contain one of these
    #[arg(value_name = "FILTER", num_args = 0..)]
    filter: Vec<String>,
}

impl Run for Test {
    /// Tools, form, lints, tests. A tool that cannot be had is named, and the tests that need it say that they were skipped.
    fn run(self, ctx: &Ctx) -> Result<()> {
        run_tests(ctx, self.quick, &self.filter)
    }
}

fn run_tests(ctx: &Ctx, quick: bool, filters: &[String]) -> Result<()> {
    doctor::provide_for_tests(ctx)?;
    let cargo = Cargo::new(&ctx.tools, &ctx.root)?;
    if filters.is_empty() {
        check_form(&cargo)?;
    }
    let boots = if quick { "n" } else { "y" };
    // Everything that fails is told in one run, not the first alone.
    let mut words = vec!["test", "--release", "--workspace", "--no-fail-fast"];
    if !filters.is_empty() {
        words.push("--");
        words.extend(filters.iter().map(String::as_str));
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
