//! curl: downloads a file to its standard output or to a path.

use super::{Cmd, Failure, Output, Tool, Tools};
use anyhow::Result;
use std::path::Path;

/// The protocols that a download may use.
const SCHEMES: &[&str] = &["https", "http", "ftp"];

/// Why a server refused a download. The caller tries later or another mirror after the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Status 404.
    NotFound,
    /// Status 429.
    TooManyRequests,
    /// Anything else.
    Other,
}

/// Whether `url` has one of the allowed protocols.
#[must_use]
pub fn fetches(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
}

/// The command that writes the file at `uri` to standard output. With `--fail`, a server's error page is not taken for the file.
pub fn fetch(tools: &Tools, uri: &str, output: &Output) -> Cmd {
    tools.cmd_unchecked(Tool::Curl).step(format!("fetching {uri}")).args(["--fail", "-L", uri]).output(output)
}

/// The command that writes the file at `url` to `out`.
pub fn download_command(tools: &Tools, url: &str, out: &Path) -> Result<Cmd> {
    let protocols = format!("={}", SCHEMES.join(","));
    let cmd = tools.cmd(Tool::Curl)?.step(format!("fetching {url}"));
    let cmd = cmd.args(["--silent", "--show-error", "--location", "--fail", "--retry", "3", "--proto", &protocols]);
    Ok(cmd.arg("--output").arg(out).arg(url))
}

/// Why the server refused the download that failed with `error`.
#[must_use]
pub fn refusal(error: &anyhow::Error) -> Refusal {
    let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    let code =
        failure.and_then(|failure| failure.tail.iter().find_map(|line| line.split_once("returned error")?.1.split_whitespace().last()));
    match code {
        Some("404") => Refusal::NotFound,
        Some("429") => Refusal::TooManyRequests,
        _ => Refusal::Other,
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
