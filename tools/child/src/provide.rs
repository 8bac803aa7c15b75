//! Checks the tools that steps need, reports all missing or outdated ones in one error, and installs them.

use super::{For, Output, Tool, ToolNeed, Tools, apt, apt::Manager, version, version::Found};
use anyhow::Result;
use common::error::missing_tool;
use std::collections::BTreeMap;

/// Whether one tool is here, and in which version.
#[derive(Clone, Debug)]
pub struct ToolState {
    /// The tool.
    pub tool: Tool,
    /// The result of the search.
    pub found: Found,
}

impl ToolState {
    /// Whether it is here and new enough.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.found.serves(self.tool.info())
    }
}

/// Asks each of `wanted` for its version, in parallel; returns them in the order of the table, without duplicates.
#[must_use]
pub fn survey(tools: &Tools, wanted: &[Tool]) -> Vec<ToolState> {
    let listed = Tool::ALL.iter().copied().filter(|tool| wanted.contains(tool));
    std::thread::scope(|scope| {
        let asked: Vec<_> = listed.map(|tool| (tool, scope.spawn(move || version::find(tools, tool)))).collect();
        let answer = |(tool, thread): (Tool, std::thread::ScopedJoinHandle<'_, Found>)| ToolState {
            tool,
            found: thread.join().unwrap_or_else(|_| Found::Unknown("asking for its version panicked".to_owned())),
        };
        asked.into_iter().map(answer).collect()
    })
}

/// One error that names every tool of `needs` that is missing or outdated.
pub fn check(tools: &Tools, needs: &[ToolNeed]) -> Result<()> {
    let wanted: Vec<Tool> = needs.iter().map(|need| need.tool).collect();
    let lacking: Vec<ToolState> = survey(tools, &wanted).into_iter().filter(|state| !state.serves()).collect();
    if lacking.is_empty() { Ok(()) } else { Err(missing_tool(describe(&lacking, needs))) }
}

/// [`check`], after installing missing and outdated tools if `install` is set, xtask runs as root, and apt is here.
pub fn ensure(tools: &Tools, needs: &[ToolNeed], install: bool, output: &Output) -> Result<()> {
    let wanted: Vec<Tool> = needs.iter().map(|need| need.tool).collect();
    let lacking: Vec<ToolState> = survey(tools, &wanted).into_iter().filter(|state| !state.serves()).collect();
    // A package manager cannot mend a tool that is here and prints nonsense: a person put it there.
    let is_strange = lacking.iter().any(|state| matches!(state.found, Found::Unknown(_)));
    let missing: Vec<Tool> = lacking.iter().map(|state| state.tool).collect();
    if install && !is_strange && !missing.is_empty() && apt::is_root() && Manager::find(tools) == Some(Manager::Apt) {
        install_missing(tools, &missing, output)?;
    }
    if missing.is_empty() { Ok(()) } else { check(tools, needs) }
}

/// Installs the packages of `missing` in one transaction. Does nothing if no package contains any of them.
pub fn install_missing(tools: &Tools, missing: &[Tool], output: &Output) -> Result<()> {
    let Some(manager) = Manager::find(tools) else {
        return Err(missing_tool("cannot install the tools: neither apt-get nor dnf nor brew is on this machine"));
    };
    let packages = manager.packages(missing);
    if packages.is_empty() { Ok(()) } else { apt::install(tools, manager, &packages, output) }
}

/// Every tool that one of `work` needs, with its purpose.
#[must_use]
pub fn usual_needs(work: &[For]) -> Vec<ToolNeed> {
    let is_needed = |tool: &Tool| tool.info().needs.iter().any(|need| work.contains(need));
    Tool::ALL.iter().copied().filter(is_needed).map(ToolNeed::usual).collect()
}

/// A sentence per tool, and one hint for all.
fn describe(lacking: &[ToolState], needs: &[ToolNeed]) -> String {
    let mut purposes: BTreeMap<Tool, Vec<&str>> = BTreeMap::new();
    for need in needs {
        let known = purposes.entry(need.tool).or_default();
        if !known.contains(&need.purpose.as_str()) {
            known.push(&need.purpose);
        }
    }
    let mut text = String::new();
    for state in lacking {
        let info = state.tool.info();
        let purpose = purposes.get(&state.tool).map_or_else(|| info.purpose.to_owned(), |purposes| purposes.join(" and "));
        let here = match &state.found {
            Found::Version(found) => format!("{} is here", version::show(*found)),
            Found::Unknown(why) => why.clone(),
            Found::Missing | Found::Present => "it is not on this machine".to_owned(),
        };
        let needed = info.minimum.map_or_else(String::new, |(least, why)| format!(" (version {least} or later, {why})"));
        text.push_str(&format!("`{}` is needed {purpose}{needed}: {here}\n", info.name));
    }
    let tools: Vec<Tool> = lacking.iter().map(|state| state.tool).collect();
    text.push_str(&format!("hint: {}", apt::install_hint(&tools)));
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fake;

    #[test]
    fn all_that_is_missing_or_old_is_named_at_once() {
        let dir = tempfile::tempdir().unwrap();
        fake::tool(dir.path(), Tool::Git, "echo git version 2.47.3");
        fake::tool(dir.path(), Tool::QemuImg, "echo qemu-img version 4.2.1");
        let needs = [
            ToolNeed::usual(Tool::Git),
            ToolNeed::new(Tool::QemuImg, "to convert the disk to qcow2"),
            ToolNeed::new(Tool::Unshare, "to run the build steps of pkg/a"),
            ToolNeed::new(Tool::Unshare, "to run the build steps of pkg/b"),
        ];
        let error = common::error::render(&check(&fake::tools(dir.path()), &needs).unwrap_err());
        let (head, hint) = error.rsplit_once("hint: ").unwrap();
        assert_eq!(
            head,
            "error: `qemu-img` is needed to convert the disk to qcow2 (version 5.1 or later, the first that reads qcow2 with zstd): 4.2.1 is here\n  \
             `unshare` is needed to run the build steps of pkg/a and to run the build steps of pkg/b: it is not on this machine\n"
        );
        assert!(hint.starts_with("cargo xtask doctor --install, or: "), "{hint}");
        assert!(check(&fake::tools(dir.path()), &needs[..1]).is_ok());
    }

    #[test]
    fn what_is_missing_is_installed_only_where_that_was_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let git = dir.path().join("git");
        let script = format!(
            "case \"$*\" in *simulate*) ;; *) printf '#!/bin/sh\\necho git version 2.47\\n' > {0}; chmod +x {0};; esac",
            git.display()
        );
        fake::program(dir.path(), "apt-get", &script);
        let (tools, needs) = (fake::tools(dir.path()), [ToolNeed::usual(Tool::Git)]);
        fake::tool(dir.path(), Tool::Git, "echo gurgle");
        let error = ensure(&tools, &needs, true, &Output::default()).unwrap_err().to_string();
        assert!(error.contains("`git` prints no version: gurgle"), "{error}");
        std::fs::remove_file(&git).unwrap();
        let error = ensure(&tools, &needs, false, &Output::default()).unwrap_err().to_string();
        assert!(error.starts_with("`git` is needed to ") && error.contains("it is not on this machine") && !git.exists(), "{error}");
        if apt::is_root() {
            ensure(&tools, &needs, true, &Output::default()).unwrap();
        } else {
            skips::skipped(skips::Lack::Privilege, "only root may install");
        }
    }
}
