//! go-sources-and-licenses: collects the sources of the Go modules that go.mod files or programs below a folder use.

use super::{Cmd, Tool, Tools};
use anyhow::Result;
use std::path::Path;

/// The format of a manifest line.
const TEMPLATE: &str = "golang,{{.Module}}@{{.Version}},{{.Version}},{{.Path}}";

/// Where the list of modules comes from.
#[derive(Clone, Copy, Debug)]
pub enum Modules<'p> {
    /// From go.mod files below the folder.
    InSource(&'p Path),
    /// From programs below the folder.
    InPrograms(&'p Path),
}

/// The command that writes the sources below `out` and prints a manifest line for each module.
pub fn collect_command(tools: &Tools, modules: Modules<'_>, out: &Path) -> Result<Cmd> {
    let (option, folder) = match modules {
        Modules::InSource(folder) => ("-s", folder),
        Modules::InPrograms(folder) => ("-b", folder),
    };
    let cmd = tools.cmd(Tool::GoSources)?.step("collecting the sources of Go modules").args(["sources", option]).arg(folder);
    Ok(cmd.arg("--find").arg("--out").arg(out).args(["--prefix", "golang", "--template", TEMPLATE]))
}
