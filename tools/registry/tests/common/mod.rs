//! A real registry (Debian's docker-registry) with a data folder of its own, and a proxy before it that cuts, delays and corrupts, or asks
//! for a login. Both end when they are dropped.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, missing_docs)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

pub struct Registry {
    child: Child,
    pub address: String,
    pub folder: tempfile::TempDir,
}

/// A line of htpasswd for the user `me` with the password `pass:word`.
const HTPASSWD: &str = "me:$2b$04$Wk949CIrHZ8Dp2wfbGEfVe4elfA6UVpj5k7QZa0mlAuBAq9Xo4Rl6\n";

impl Registry {
    /// Starts one; none, and a skip, if the program is missing.
    pub fn start(with_password: bool) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n",
            data.display()
        );
        if with_password {
            let passwords = folder.path().join("htpasswd");
            fs::write(&passwords, HTPASSWD).unwrap();
            config += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", passwords.display());
        }
        let file = folder.path().join("config.yml");
        fs::write(&file, config).unwrap();
        let program = std::env::var_os("XTASK_TOOL_DOCKER_REGISTRY").unwrap_or_else(|| "docker-registry".into());
        let mut child = match Command::new(program).arg("serve").arg(file).stderr(Stdio::piped()).stdout(Stdio::null()).spawn() {
            Ok(child) => child,
            Err(_) => {
                skips::missing("docker-registry", "docker-registry");
                return None;
            }
        };
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        let address = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "the registry has ended: {text}");
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split('"').next().unwrap().trim().to_owned();
            }
            text += &line;
        };
        // It would stop if nobody read its log.
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Some(Self { child, address, folder })
    }

    /// The file of a blob.
    pub fn blob(&self, digest: &str) -> std::path::PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        self.folder.path().join(format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the proxy does to requests whose first line contains `on`, as long as `times` allows.
#[derive(Clone, Debug)]
pub struct Fault {
    pub on: &'static str,
    pub times: usize,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    /// Cuts the connection after so many bytes of the response.
    CutResponse(usize),
    /// Cuts the connection after so many bytes of the request.
    CutRequest(usize),
    /// Changes the byte of the response at this place, if it has so many.
    Corrupt(usize),
    /// Sends nothing.
    Silence,
    /// Answers with these bytes.
    Answer(String),
}

pub struct Proxy {
    pub address: SocketAddr,
    pub requests: Arc<Mutex<Vec<String>>>,
    pub connections: Arc<AtomicUsize>,
}

impl Proxy {
    /// A proxy before `to`. With `token`, it wants that token (RFC 6750) and gives it to the user `me`.
    pub fn before(to: &str, faults: Vec<Fault>, token: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let state = Arc::new(State { to: to.to_owned(), address, faults: Mutex::new(faults), token, requests: Arc::clone(&requests) });
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let state = Arc::clone(&state);
                thread::spawn(move || state.serve(stream));
            }
        });
        Self { address, requests, connections }
    }

    /// The first lines of the requests that contain `text`.
    pub fn seen(&self, text: &str) -> Vec<String> {
        self.requests.lock().unwrap().iter().filter(|line| line.contains(text)).cloned().collect()
    }
}

