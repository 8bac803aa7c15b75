//! go-sources-and-licenses: the sources of all Go modules below a folder, of go.mod files or of programs.

use super::{Cmd, Tool, Tools};
use anyhow::Result;
use std::path::Path;

/// The lines of the manifest.
const TEMPLATE: &str = "golang,{{.Module}}@{{.Version}},{{.Version}},{{.Path}}";

/// Where the modules are told.
#[derive(Clone, Copy, Debug)]
pub enum Found<'p> {
    /// In go.mod files below the folder.
    InSource(&'p Path),
    /// In programs below the folder.
    InPrograms(&'p Path),
}

/// The command that puts the sources below `out` and prints a line for each.
pub fn collect_command(tools: &Tools, found: Found<'_>, out: &Path) -> Result<Cmd> {
    let (option, folder) = match found {
        Found::InSource(folder) => ("-s", folder),
        Found::InPrograms(folder) => ("-b", folder),
    };
    let cmd = tools.cmd(Tool::GoSources)?.step("collecting the sources of Go modules").args(["sources", option]).arg(folder);
    Ok(cmd.arg("--find").arg("--out").arg(out).args(["--prefix", "golang", "--template", TEMPLATE]))
}
