//! curl: one file from somewhere: a large one to be looked at while it comes, or a source to be kept.

use super::{Cmd, Failure, Output, Tool, Tools};
use anyhow::Result;
use std::path::Path;

/// The protocols that a source may be fetched by.
const SCHEMES: &[&str] = &["https", "http", "ftp"];

/// Why a server gave no file, for those reasons that a later try or another mirror can cure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has no such file.
    NotFound,
    /// It was asked too often.
    TooManyRequests,
    /// Anything else.
    Other,
}

/// Whether curl fetches such an address.
#[must_use]
pub fn fetches(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
}

/// The command that prints what is at `uri`. With `--fail`, an error page does not become a disk.
pub fn fetch(tools: &Tools, uri: &str, output: &Output) -> Cmd {
    tools.cmd_unchecked(Tool::Curl).step(format!("fetching {uri}")).args(["--fail", "-L", uri]).output(output)
}

/// The command that writes what is at `url` to `out`.
pub fn download_command(tools: &Tools, url: &str, out: &Path) -> Result<Cmd> {
    let protocols = format!("={}", SCHEMES.join(","));
    let cmd = tools.cmd(Tool::Curl)?.step(format!("fetching {url}"));
    let cmd = cmd.args(["--silent", "--show-error", "--location", "--fail", "--retry", "3", "--proto", &protocols]);
    Ok(cmd.arg("--output").arg(out).arg(url))
}

/// Why the download that failed with `error` did.
#[must_use]
pub fn refusal(error: &anyhow::Error) -> Refusal {
    let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    let said =
        |code: &str| failure.is_some_and(|failure| failure.tail.iter().any(|line| line.contains("returned error") && line.ends_with(code)));
    if said("404") {
        Refusal::NotFound
    } else if said("429") {
        Refusal::TooManyRequests
    } else {
        Refusal::Other
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::fake, *};

    #[test]
    fn a_refusal_is_told_by_what_curl_says() {
        let folder = tempfile::tempdir().unwrap();
        for (code, want) in [("404", Refusal::NotFound), ("429", Refusal::TooManyRequests), ("500", Refusal::Other)] {
            let script = format!("echo 'curl: (22) The requested URL returned error: {code}' >&2; exit 22");
            fake::tool(folder.path(), Tool::Curl, &script);
            let cmd = download_command(&fake::tools(folder.path()), "https://example.org/a", Path::new("/x/a")).unwrap();
            assert!(cmd.to_string().ends_with("--proto =https,http,ftp --output /x/a https://example.org/a"), "{cmd}");
            assert_eq!(refusal(&cmd.run().unwrap_err()), want);
        }
        assert!(fetches("https://a/b") && fetches("ftp://a") && !fetches("file:///etc/passwd") && !fetches("a.patch"));
    }
}
