//! curl as an HTTP client: one request of any method with header fields and a body, and the response to it. URLs, header fields and
//! passwords reach curl through a file in memory, so neither the list of processes nor a log shows them.

use super::{Exit, Tool, Tools, failure::exit_of};
use anyhow::{Context as _, Result};
use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
    time::Duration,
};

/// The most bytes of a response that is not written to a file.
const MOST: u64 = 16 << 20;

/// How long a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// Until the connection stands.
    pub connect: Duration,
    /// Without a byte in either direction.
    pub stall: Duration,
    /// In all, for a request and a response without a file.
    pub total: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), stall: Duration::from_secs(30), total: Duration::from_secs(60) }
    }
}

/// The body of a request.
#[derive(Clone, Copy, Debug)]
pub enum HttpBody<'r> {
    /// None.
    Empty,
    /// These bytes.
    Bytes(&'r [u8]),
    /// A file, from this position to its end.
    File(&'r Path, u64),
}

/// One request.
#[derive(Clone, Debug)]
pub struct HttpRequest<'r> {
    /// `GET`, `HEAD`, `POST` …
    pub method: &'r str,
    /// The URL, http or https.
    pub url: &'r str,
    /// Header fields.
    pub fields: Vec<(&'r str, String)>,
    /// The body.
    pub body: HttpBody<'r>,
    /// The file for the body of a good response. If it has bytes, only the rest is asked for and appended.
    pub out: Option<&'r Path>,
    /// Whether http is allowed, too, and no proxy is used: for a server on this machine.
    pub local: bool,
}

/// The proxy for https, and the hosts that need none; where one is missing curl looks into its environment.
#[derive(Clone, Debug, Default)]
pub struct HttpProxy {
    /// The proxy's URL.
    pub https: Option<String>,
    /// Hosts, separated by commas.
    pub except: Option<String>,
}

/// The response to a request; of the last request if there were redirects.
#[derive(Clone, Debug, Default)]
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// The header fields, names in lower case.
    pub fields: Vec<(String, String)>,
    /// The body, unless it was written to a file.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// The first header field of this name, in lower case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Why a request got no response, by curl's exit status (curl(1), EXIT CODES).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The connection failed, was cut, or took too long: another attempt may succeed.
    Connection,
    /// The server cannot send a file from the middle.
    NoRanges,
    /// Anything else: the host has no address, the certificate is not trusted …
    Other,
}

/// Why the request that failed with `error` got no response.
#[must_use]
pub fn trouble(error: &anyhow::Error) -> Trouble {
    match exit_of(error) {
        Some(Exit::Status(7 | 16 | 18 | 28 | 52 | 55 | 56 | 92)) => Trouble::Connection,
        Some(Exit::Status(33)) => Trouble::NoRanges,
        _ => Trouble::Other,
    }
}

