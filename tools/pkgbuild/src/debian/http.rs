//! A minimal HTTP/1.1 client (RFC 9112) for mirrors: GET with an optional range, redirects, and proxies in absolute-form like
//! apt (proxies refuse CONNECT to port 80). One connection per request, which has a deadline. https goes through the caller's [`Tls`].

use super::{
    hosts::Hosts,
    network::{Network, Proxy, Tls},
};
use anyhow::{Context as _, Result, bail};
use std::{
    io::{BufRead as _, BufReader, Error, ErrorKind, Read, Write as _},
    sync::Arc,
    time::{Duration, Instant},
};

/// Size limit of a response's header in bytes.
const MAX_HEAD: u64 = 64 << 10;
const MAX_REDIRECTS: usize = 5;

/// A parsed `http://[user:password@]host[:port]/path`, or with `https`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Url {
    secure: bool,
    login: Option<String>,
    host: String,
    port: u16,
    path: String,
}

/// The URL without user and password, for messages.
pub(super) fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, server)) => format!("{scheme}://{server}{path}"),
        None => url.to_owned(),
    }
}

impl Url {
    fn parse(url: &str) -> Result<Self> {
        let shown = without_login(url);
        let (secure, rest) = match url.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => bail!("`{shown}` is neither an http:// nor an https:// URL"),
        };
        if !url.bytes().all(|b| b.is_ascii_graphic()) {
            bail!("`{shown}` contains invalid characters");
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (login, server) = authority.rsplit_once('@').map_or((None, authority), |(login, server)| (Some(login.to_owned()), server));
        let (host, port) = match server.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().with_context(|| format!("invalid port in `{shown}`"))?),
            _ => (server, if secure { 443 } else { 80 }),
        };
        if host.is_empty() {
            bail!("`{shown}` has no host");
        }
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { secure, login, host: host.to_owned(), port, path: path.to_owned() })
    }

    fn authority(&self) -> String {
        let usual = if self.secure { 443 } else { 80 };
        if self.port == usual { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// The URL that `target`, the Location of a response to this one, names.
    fn follow(&self, target: &str) -> Result<Self> {
        if target.starts_with('/') && !target.starts_with("//") {
            let scheme = if self.secure { "https" } else { "http" };
            return Ok(Self { login: self.login.clone(), ..Self::parse(&format!("{scheme}://{}{target}", self.authority()))? });
        }
        let next = Self::parse(target)?;
        if self.secure && !next.secure {
            bail!("`{}` has no encryption, and the server that names it has", without_login(target));
        }
        Ok(next)
    }
}

impl std::fmt::Display for Url {
    /// Without user and password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", if self.secure { "https" } else { "http" }, self.authority(), self.path)
    }
}

/// Sends requests.
#[derive(Clone, Debug)]
pub(super) struct Client {
    proxy: Option<Url>,
    /// The proxy for https: curl reads it, so it may be one of a kind that we do not know.
    secure_proxy: Option<String>,
    except: Vec<String>,
    tls: Option<Arc<dyn Tls>>,
    patience: Duration,
    hosts: Arc<Hosts>,
}

/// A response: parsed header, unread body.
pub(super) struct Response {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Body,
}

impl Response {
    /// A header's value; `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// FIRST of `Content-Range: bytes FIRST-LAST/SIZE`.
    pub fn range_start(&self) -> Option<u64> {
        self.header("content-range")?.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
    }

    /// The length of the body, if the header says it.
    pub fn length(&self) -> Option<u64> {
        match self.body.rest {
            Rest::Bytes(length) => Some(length),
            _ => None,
        }
    }
}

impl Client {
    pub fn new(network: &Network) -> Result<Self> {
        let Proxy { http, https, except } = &network.proxy;
        let given = |proxy: &Option<String>| proxy.as_deref().map(str::trim).filter(|given| !given.is_empty()).map(str::to_owned);
        let url = given(http).map(|given| if given.contains("://") { Url::parse(&given) } else { Url::parse(&format!("http://{given}")) });
        // The address may contain a password, so the message does not repeat it.
        let proxy = match url.transpose() {
            Ok(url) if url.as_ref().is_none_or(|url| !url.secure) => url,
            _ => bail!("the proxy's address does not have the form http://[user:password@]host[:port]"),
        };
        let except = except.as_deref().unwrap_or_default().split([',', ' ']).map(|e| e.trim().to_ascii_lowercase());
        let except = except.filter(|entry| !entry.is_empty()).collect();
        let (tls, patience) = (network.tls.clone(), network.limits.patience);
        Ok(Self { proxy, secure_proxy: given(https), except, tls, patience, hosts: Arc::default() })
    }

