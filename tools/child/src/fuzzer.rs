//! The program of the crate `fuzz`, which feeds damaged input to our readers: compiled with coverage, and started once per target.

use super::{Cmd, Tool, Tools, static_binary::parse_host};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// The compiled program.
pub struct Fuzzer {
    program: PathBuf,
    tools: Tools,
    findings: PathBuf,
}

/// Inserts a counter into each branch and a call before each comparison. The pass and the options are LLVM's; tools/fuzz/src/coverage.rs
/// has the other side. `\x1f` separates the flags in CARGO_ENCODED_RUSTFLAGS.
const FLAGS: &str = "-Cpasses=sancov-module\x1f-Cllvm-args=-sanitizer-coverage-level=3\x1f\
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters\x1f-Cllvm-args=-sanitizer-coverage-trace-compares";

impl Fuzzer {
    /// Compiles it in the workspace `root`, in a target folder of its own. Inputs that break a reader, and those that reached something
    /// new, go to `target/fuzz`.
    pub fn build(tools: &Tools, root: &Path) -> Result<Self> {
        let cargo = || -> Result<Cmd> { Ok(tools.cmd(Tool::Cargo)?.dir(root)) };
        let host = parse_host(&cargo()?.args(["--version", "--verbose"]).stdout()?)?;
        let folder = root.join("target/fuzz");
        // With --target cargo does not use the flags for build scripts and procedural macros, which lack the other side.
        let build = cargo()?.args(["build", "--profile", "fuzz", "--locked", "--package", "fuzz", "--target", &host, "--target-dir"]);
        build.arg(&folder).env("CARGO_ENCODED_RUSTFLAGS", FLAGS).step("compiling fuzz").foreground().run()?;
        Ok(Self { program: folder.join(host).join("fuzz/fuzz"), tools: tools.clone(), findings: folder })
    }

    fn command(&self, args: &[&str]) -> Cmd {
        Cmd::new(&self.program, self.tools.environment()).named("fuzz").args(args)
    }

    /// The names of all targets.
    pub fn targets(&self) -> Result<Vec<String>> {
        Ok(parse_targets(&self.command(&["list"]).stdout()?))
    }

    /// Runs one target for so many seconds; whether nothing was found.
    pub fn run(&self, target: &str, seconds: u64, seed: u64) -> Result<bool> {
        let (seconds, seed) = (seconds.to_string(), seed.to_string());
        let command = self.command(&["run", target, "--seconds", &seconds, "--seed", &seed, "--findings"]);
        command.arg(&self.findings).foreground().status_ok()
    }

    /// Where a run leaves the input that killed it.
    #[must_use]
    pub fn current(&self, target: &str) -> PathBuf {
        self.findings.join(format!("{target}-current"))
    }
}

/// The first words of lines such as `tar<TAB>20000`.
fn parse_targets(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| Some(line.split_once('\t')?.0.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_targets_are_read() {
        assert_eq!(parse_targets("tar\t20000\ngit-index\t5\n"), ["tar", "git-index"]);
    }
}
