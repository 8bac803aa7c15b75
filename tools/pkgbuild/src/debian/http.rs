//! A minimal HTTP/1.1 client (RFC 9112) for mirrors: GET with an optional range, redirects, and proxies in absolute-form like
//! apt (proxies refuse CONNECT to port 80). One connection per request. No TLS: the digests of all files are checked.

use super::Proxy;
use anyhow::{Context as _, Result, bail};
use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    time::Duration,
};

/// Timeout of connecting and of each read.
const PATIENCE: Duration = Duration::from_secs(30);
/// Size limit of a response's header in bytes.
const MAX_HEAD: u64 = 64 << 10;
const MAX_REDIRECTS: usize = 5;

/// A parsed `http://[user:password@]host[:port]/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Url {
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
        let Some(rest) = url.strip_prefix("http://") else { bail!("`{shown}` is not an http:// URL") };
        if !url.bytes().all(|b| b.is_ascii_graphic()) {
            bail!("`{shown}` contains invalid characters");
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (login, server) = authority.rsplit_once('@').map_or((None, authority), |(login, server)| (Some(login.to_owned()), server));
        let (host, port) = match server.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().with_context(|| format!("invalid port in `{shown}`"))?),
            _ => (server, 80),
        };
        if host.is_empty() {
            bail!("`{shown}` has no host");
        }
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { login, host: host.to_owned(), port, path: path.to_owned() })
    }

    fn authority(&self) -> String {
        if self.port == 80 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

/// Sends requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    proxy: Option<Url>,
    except: Vec<String>,
}

/// A response: parsed header, unread body.
#[derive(Debug)]
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
}

impl Client {
    pub fn new(proxy: &Proxy) -> Result<Self> {
        let given = proxy.http.as_deref().map(str::trim).filter(|given| !given.is_empty());
        let url = given.map(|given| match given.split_once("://") {
            None => Url::parse(&format!("http://{given}")),
            Some(_) => Url::parse(given),
        });
        // The address may contain a password, so the message does not repeat it.
        let proxy_url = match url.transpose() {
            Ok(url) => url,
            Err(_) => bail!("the proxy's address does not have the form http://[user:password@]host[:port]"),
        };
        let except = proxy.except.as_deref().unwrap_or_default().split(',').map(|e| e.trim().to_owned()).filter(|e| !e.is_empty());
        Ok(Self { proxy: proxy_url, except: except.collect() })
    }

    /// Requests `url`, from byte `from` on if that is not 0; follows redirects. Errors are network errors and worth a retry;
    /// the server's errors are in the response's status.
    pub fn get(&self, url: &str, from: u64) -> Result<Response> {
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.ask(&Url::parse(&url)?, from).with_context(|| format!("cannot fetch `{}`", without_login(&url)))?;
            let (301 | 302 | 303 | 307 | 308, Some(target)) = (response.status, response.header("location")) else { return Ok(response) };
            url = if target.starts_with('/') { format!("http://{}{target}", Url::parse(&url)?.authority()) } else { target.to_owned() };
        }
        bail!("`{}` is redirected more than {MAX_REDIRECTS} times", without_login(&url))
    }

    fn ask(&self, url: &Url, from: u64) -> Result<Response> {
        let proxy = self.proxy.as_ref().filter(|_| !self.is_direct(&url.host));
        let server = proxy.unwrap_or(url);
        let stream = connect(server)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let authority = url.authority();
        let target = if proxy.is_some() { format!("http://{authority}{}", url.path) } else { url.path.clone() };
        let mut head = format!(
            "GET {target} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: eve-xtask\r\nAccept-Encoding: identity\r\nConnection: close\r\n"
        );
        if from > 0 {
            head += &format!("Range: bytes={from}-\r\n");
        }
        for (field, login) in [("Authorization", &url.login), ("Proxy-Authorization", &proxy.and_then(|p| p.login.clone()))] {
            if let Some(login) = login {
                head += &format!("{field}: Basic {}\r\n", base64(&percent_decode(login)));
            }
        }
        (&stream).write_all((head + "\r\n").as_bytes()).context("cannot send the request")?;
        read_head(stream)
    }

    /// Whether `no_proxy` contains the host, one of its parent domains, or `*`.
    fn is_direct(&self, host: &str) -> bool {
        self.except.iter().any(|entry| {
            let domain = entry.trim_start_matches("*.").trim_start_matches('.');
            entry == "*" || host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
        })
    }
}

fn connect(url: &Url) -> Result<TcpStream> {
    let host = url.host.trim_start_matches('[').trim_end_matches(']');
    let addresses = (host, url.port).to_socket_addrs().with_context(|| format!("cannot resolve the host `{host}`"))?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error).with_context(|| format!("cannot connect to `{host}` port {}", url.port)),
        None => bail!("the host `{host}` has no address"),
    }
}

fn read_head(stream: TcpStream) -> Result<Response> {
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
#[derive(Debug)]
pub(super) struct Body {
    reader: BufReader<TcpStream>,
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

fn broken(what: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::UnexpectedEof, what.to_owned())
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

    #[test]
    fn addresses_are_taken_apart() {
        let url = Url::parse("http://me:p%40ss@host.example:8080/a/b?c").unwrap();
        assert_eq!((url.authority().as_str(), url.path.as_str()), ("host.example:8080", "/a/b?c"));
        assert_eq!(base64(&percent_decode(&url.login.unwrap())), "bWU6cEBzcw==");
        assert_eq!(Url::parse("http://[::1]/").unwrap().port, 80);
        assert_eq!(Url::parse("http://[::1]:81").unwrap().port, 81);
        for bad in ["https://host/", "http:///x", "http://host:port/", "http://host/a b", "http://host/\r\nX: y"] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
        assert_eq!((base64(b""), base64(b"a"), base64(b"ab"), base64(b"abc")), ("".into(), "YQ==".into(), "YWI=".into(), "YWJj".into()));
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
        let proxy = Proxy { http: Some("user:secret@proxy:3128".into()), except: Some("one.example, .two.example,localhost".into()) };
        let client = Client::new(&proxy).unwrap();
        assert!(client.is_direct("one.example") && client.is_direct("a.one.example") && client.is_direct("b.two.example"));
        assert!(!client.is_direct("three.example") && !client.is_direct("notone.example"));
        let bad = Proxy { http: Some("socks5://user:secret@proxy".into()), except: None };
        assert!(!format!("{:#}", Client::new(&bad).unwrap_err()).contains("secret"));
    }
}