    /// Requests `url`, from byte `from` on if that is not 0; follows redirects. The body can be read until `deadline`. Errors are network
    /// errors and worth a retry; the server's errors are in the response's status.
    pub fn get(&self, url: &str, from: u64, deadline: Instant) -> Result<Response> {
        let mut next = Url::parse(url)?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.ask(&next, from, deadline).with_context(|| format!("cannot fetch `{next}`"))?;
            let (301 | 302 | 303 | 307 | 308, Some(target)) = (response.status, response.header("location")) else { return Ok(response) };
            next = next.follow(target).with_context(|| format!("`{next}` is redirected, and the target is refused"))?;
        }
        bail!("`{}` is redirected more than {MAX_REDIRECTS} times", without_login(url))
    }

    fn ask(&self, url: &Url, from: u64, deadline: Instant) -> Result<Response> {
        let mut fields = vec![("User-Agent", "eve-xtask".to_owned()), ("Accept-Encoding", "identity".to_owned())];
        if from > 0 {
            fields.push(("Range", format!("bytes={from}-")));
        }
        if let Some(login) = &url.login {
            fields.push(("Authorization", format!("Basic {}", base64(&percent_decode(login)))));
        }
        if url.secure {
            let tls = self.tls.as_ref().context("nothing here speaks https")?;
            let proxy = self.secure_proxy.as_deref().filter(|_| !self.is_direct(url));
            let limit = left(deadline)?;
            let inner = tls.get(&url.to_string(), &fields, proxy, limit)?;
            return read_head(Until { inner, deadline, limit: Box::new(|_| Ok(())) });
        }
        let proxy = self.proxy.as_ref().filter(|_| !self.is_direct(url));
        if let Some(login) = proxy.and_then(|proxy| proxy.login.as_ref()) {
            fields.push(("Proxy-Authorization", format!("Basic {}", base64(&percent_decode(login)))));
        }
        let patience = self.patience;
        let server = proxy.unwrap_or(url);
        let host = server.host.trim_start_matches('[').trim_end_matches(']');
        let stream = self.hosts.connect(host, server.port, patience.min(left(deadline)?))?;
        stream.set_write_timeout(Some(patience))?;
        let target = if proxy.is_some() { url.to_string() } else { url.path.clone() };
        let mut head = format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", url.authority());
        fields.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        (&stream).write_all((head + "\r\n").as_bytes()).context("cannot send the request")?;
        let timed = stream.try_clone()?;
        let limit = Box::new(move |left: Duration| timed.set_read_timeout(Some(patience.min(left))));
        read_head(Until { inner: Box::new(stream), deadline, limit })
    }

    /// Whether `no_proxy` contains the host, one of its parent domains, one of both with the port, or `*`.
    fn is_direct(&self, url: &Url) -> bool {
        let host = url.host.to_ascii_lowercase();
        self.except.iter().any(|entry| {
            let entry = entry.strip_suffix(&format!(":{}", url.port)).unwrap_or(entry);
            let domain = entry.trim_start_matches("*.").trim_start_matches('.');
            entry == "*" || host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
        })
    }
}

/// The time until `deadline`; an error if none is left.
fn left(deadline: Instant) -> std::io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(too_slow()) } else { Ok(left) }
}

fn too_slow() -> Error {
    Error::new(ErrorKind::TimedOut, "the time for it is over: the server is too slow")
}

/// A stream that can be read until a deadline. `limit` sets how long the next read may take.
struct Until {
    inner: Box<dyn Read>,
    deadline: Instant,
    limit: Box<dyn Fn(Duration) -> std::io::Result<()>>,
}

impl Read for Until {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        (self.limit)(left(self.deadline)?)?;
        self.inner.read(buffer).map_err(|error| match error.kind() {
            // The deadline may be the reason why this read had less time.
            ErrorKind::WouldBlock | ErrorKind::TimedOut if left(self.deadline).is_ok_and(|left| left > Duration::from_millis(10)) => {
                Error::new(ErrorKind::TimedOut, "the server sent nothing for too long")
            }
            ErrorKind::WouldBlock | ErrorKind::TimedOut => too_slow(),
            _ => error,
        })
    }
}

