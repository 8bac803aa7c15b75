//! Which of the tools that are needed serve, the one error that names all that do not, and their installation.

use super::{
    For, Output, Tool, ToolNeed, Tools,
    apt::{self, Manager},
    version::{self, Found},
};
use anyhow::Result;
use common::error::missing_tool;
use std::collections::BTreeMap;

/// What is here of one tool.
#[derive(Clone, Debug)]
pub struct State {
    /// Which tool.
    pub tool: Tool,
    /// What was found.
    pub found: Found,
}

impl State {
    /// Whether it is here and new enough.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.found.serves(self.tool.info())
    }
}

/// Looks at each of `wanted` once, all at the same time, and gives them in the table's order.
#[must_use]
pub fn survey(tools: &Tools, wanted: &[Tool]) -> Vec<State> {
    let listed = super::known_tools::TABLE.iter().map(|(tool, _)| *tool).filter(|tool| wanted.contains(tool));
    std::thread::scope(|scope| {
        let asked: Vec<_> = listed.map(|tool| (tool, scope.spawn(move || version::find(tools, tool)))).collect();
        let answer = |(tool, thread): (Tool, std::thread::ScopedJoinHandle<'_, Found>)| State {
            tool,
            found: thread.join().unwrap_or_else(|_| Found::Unknown("the look at it has panicked".to_owned())),
        };
        asked.into_iter().map(answer).collect()
    })
}

/// Nothing when all of `needs` are met; one error that names all that are not.
pub fn check(tools: &Tools, needs: &[ToolNeed]) -> Result<()> {
    let wanted: Vec<Tool> = needs.iter().map(|need| need.tool).collect();
    let lacking: Vec<State> = survey(tools, &wanted).into_iter().filter(|state| !state.serves()).collect();
    if lacking.is_empty() { Ok(()) } else { Err(missing_tool(describe(&lacking, needs))) }
}

/// The same, after installing what is missing where that needs no question: as root, with apt, and when `install` says so.
pub fn ensure(tools: &Tools, needs: &[ToolNeed], install: bool, output: &Output) -> Result<()> {
    let wanted: Vec<Tool> = needs.iter().map(|need| need.tool).collect();
    let missing: Vec<Tool> = survey(tools, &wanted).into_iter().filter(|state| !state.serves()).map(|state| state.tool).collect();
    if install && !missing.is_empty() && apt::is_root() && Manager::find(tools) == Some(Manager::Apt) {
        install_missing(tools, &missing, output)?;
    }
    if missing.is_empty() { Ok(()) } else { check(tools, needs) }
}

/// Installs the packages of `missing` in one transaction. Nothing happens when no package has any of them.
pub fn install_missing(tools: &Tools, missing: &[Tool], output: &Output) -> Result<()> {
    let Some(manager) = Manager::find(tools) else {
        return Err(missing_tool("neither apt-get nor dnf nor brew is on this machine: the tools cannot be installed for you"));
    };
    let packages = manager.packages(missing);
    if packages.is_empty() { Ok(()) } else { apt::install(tools, manager, &packages, output) }
}

/// Every tool that `occasions` want, with what it is for.
#[must_use]
pub fn usual_needs(occasions: &[For]) -> Vec<ToolNeed> {
    let mut tools: Vec<Tool> = occasions.iter().flat_map(|occasion| Tool::needed_for(*occasion)).collect();
    tools.sort_unstable();
    tools.dedup();
    tools.into_iter().map(ToolNeed::usual).collect()
}

/// A sentence for each tool, and one hint for all.
fn describe(lacking: &[State], needs: &[ToolNeed]) -> String {
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
            "error: `qemu-img` is needed to convert the disk to qcow2 (version 5.1 or later, the first with compression_type=zstd in qcow2): 4.2.1 is here\n  \
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
        assert!(ensure(&tools, &needs, false, &Output::default()).is_err() && !git.exists());
        if apt::is_root() {
            ensure(&tools, &needs, true, &Output::default()).unwrap();
        } else {
            skips::skipped("only root may install");
        }
    }
}