struct State {
    to: String,
    address: SocketAddr,
    faults: Mutex<Vec<Fault>>,
    token: Option<&'static str>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl State {
    /// Serves the one request of a connection: curl opens one for each.
    fn serve(&self, mut client: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if client.read(&mut byte).unwrap_or(0) == 0 {
                return;
            }
            head.push(byte[0]);
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let first = text.lines().next().unwrap().to_owned();
        let fields = text.lines().filter(|line| ["range:", "content-range:", "content-length:"].iter().any(|name| starts_with(line, name)));
        let fields: Vec<&str> = fields.collect();
        self.requests.lock().unwrap().push(format!("{first} {}", fields.join(" ")));
        if let Some(token) = self.token
            && let Some(response) = self.authorize(&text, &first, token)
        {
            let _ = client.write_all(response.as_bytes());
            return;
        }
        let fault = {
            let mut faults = self.faults.lock().unwrap();
            faults.iter_mut().find(|fault| fault.times > 0 && first.contains(fault.on)).map(|fault| {
                fault.times -= 1;
                fault.what.clone()
            })
        };
        match &fault {
            Some(What::Silence) => return thread::sleep(Duration::from_secs(120)),
            Some(What::Answer(answer)) => {
                // A connection that is closed before its request is read is reset.
                let length =
                    text.lines().find(|line| starts_with(line, "content-length:")).and_then(|line| line.split(' ').nth(1)?.parse().ok());
                let _ = std::io::copy(&mut (&client).take(length.unwrap_or(0)), &mut std::io::sink());
                return drop(client.write_all(answer.as_bytes()));
            }
            _ => {}
        }
        let Ok(mut server) = TcpStream::connect(&self.to) else { return };
        // The registry closes after the response; it shall not see the token.
        let kept: Vec<&str> = text.trim_end().lines().filter(|line| self.token.is_none() || !line.starts_with("Authorization")).collect();
        server.write_all(format!("{}\r\nConnection: close\r\n\r\n", kept.join("\r\n")).as_bytes()).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let limit = if let Some(What::CutRequest(limit)) = &fault { Some(*limit) } else { None };
        thread::spawn(move || {
            if let Some(limit) = limit {
                let _ = std::io::copy(&mut (&mut from).take(limit as u64), &mut to);
                let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            } else {
                let _ = std::io::copy(&mut from, &mut to);
            }
        });
        match &fault {
            Some(What::CutResponse(limit)) => drop(std::io::copy(&mut server.take(*limit as u64), &mut client)),
            Some(What::Corrupt(at)) => {
                let mut bytes = Vec::new();
                let _ = server.read_to_end(&mut bytes);
                if let Some(byte) = bytes.get_mut(*at) {
                    *byte ^= 1;
                }
                let _ = client.write_all(&bytes);
            }
            _ => drop(std::io::copy(&mut server, &mut client)),
        }
        let _ = client.shutdown(Shutdown::Both);
    }

    /// The response to a request without the right token, or for a token; none if it may pass.
    fn authorize(&self, head: &str, first: &str, token: &str) -> Option<String> {
        let has = |text: &str| head.lines().any(|line| line.to_ascii_lowercase().starts_with("authorization:") && line.ends_with(text));
        let respond = |status: &str, field: &str, body: &str| {
            format!("HTTP/1.1 {status}\r\n{field}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
        };
        if first.starts_with("GET /token?") {
            let scoped = first.contains("scope=repository%3Ateam%2Feve-x%3A") && first.contains("service=a%20test");
            // me:pass:word
            return Some(match scoped && has("Basic bWU6cGFzczp3b3Jk") {
                true => respond("200 OK", "", &format!("{{\"token\": \"{token}\"}}")),
                false => respond("401 Unauthorized", "", "{}"),
            });
        }
        if has(&format!("Bearer {token}")) {
            return None;
        }
        let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{}/token\",service=\"a test\"\r\n", self.address);
        Some(respond("401 Unauthorized", &challenge, "{}"))
    }
}

fn starts_with(line: &str, name: &str) -> bool {
    line.to_ascii_lowercase().starts_with(name)
}

/// Runs a program and returns its standard output.
pub fn output(program: &str, args: &[&str]) -> String {
    let done = Command::new(program).args(args).output().unwrap();
    assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// Whether skopeo is on this machine; a skip if not.
pub fn has_skopeo() -> bool {
    let there = Command::new("skopeo").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    if !there {
        skips::missing("skopeo", "skopeo");
    }
    there
}

/// Writes docker's configuration with this login for `host` into `folder`.
pub fn log_in(folder: &Path, host: &str, login: &str) {
    fs::write(folder.join("config.json"), format!("{{\"auths\": {{\"{host}\": {{\"auth\": \"{login}\"}}}}}}")).unwrap();
}