fn read_head(stream: Until) -> Result<Response> {
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    let mut head = (&mut reader).take(MAX_HEAD);
    let mut line = |what: &str| -> Result<String> {
        let mut bytes = Vec::new();
        head.read_until(b'\n', &mut bytes).with_context(|| format!("cannot read the response's {what}"))?;
        if bytes.pop() != Some(b'\n') {
            bail!("the response ends within its {what}");
        }
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    let first = line("status")?;
    let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let status: u16 = status.with_context(|| format!("`{first}` is not an HTTP response"))?;
    let mut headers = Vec::new();
    loop {
        let line = line("head")?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let mut response = Response { status, headers, body: Body { reader, rest: Rest::UntilEnd } };
    if response.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        response.body.rest = Rest::Chunks(0);
    } else if let Some(length) = response.header("content-length") {
        response.body.rest = Rest::Bytes(length.parse().with_context(|| format!("the length `{length}` is not a number"))?);
    }
    Ok(response)
}

/// Body of a response. A premature end is an error of kind `UnexpectedEof`.
pub(super) struct Body {
    reader: BufReader<Until>,
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    Bytes(u64),
    UntilEnd,
    /// Bytes left in the current chunk.
    Chunks(u64),
    Nothing,
}

impl Body {
    fn chunk_line(&mut self) -> std::io::Result<String> {
        let mut bytes = Vec::new();
        (&mut self.reader).take(MAX_HEAD).read_until(b'\n', &mut bytes)?;
        if bytes.pop() != Some(b'\n') {
            return Err(broken("the response ends between two chunks"));
        }
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::UnexpectedEof, what.to_owned())
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if let Rest::Chunks(0) = self.rest {
            let line = self.chunk_line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| broken("invalid size of a chunk"))?;
            self.rest = if size == 0 { Rest::Nothing } else { Rest::Chunks(size) };
        }
        let left = match self.rest {
            Rest::Nothing => 0,
            Rest::UntilEnd => return self.reader.read(buffer),
            Rest::Bytes(left) | Rest::Chunks(left) => left,
        };
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let got = self.reader.read(&mut buffer[..most])?;
        if got == 0 {
            return Err(broken("the connection was closed too early"));
        }
        let left = left - got as u64;
        self.rest = match self.rest {
            Rest::Chunks(_) => {
                if left == 0 {
                    // The line end after a chunk's data.
                    self.chunk_line()?;
                }
                Rest::Chunks(left)
            }
            _ => Rest::Bytes(left),
        };
        Ok(got)
    }
}

fn percent_decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..2).filter(|_| *first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn client(proxy: Proxy) -> Result<Client> {
        Client::new(&Network { proxy, ..Network::default() })
    }

    #[test]
    fn addresses_are_taken_apart() {
        let url = Url::parse("http://me:p%40ss@host.example:8080/a/b?c").unwrap();
        assert_eq!((url.authority().as_str(), url.path.as_str()), ("host.example:8080", "/a/b?c"));
        assert_eq!(base64(&percent_decode(&url.login.unwrap())), "bWU6cEBzcw==");
        assert_eq!(Url::parse("http://[::1]/").unwrap().port, 80);
        assert_eq!(Url::parse("http://[::1]:81").unwrap().port, 81);
        assert_eq!(Url::parse("https://host/a").unwrap().to_string(), "https://host/a");
        assert_eq!(Url::parse("https://host:80").unwrap().to_string(), "https://host:80/");
        for (bad, message) in [
            ("ftp://host/", "is neither an http:// nor an https:// URL"),
            ("file:///etc/passwd", "is neither an http:// nor an https:// URL"),
            ("http:///x", "`http:///x` has no host"),
            ("http://host:port/", "invalid port in `http://host:port/`"),
            ("http://host/a b", "contains invalid characters"),
            ("http://host/\r\nX: y", "contains invalid characters"),
        ] {
            let error = format!("{:#}", Url::parse(bad).unwrap_err());
            assert!(error.contains(message), "{error}");
        }
        assert_eq!((base64(b""), base64(b"a"), base64(b"ab"), base64(b"abc")), ("".into(), "YQ==".into(), "YWI=".into(), "YWJj".into()));
    }

    #[test]
    fn redirects_keep_a_login_on_one_host_and_encryption_everywhere() {
        let url = Url::parse("https://me:pw@host:444/a").unwrap();
        assert_eq!(url.follow("/b").unwrap(), Url::parse("https://me:pw@host:444/b").unwrap());
        assert_eq!(url.follow("https://other/b").unwrap().login, None);
        for (target, message) in [("http://host/b", "has no encryption"), ("file:///b", "is neither"), ("//other/b", "is neither")] {
            let error = url.follow(target).unwrap_err().to_string();
            assert!(error.contains(message), "{target}: {error}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(without_login("http://me:s3cret@h:80/a@b"), "http://h:80/a@b");
        assert_eq!(without_login("http://h/a@b"), "http://h/a@b");
        let error = format!("{:#}", Url::parse("http://me:s3cret@h:port/").expect_err("no port"));
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn no_proxy_names_hosts_and_domains() {
        let except = Some("one.example, .Two.example,localhost:8080 *.four.example".to_owned());
        let client_of = client(Proxy { http: Some("user:secret@proxy:3128".into()), except, ..Proxy::default() }).unwrap();
        let is_direct = |host: &str| client_of.is_direct(&Url::parse(&format!("http://{host}/")).unwrap());
        assert!(is_direct("one.example") && is_direct("a.ONE.example") && is_direct("b.two.example") && is_direct("a.four.example"));
        assert!(is_direct("localhost:8080") && !is_direct("localhost"));
        assert!(!is_direct("three.example") && !is_direct("notone.example"));
        for bad in ["socks5://user:secret@proxy", "https://user:secret@proxy"] {
            let bad = Proxy { http: Some(bad.into()), ..Proxy::default() };
            assert!(!format!("{:#}", client(bad).unwrap_err()).contains("secret"));
        }
    }
}
