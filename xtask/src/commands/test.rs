//! `test`: formatting, lints and all tests, boots included; CI calls only this. The last lines count the tests and name every failed or
//! skipped one with the reason: libtest counts a test that skips itself as passed and hides its output.

use super::doctor;
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{
    apt::{self, Manager},
    cargo::{Cargo, TestResults},
};
use std::path::PathBuf;

/// The environment variable with the file to which skipped tests append a line; tools/skips writes it.
const SKIPS: &str = "XTASK_TEST_SKIPS";

/// The tests to run.
#[derive(clap::Args)]
pub struct Test {
    /// leave out tests that build or boot whole images
    #[arg(long)]
    quick: bool,
    /// test only this crate, without the checks of formatting and lints; may be repeated [default: all]
    #[arg(long, short = 'p', value_name = "CRATE")]
    package: Vec<String>,
    /// run only this test program (tests/NAME.rs of a crate, or the folder tests/NAME), without the checks of formatting and lints; may be
    /// repeated [default: all]
    #[arg(long, value_name = "NAME")]
    test: Vec<String>,
    /// run only tests whose names contain one of these
    #[arg(value_name = "FILTER", num_args = 0..)]
    filter: Vec<String>,
}

/// `test`.
pub fn run(ctx: &Ctx, Test { quick, package, test, filter }: Test) -> Result<()> {
    let boots = if quick { "n" } else { "y" };
    let words = cargo_words(&package, &test, &filter);
    let forms: &[Form] = if filter.is_empty() && package.is_empty() && test.is_empty() { &FORMS } else { &[] };
    if ctx.globals.dry_run {
        forms.iter().for_each(|form| println!("cargo {}", form.words.join(" ")));
        println!("env XTASK_TEST_BOOTS={boots} XTASK_TEST_DOCKER={boots} cargo test {}", words.join(" "));
        return Ok(());
    }
    doctor::provide_for_tests(ctx)?;
    let cargo = Cargo::new(&ctx.tools, &ctx.root)?;
    let mut skips = check_form(&cargo, forms)?;
    let file = file_of_skips(ctx)?;
    let variables = [("XTASK_TEST_BOOTS", boots), ("XTASK_TEST_DOCKER", boots), (SKIPS, &file.path().to_string_lossy())];
    let (results, good) = cargo.test(&words, &variables.map(|(name, value)| (name, value.to_owned())))?;
    skips.extend(parse_skips(&std::fs::read_to_string(file.path()).context("cannot read the list of skipped tests")?));
    print!("{}", summary(&results, &skips));
    if !good {
        bail!("{}", if results.failed == 0 { "the tests did not all run: see above".to_owned() } else { failures(&results) });
    }
    let in_ci = ctx.environment.get("CI") == Some("true");
    // Root or not: CI installs with sudo before a step that runs as an ordinary user.
    refuse_skips(&skips, in_ci && Manager::find(&ctx.tools) == Some(Manager::Apt))
}

/// The words after `cargo test`. cargo looks for a test program in each of the packages, and wants it in one.
fn cargo_words<'w>(package: &'w [String], test: &'w [String], filter: &'w [String]) -> Vec<&'w str> {
    // Run all tests although one fails.
    let mut words = vec!["--release", "--no-fail-fast"];
    words.extend(package.iter().flat_map(|name| ["--package", name]));
    words.extend(package.is_empty().then_some("--workspace"));
    words.extend(test.iter().flat_map(|name| ["--test", name]));
    if !filter.is_empty() {
        words.push("--");
        words.extend(filter.iter().map(String::as_str));
    }
    words
}

/// A file below the target folder to which skipped tests write; removed when it is dropped.
fn file_of_skips(ctx: &Ctx) -> Result<tempfile::NamedTempFile> {
    let target = ctx.environment.get("CARGO_TARGET_DIR").map_or_else(|| ctx.root.join("target"), PathBuf::from);
    std::fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
    let file = tempfile::Builder::new().prefix("skips-").tempfile_in(&target);
    file.with_context(|| format!("cannot make a file in {}", target.display()))
}