/// A file that only we and our child see: on Linux in memory.
#[cfg(target_os = "linux")]
fn nameless(name: &str) -> std::io::Result<File> {
    Ok(rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

#[cfg(not(target_os = "linux"))]
fn nameless(_: &str) -> std::io::Result<File> {
    tempfile::tempfile()
}

/// A file without a name that curl opens by a path.
struct Shared {
    file: File,
    path: String,
    childs: OwnedFd,
}

impl Shared {
    fn new(name: &str) -> Result<Self> {
        let file = nameless(name).context("cannot make a file without a name")?;
        let childs = OwnedFd::from(file.try_clone()?);
        Ok(Self { path: format!("/dev/fd/{}", childs.as_raw_fd()), file, childs })
    }

    fn holding(name: &str, bytes: &[u8]) -> Result<Self> {
        let mut shared = Self::new(name)?;
        shared.file.write_all(bytes).context("cannot write to a file without a name")?;
        // On Linux whoever opens the path begins at the start; elsewhere at the place where we are.
        shared.file.seek(SeekFrom::Start(0)).context("cannot go to the start of a file")?;
        Ok(shared)
    }
}

/// Sends a request and reads its response. A status of 400 or more is no error here. curl sends the field `Authorization` to no other host
/// than that of the URL, even if the server redirects it.
pub fn send(tools: &Tools, request: &HttpRequest<'_>, proxy: &HttpProxy, deadlines: Deadlines) -> Result<HttpResponse> {
    let (header, body) = (Shared::new("header")?, Shared::new("body")?);
    let mut lines = settings(request, deadlines);
    lines.push(format!("dump-header = {}", quoted(&header.path)));
    lines.push(match request.out {
        Some(out) => format!("output = {}\nfail\ncontinue-at = -", quoted(&out.display().to_string())),
        // The length in the response to HEAD is that of a body that does not come.
        None if request.method == "HEAD" => format!("output = {}", quoted(&body.path)),
        None => format!("output = {}\nmax-filesize = {MOST}", quoted(&body.path)),
    });
    let mut cmd = tools.cmd(Tool::Curl)?.step(format!("asking {}", host(request.url)));
    if let Some(https) = &proxy.https {
        cmd = cmd.secret_env("https_proxy", https);
    }
    if let Some(except) = &proxy.except {
        cmd = cmd.env("no_proxy", except);
    }
    match request.body {
        HttpBody::Empty => {}
        HttpBody::Bytes(bytes) => {
            let data = Shared::holding("data", bytes)?;
            lines.push(format!("data-binary = {}", quoted(&format!("@{}", data.path))));
            cmd = cmd.keep_fd(data.childs);
        }
        HttpBody::File(path, from) => {
            let cannot = || format!("cannot read `{}`", path.display());
            let mut file = File::open(path).with_context(cannot)?;
            let length = file.metadata().with_context(cannot)?.len().saturating_sub(from);
            file.seek(SeekFrom::Start(from)).with_context(cannot)?;
            lines.push(format!("upload-file = \"-\"\nheader = \"Transfer-Encoding:\"\nheader = \"Content-Length: {length}\""));
            cmd = cmd.stdin_open(file);
        }
    }
    let config = Shared::holding("config", (lines.join("\n") + "\n").as_bytes())?;
    let cmd = cmd.args(["--disable", "--config", &config.path]);
    let ended = cmd.keep_fd(config.childs).keep_fd(header.childs).keep_fd(body.childs).run();
    let (status, fields) = parse(&String::from_utf8_lossy(&read_all(header.file, MOST)?));
    match ended {
        // Because of `fail`: the server has answered with an error.
        Err(error) if exit_of(&error) != Some(Exit::Status(22)) || status < 400 => Err(error),
        _ => Ok(HttpResponse { status, fields, body: read_all(body.file, MOST)? }),
    }
}

/// The lines of curl's configuration file for everything but the bodies.
fn settings(request: &HttpRequest<'_>, deadlines: Deadlines) -> Vec<String> {
    let seconds = |time: Duration| time.as_secs_f32().max(0.1);
    let mut lines: Vec<String> = ["silent", "show-error", "globoff", "location", "max-redirs = 5"].map(str::to_owned).into();
    lines.push(format!("url = {}", quoted(request.url)));
    lines.push(format!("connect-timeout = {}", seconds(deadlines.connect)));
    lines.push(format!("speed-limit = 1\nspeed-time = {}", deadlines.stall.as_secs().max(1)));
    if request.out.is_none() && !matches!(request.body, HttpBody::File(..)) {
        lines.push(format!("max-time = {}", seconds(deadlines.total)));
    }
    match request.method {
        "HEAD" => lines.push("head".to_owned()),
        "GET" => {}
        method => lines.push(format!("request = {}", quoted(method))),
    }
    lines.push(if request.local { "proto = \"=http,https\"\nnoproxy = \"*\"" } else { "proto = \"=https\"" }.to_owned());
    // No body of ours is a form, and a server must not be asked whether it wants the body.
    lines.push("header = \"Expect:\"".to_owned());
    for (name, value) in &request.fields {
        lines.push(format!("header = {}", quoted(&format!("{name}: {value}"))));
    }
    lines
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\r', "\\r");
    format!("\"{escaped}\"")
}

/// The host of a URL, for messages.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

fn read_all(mut file: File, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Status and header fields of the last response in curl's dump of headers; status 0 without one.
fn parse(dump: &str) -> (u16, Vec<(String, String)>) {
    let (mut status, mut fields) = (0, Vec::new());
    for line in dump.lines() {
        if line.starts_with("HTTP/") {
            status = line.split_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
            fields.clear();
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    (status, fields)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::fake, *};

    fn get(url: &str) -> HttpRequest<'_> {
        let fields = vec![("Authorization", "Basic c2VjcmV0".to_owned())];
        HttpRequest { method: "GET", url, fields, body: HttpBody::Empty, out: None, local: true }
    }

    #[test]
    fn no_url_and_no_password_is_an_argument_of_curl() {
        let folder = tempfile::tempdir().unwrap();
        let script = "printf 'HTTP/1.1 200 OK\\r\\nX-Args: %s\\r\\n\\r\\n' \"$*\" > $(sed -n 's/dump-header = \"\\(.*\\)\"/\\1/p' $3)\n\
             grep -e ^url -e Basic $3 > $(sed -n 's/output = \"\\(.*\\)\"/\\1/p' $3)";
        fake::tool(folder.path(), Tool::Curl, script);
        let tools = fake::tools(folder.path());
        let response = send(&tools, &get("http://127.0.0.1:1/a?b=\"c"), &HttpProxy::default(), Deadlines::default()).unwrap();
        assert_eq!(response.status, 200);
        assert!(response.field("x-args").unwrap().starts_with("--disable --config /dev/fd/"), "{response:?}");
        let body = String::from_utf8(response.body).unwrap();
        assert_eq!(body, "url = \"http://127.0.0.1:1/a?b=\\\"c\"\nheader = \"Authorization: Basic c2VjcmV0\"\n");
        fake::tool(folder.path(), Tool::Curl, "echo 'curl: (56) cut' >&2; exit 56");
        let error = send(&fake::tools(folder.path()), &get("https://me:pw@h/a"), &HttpProxy::default(), Deadlines::default()).unwrap_err();
        assert_eq!(trouble(&error), Trouble::Connection);
        let shown = format!("{error:#}");
        assert!(shown.contains("while asking h: exit status 56") && !shown.contains("pw") && !shown.contains("c2Vj"), "{shown}");
    }

    #[test]
    fn of_several_responses_the_last_one_counts() {
        let dump = "HTTP/1.1 307 T\r\nLocation: /b\r\n\r\nHTTP/2 201\r\nDocker-Content-Digest: sha256:0\r\n\r\n";
        assert_eq!(parse(dump), (201, vec![("docker-content-digest".to_owned(), "sha256:0".to_owned())]));
        assert_eq!(parse(""), (0, vec![]));
    }
}
