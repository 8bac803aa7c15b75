//! shellcheck: finds mistakes in shell scripts.

use super::{Tool, ToolNeed, Tools, cmd::Cmd};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};

/// The need for it.
#[must_use]
pub fn need() -> ToolNeed {
    ToolNeed::new(Tool::Shellcheck, "check shell scripts")
}

/// Checks `scripts`, paths below `root`. Returns one line for each finding: `pkg/x/x.sh:3:5: warning: …`.
pub fn check(tools: &Tools, root: &Path, scripts: &[PathBuf]) -> Result<Vec<String>> {
    if scripts.is_empty() {
        return Ok(Vec::new());
    }
    // Versions before 0.10 do not know busybox's shell; dash's is the nearest.
    let shell = if command(tools, root)?.arg("--help").stdout()?.contains("busybox") { "busybox" } else { "dash" };
    let check = command(tools, root)?.step("checking shell scripts");
    let (lines, outcome) = check.args(["--format=gcc", "--external-sources", &format!("--shell={shell}")]).args(scripts).lines();
    // Its status is 1 if it found something, and more if it could not check. Then lines are not findings.
    match outcome {
        Err(error) if lines.is_empty() || !lines.iter().all(|line| line.contains(": ") && line.ends_with(']')) => Err(error),
        Ok(()) if !lines.is_empty() => bail!("shellcheck printed lines and found nothing: {}", lines[0]),
        _ => Ok(lines),
    }
}

fn command(tools: &Tools, root: &Path) -> Result<Cmd> {
    Ok(tools.cmd(Tool::Shellcheck)?.dir(root).env("LC_ALL", "C.UTF-8"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fake;

    #[test]
    fn findings_are_told_from_failures() {
        let dir = tempfile::tempdir().unwrap();
        let run = |script: &str| {
            fake::tool(dir.path(), Tool::Shellcheck, &format!("case $1 in --help) echo sh, dash; exit;; esac\n{script}"));
            check(&fake::tools(dir.path()), dir.path(), &["a.sh".into()])
        };
        assert_eq!(run("exit 0").unwrap(), Vec::<String>::new());
        let line = "a.sh:1:6: note: Double quote to prevent globbing. [SC2086]";
        assert_eq!(run(&format!("echo '{line}'; exit 1")).unwrap(), [line]);
        for (script, said) in [("echo 'a.sh: openBinaryFile: does not exist' >&2; exit 2", "exit status 2"), ("exit 1", "exit status 1")] {
            let error = run(script).unwrap_err().to_string();
            assert!(error.starts_with("`shellcheck` failed while checking shell scripts") && error.contains(said), "{error}");
        }
        assert!(run("echo \"$*\" | grep -q -- '--shell=dash a.sh' || exit 3").is_ok());
    }
}