/// A check of the sources by a component of the toolchain.
struct Form {
    name: &'static str,
    words: &'static [&'static str],
    component: &'static str,
}

const FORMS: [Form; 2] = [
    Form { name: "fmt", words: &["fmt", "--all", "--check"], component: "rustfmt" },
    Form {
        name: "clippy",
        words: &["clippy", "--release", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"],
        component: "clippy",
    },
];

/// Runs the checks. Returns those that are not installed.
fn check_form(cargo: &Cargo, forms: &[Form]) -> Result<Vec<Skip>> {
    let mut skips = Vec::new();
    for form in forms {
        if cargo.has(form.name) {
            cargo.run(form.words, &[])?;
        } else {
            let why = format!("it is not installed (rustup component add {})", form.component);
            skips.push(Skip { test: format!("cargo {}", form.name), why, lack: "component".to_owned(), packages: Vec::new() });
        }
    }
    Ok(skips)
}

/// A test that skipped itself, or a part of itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Skip {
    test: String,
    why: String,
    /// What it lacks: a `package`, a `component` of the toolchain, or one of [`BEYOND_PACKAGES`].
    lack: String,
    /// The Debian packages that it needs; empty if no package would help.
    packages: Vec<String>,
}

/// What no installation gives to a machine, as tools/skips writes it. Under CI any other skip is a failure.
const BEYOND_PACKAGES: [&str; 5] = ["request", "privilege", "kernel", "architecture", "unpackaged"];

/// Reads lines of test, reason, lack and packages, separated by tabs, and removes duplicates.
fn parse_skips(text: &str) -> Vec<Skip> {
    let mut skips: Vec<Skip> = text.lines().map(parse_skip).collect();
    skips.sort_unstable();
    skips.dedup();
    skips
}

fn parse_skip(line: &str) -> Skip {
    let mut words = line.splitn(4, '\t');
    let mut next = || words.next().unwrap_or_default().to_owned();
    Skip { test: next(), why: next(), lack: next(), packages: next().split_whitespace().map(str::to_owned).collect() }
}

/// The last lines of a run.
fn summary(results: &TestResults, skips: &[Skip]) -> String {
    let (passed, failed, ignored) = (results.passed, results.failed, results.ignored.len());
    let mut text = format!("\n{} tests ran: {passed} passed, {failed} failed; {ignored} are ignored\n", passed + failed);
    for test in &results.ignored {
        text.push_str(&format!("  IGNORED {test}\n"));
    }
    if skips.is_empty() {
        text.push_str("no test was skipped\n");
    } else {
        text.push_str(&format!("skipped wholly or in part (counted as passed): {}\n", skips.len()));
    }
    for skip in skips {
        text.push_str(&format!("  SKIPPED ({}) {}: {}\n", skip.lack, skip.test, skip.why));
    }
    text
}

/// The error that names the tests that failed.
fn failures(results: &TestResults) -> String {
    let tests = if results.failed == 1 { "test has" } else { "tests have" };
    format!("{} {tests} failed: {}", results.failed, results.failures.join(", "))
}

