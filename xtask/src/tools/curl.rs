//! curl: one large file from somewhere.

use super::{Cmd, Output, Tool, Tools};

/// The command that prints what is at `uri`. With `--fail`, an error page does not become a disk.
pub fn fetch(tools: &Tools, uri: &str, output: &Output) -> Cmd {
    tools.cmd_unchecked(Tool::Curl).step(format!("fetching {uri}")).args(["--fail", "-L", uri]).output(output)
}
