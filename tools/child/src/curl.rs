//! curl: downloads a file to its standard output or to a path, or carries one HTTP request through https.

use super::{Cmd, Failure, Output, Running, Tool, Tools};
use anyhow::{Context as _, Result};
use std::{
    io::{self, PipeReader, Read, Write as _},
    path::Path,
    time::Duration,
};

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

/// Sends a GET request for the https `url` with these header fields, through `proxy` if one is given. Returns the response as the server
/// sends it, headers first; it ends after `limit`. curl checks the server's certificate by the machine's authorities. A response of
/// another status is no error, and a redirect is not followed.
pub fn exchange(tools: &Tools, url: &str, fields: &[(&str, String)], proxy: Option<&str>, limit: Duration) -> Result<impl Read + use<>> {
    let seconds = limit.as_secs().max(1).to_string();
    let flags = ["--disable", "--silent", "--show-error", "--http1.1", "--raw", "--globoff", "--include", "--suppress-connect-headers"];
    let cmd = tools.cmd(Tool::Curl)?.step(format!("fetching {url}")).args(flags);
    let cmd =
        cmd.args(["--proto", "=https", "--connect-timeout", "30", "--speed-time", "30", "--speed-limit", "1", "--max-time", &seconds]);
    let (running, mut pipes) = cmd.args(["--config", "-"]).spawn_console()?;
    // Passwords in header fields and proxies are not for the command line, which every user of the machine can read.
    pipes.input.write_all(config(url, fields, proxy).as_bytes()).context("cannot tell curl what to fetch")?;
    Ok(Exchange { output: pipes.output, running })
}

/// The text of a configuration file (curl(1), `--config`). An empty proxy overrides those of the environment.
fn config(url: &str, fields: &[(&str, String)], proxy: Option<&str>) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut text = format!("url = {}\nproxy = {}\n", quoted(url), quoted(proxy.unwrap_or_default()));
    for (name, value) in fields {
        text += &format!("header = {}\n", quoted(&format!("{name}: {value}")));
    }
    text
}

/// What curl prints. Its failure is an error at the end.
struct Exchange {
    output: PipeReader,
    running: Running,
}

impl Read for Exchange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.output.read(buffer)?;
        if got == 0 && !buffer.is_empty() {
            self.running.wait_at_most(Duration::from_secs(5)).map_err(|error| io::Error::other(format!("{error:#}")))?;
        }
        Ok(got)
    }
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
        let fields = [("Range", "bytes=5-".to_owned()), ("X", "a\"b\\c".to_owned())];
        let expected = "url = \"https://h/a\"\nproxy = \"http://me:pw@p:1\"\nheader = \"Range: bytes=5-\"\nheader = \"X: a\\\"b\\\\c\"\n";
        assert_eq!(config("https://h/a", &fields, Some("http://me:pw@p:1")), expected);
        assert!(config("https://h/a", &[], None).ends_with("proxy = \"\"\n"));
        assert!(fetches("https://a/b") && fetches("ftp://a") && !fetches("file:///etc/passwd") && !fetches("a.patch"));
    }
    #[test]
    fn an_exchange_is_the_response_or_curls_own_error() {
        let folder = tempfile::tempdir().unwrap();
        let answer = |script: &str| {
            fake::tool(folder.path(), Tool::Curl, script);
            let tools = fake::tools(folder.path());
            let mut text = String::new();
            let limit = Duration::from_secs(20);
            exchange(&tools, "https://h/a", &[("Range", "bytes=1-".to_owned())], None, limit)
                .and_then(|mut response| Ok(response.read_to_string(&mut text)?))
                .map(|_| text)
        };
        let text = answer("echo \"$@\"; cat").unwrap();
        assert!(text.contains("--max-time 20 --config -\nurl = \"https://h/a\"\nproxy = \"\"\nheader = \"Range: bytes=1-\"\n"), "{text}");
        let error = answer("cat > /dev/null; echo half; echo 'curl: (60) certificate' >&2; exit 60").unwrap_err().to_string();
        assert!(error.contains("exit status 60") && error.contains("| curl: (60) certificate"), "{error}");
    }
}