/// Fails on skipped tests if CI `could` have installed what they need, or if they do not say what that is.
fn refuse_skips(skips: &[Skip], could: bool) -> Result<()> {
    let needless: Vec<&Skip> = skips.iter().filter(|skip| could && !BEYOND_PACKAGES.contains(&skip.lack.as_str())).collect();
    if needless.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = needless.iter().flat_map(|skip| &skip.packages).map(String::as_str).collect();
    packages.sort_unstable();
    packages.dedup();
    let mut text = "CI=true, and what these tests need can be installed here:".to_owned();
    needless.iter().for_each(|skip| text.push_str(&format!("\n{}: {}", skip.test, skip.why)));
    if !packages.is_empty() {
        text.push_str(&format!("\nhint: {}", Manager::Apt.command_line(&packages, apt::is_root())));
    }
    bail!("{text}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use skips::Lack;

    /// Skips as tools/skips writes them and we read them.
    fn written() -> Vec<Skip> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("skips");
        for _ in 0..2 {
            skips::append(
                &file,
                "fat::tests::x (tools/diskimage/src/fat/tests.rs)",
                "`mdir` is not on this machine",
                "package",
                "mtools dosfstools",
            );
        }
        skips::append(&file, "apt::tests::y (tools/child/src/apt.rs)", "only root may install", Lack::Privilege.word(), "");
        assert_eq!(SKIPS, skips::VARIABLE);
        parse_skips(&std::fs::read_to_string(file).unwrap())
    }

    #[test]
    fn the_last_lines_name_every_skip() {
        let results = TestResults { passed: 21, failed: 0, failures: Vec::new(), ignored: vec!["a::d: needs EVE_CHECKOUT".to_owned()] };
        let expected = "\n21 tests ran: 21 passed, 0 failed; 1 are ignored\n  IGNORED a::d: needs EVE_CHECKOUT\n\
            skipped wholly or in part (counted as passed): 2\n  \
              SKIPPED (privilege) apt::tests::y (tools/child/src/apt.rs): only root may install\n  \
              SKIPPED (package) fat::tests::x (tools/diskimage/src/fat/tests.rs): `mdir` is not on this machine\n";
        assert_eq!(summary(&results, &written()), expected);
        assert!(summary(&results, &[]).ends_with("\nno test was skipped\n"));
    }

    #[test]
    fn a_skip_that_ci_could_have_prevented_is_a_failure() {
        refuse_skips(&written(), false).unwrap();
        refuse_skips(&written()[..1], true).unwrap();
        let error = common::error::render(&refuse_skips(&written(), true).unwrap_err());
        let sudo = if apt::is_root() { "" } else { "sudo " };
        let expected = format!(
            "error: CI=true, and what these tests need can be installed here:\n  \
               fat::tests::x (tools/diskimage/src/fat/tests.rs): `mdir` is not on this machine\n\
             hint: {sudo}apt-get install -y --no-install-recommends dosfstools mtools\n"
        );
        assert_eq!(error, expected);
    }

    #[test]
    fn only_what_no_installation_gives_passes_in_ci() {
        let skip = |lack: &str| Skip { test: "a".to_owned(), why: "b".to_owned(), lack: lack.to_owned(), packages: Vec::new() };
        let lacks = [Lack::Request, Lack::Privilege, Lack::Kernel, Lack::Architecture, Lack::Unpackaged];
        assert_eq!(lacks.map(Lack::word), BEYOND_PACKAGES);
        refuse_skips(&BEYOND_PACKAGES.map(skip), true).unwrap();
        for lack in ["", "component", "privileges"] {
            let error = refuse_skips(&[skip(lack)], true).unwrap_err().to_string();
            assert_eq!(error, "CI=true, and what these tests need can be installed here:\na: b");
        }
    }

    #[test]
    fn cargo_gets_packages_programs_and_filters() {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let words = |package: &[&str], test: &[&str], filter: &[&str]| cargo_words(&own(package), &own(test), &own(filter)).join(" ");
        assert_eq!(words(&[], &[], &["a"]), "--release --no-fail-fast --workspace -- a");
        let two = "--release --no-fail-fast --package xtask --test boots --test images -- usb";
        assert_eq!(words(&["xtask"], &["boots", "images"], &["usb"]), two);
    }

    #[test]
    fn failed_tests_are_named() {
        let one = TestResults { failed: 1, failures: vec!["a::b".to_owned()], ..TestResults::default() };
        assert_eq!(failures(&one), "1 test has failed: a::b");
    }
}
