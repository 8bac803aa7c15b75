//! cargo: runs the tests and the checks of this repository.

use super::{Output, Tool, Tools, cmd::Cmd};
use anyhow::Result;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// cargo in the workspace.
pub struct Cargo {
    program: PathBuf,
    tools: Tools,
    root: PathBuf,
}

impl Cargo {
    /// cargo as `tools` finds it, in the workspace `root`.
    pub fn new(tools: &Tools, root: &Path) -> Result<Self> {
        Ok(Self { program: tools.find(Tool::Cargo)?, tools: tools.clone(), root: root.to_owned() })
    }

    fn command(&self, args: &[&str], variables: &[(&str, String)]) -> Cmd {
        let cmd = Cmd::new(&self.program, self.tools.environment()).named("cargo").dir(&self.root).args(args);
        variables.iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value))
    }

    /// Whether a subcommand such as `clippy` is installed.
    pub fn has(&self, subcommand: &str) -> bool {
        self.command(&[subcommand, "--version"], &[]).status_ok().unwrap_or(false)
    }

    /// Runs cargo; returns the lines of its output, and how it ended.
    pub fn lines(&self, args: &[&str]) -> (Vec<String>, Result<()>) {
        self.command(args, &[]).lines()
    }

    /// The JSON of `cargo metadata` about the crates of the workspace.
    pub fn metadata(&self) -> Result<String> {
        self.command(&["metadata", "--no-deps", "--offline", "--format-version", "1"], &[]).stdout()
    }

    /// Runs cargo on our terminal.
    pub fn run(&self, args: &[&str], variables: &[(&str, String)]) -> Result<()> {
        self.command(args, variables).foreground().run()
    }

    /// Runs `cargo test` and prints each line of its output at once. Returns the counts, and whether cargo succeeded.
    pub fn test(&self, args: &[&str], variables: &[(&str, String)]) -> Result<(TestResults, bool)> {
        let results = Arc::new(Mutex::new(TestResults::default()));
        let reader = Arc::clone(&results);
        let output = Output::to(move |line| {
            println!("{line}");
            reader.lock().unwrap_or_else(PoisonError::into_inner).read(line);
        });
        let good = self.command(&["test"], variables).args(args).output(&output).status_ok()?;
        let results = results.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok((results, good))
    }
}

/// The results of all test programs of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestResults {
    /// Tests that passed. A test that skips itself counts as passed, because libtest has no third state.
    pub passed: usize,
    /// Tests that failed.
    pub failed: usize,
    /// Their names.
    pub failures: Vec<String>,
    /// Tests with `#[ignore]`, which did not run, and their reasons.
    pub ignored: Vec<String>,
}

impl TestResults {
    /// Counts one line of libtest's output.
    fn read(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            for count in counts.split([';', '.']) {
                match count.trim().split_once(' ') {
                    Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                    Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                    _ => {}
                }
            }
        } else if let Some((name, outcome)) = line.strip_prefix("test ").and_then(|test| test.rsplit_once(" ... ")) {
            match outcome.split_once(", ") {
                _ if outcome == "FAILED" => self.failures.push(name.to_owned()),
                Some(("ignored", why)) => self.ignored.push(format!("{name}: {why}")),
                _ if outcome == "ignored" => self.ignored.push(name.to_owned()),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libtest_says_is_counted_over_all_programs() {
        let text = "\n\
            running 4 tests\n\
            test a::b ... ok\n\
            test a::c ... FAILED\n\
            test a::d ... ignored, needs EVE_CHECKOUT, a checkout\n\
            test a::e ... ignored\n\
            test result: FAILED. 1 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.03s\n\
            test src/lib.rs - f (line 3) ... ok\n\
            test result: ok. 20 passed; 0 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.50s\n";
        let mut results = TestResults::default();
        text.lines().for_each(|line| results.read(line));
        let expected = TestResults {
            passed: 21,
            failed: 1,
            failures: vec!["a::c".to_owned()],
            ignored: vec!["a::d: needs EVE_CHECKOUT, a checkout".to_owned(), "a::e".to_owned()],
        };
        assert_eq!(results, expected);
    }
}
