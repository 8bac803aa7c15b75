//! Downloads from a server with the faults that mirrors have.

use super::*;
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

/// The server's reaction to a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    Serve,
    /// Announces the whole length, closes after this many bytes.
    Cut(usize),
    /// Ignores the range and sends everything.
    NoRange,
    /// Answers with another range.
    OddRange,
    Status(u16),
    Chunked,
    Garble,
    /// Announces no length, and sends more and more.
    Endless,
    /// Sends header lines without end.
    EndlessHead,
    /// Sends a byte now and then.
    Slow,
    /// Sends nothing.
    Silent,
    Redirect(&'static str),
}

#[derive(Clone, Default)]
pub(super) struct Server {
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    /// Reactions to the next requests.
    acts: Arc<Mutex<Vec<Act>>>,
    /// Reactions to every request for a path that ends so.
    pub(super) faults: Arc<Mutex<Vec<(&'static str, Act)>>>,
    /// Received request lines and ranges.
    log: Arc<Mutex<Vec<String>>>,
    pub(super) root: String,
}

impl Server {
    pub(super) fn start(acts: &[Act]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let root = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { acts: Arc::new(Mutex::new(acts.to_vec())), root, ..Self::default() };
        let own = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // The client may close the connection first.
                let _ = own.answer(&stream);
            }
        });
        server
    }

    pub(super) fn put(&self, path: &str, bytes: &[u8]) {
        self.files.lock().unwrap().insert(path.to_owned(), bytes.to_vec());
    }

    pub(super) fn remove(&self, path: &str) {
        self.files.lock().unwrap().remove(path);
    }

    fn answer(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let from = head.iter().find_map(|line| line.strip_prefix("Range: bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        self.log.lock().unwrap().push(format!("{request}{}", from.map(|from| format!(" from {from}")).unwrap_or_default()));
        let target = request.split(' ').nth(1).unwrap_or_default();
        let path = target.strip_prefix("http://far.example").unwrap_or(target).trim_start_matches('/');
        let act = {
            let mut acts = self.acts.lock().unwrap();
            let fault = self.faults.lock().unwrap().iter().find(|(ending, _)| path.ends_with(ending)).map(|(_, act)| *act);
            fault.unwrap_or_else(|| if acts.is_empty() { Act::Serve } else { acts.remove(0) })
        };
        let Some(bytes) = self.files.lock().unwrap().get(path).cloned() else {
            return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        };
        let rest = &bytes[from.unwrap_or(0).min(bytes.len())..];
        let partial = |start: usize, rest: &[u8]| {
            format!(
                "HTTP/1.1 206 Partial\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{}\r\n\r\n",
                rest.len(),
                bytes.len() - 1,
                bytes.len()
            )
        };
        let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
        let head = from.map_or(whole.clone(), |from| partial(from, rest));
        match act {
            Act::Serve => stream.write_all(&[head.as_bytes(), rest].concat()),
            Act::Cut(length) => stream.write_all(&[head.as_bytes(), &rest[..length]].concat()),
            Act::NoRange => stream.write_all(&[whole.as_bytes(), &bytes].concat()),
            Act::OddRange => stream.write_all(&[partial(0, &bytes).as_bytes(), &bytes].concat()),
            Act::Status(status) => stream.write_all(format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n").as_bytes()),
            Act::Chunked => {
                let (one, two) = bytes.split_at(3);
                let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\n".to_vec();
                stream.write_all(&[&head, one, format!("\r\n{:x}\r\n", two.len()).as_bytes(), two, b"\r\n0\r\n\r\n"].concat())
            }
            Act::Endless | Act::EndlessHead | Act::Slow => {
                let (head, piece): (&[u8], &[u8]) = match act {
                    Act::Endless => (b"HTTP/1.1 200 OK\r\n\r\n", &[b'#'; 4096]),
                    Act::EndlessHead => (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
                    _ => (b"HTTP/1.1 200 OK\r\n\r\n", b"#"),
                };
                stream.write_all(head)?;
                // Until the client has enough of it.
                loop {
                    stream.write_all(piece)?;
                    if matches!(act, Act::Slow) {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
            }
            Act::Silent => std::io::Read::read(&mut stream, &mut [0]).map(drop),
            Act::Redirect(to) => {
                let to = to.replace("HERE", &self.root);
                stream.write_all(format!("HTTP/1.1 302 x\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").as_bytes())
            }
            Act::Garble => stream.write_all(&[head.as_bytes(), &vec![b'#'; rest.len()]].concat()),
        }
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().iter().map(|line| line.replace("GET /", "").replace(" HTTP/1.1", "")).collect()
    }
}

pub(super) const BYTES: &[u8] = b"0123456789abcdefghij";

fn store(folder: &Path, proxy: &Proxy) -> Store {
    let network = Network { proxy: proxy.clone(), ..Network::default() };
    Store::open(folder, &network).unwrap().with_waits(&[Duration::ZERO; 3])
}

pub(super) fn lock_of(pins: &[Pin]) -> Lock {
    Lock { pins: pins.iter().map(|pin| (pin.name.clone(), pin.clone())).collect() }
}

pub(super) fn fetch(store: &Store, lock: &Lock, root: &str, policy: Policy) -> anyhow::Result<Fetched> {
    let mirrors = Mirrors { debian: vec![root.to_owned()], security: Vec::new() };
    store.fetch_all(lock, "bookworm", "amd64", &mirrors, policy, &|progress| assert!(progress.files_done <= progress.files))
}

/// Downloads one file from a server with these faults; returns the requests and the result.
fn one(acts: &[Act]) -> (Vec<String>, Result<(), String>) {
    let folder = tempfile::tempdir().unwrap();
    let (server, pin) = (Server::start(acts), pin_of("aa", "1", BYTES, &[]));
    server.put(&pin.path, BYTES);
    let store = store(folder.path(), &Proxy::default());
    let result = fetch(&store, &lock_of(std::slice::from_ref(&pin)), &server.root, Policy::default());
    match &result {
        Ok(fetched) => assert_eq!(std::fs::read(&fetched.files[0].1).unwrap(), BYTES),
        Err(_) => assert!(store.find(&pin).is_none()),
    }
    let asked = server.log().into_iter().map(|line| line.replace(&pin.path, "deb")).collect();
    (asked, result.map(drop).map_err(|error| format!("{error:#}").replace(&server.root, "")))
}

#[test]
fn passing_failures_are_tried_again_and_resumed() {
    assert_eq!(one(&[]), (vec!["deb".into()], Ok(())));
    assert_eq!(one(&[Act::Cut(5), Act::Cut(4)]), (vec!["deb".into(), "deb from 5".into(), "deb from 9".into()], Ok(())));
    assert_eq!(one(&[Act::Cut(5), Act::NoRange]), (vec!["deb".into(), "deb from 5".into()], Ok(())));
    assert_eq!(one(&[Act::Cut(5), Act::OddRange]), (vec!["deb".into(), "deb from 5".into(), "deb".into()], Ok(())));
    assert_eq!(one(&[Act::Cut(5), Act::Status(416)]), (vec!["deb".into(), "deb from 5".into(), "deb".into()], Ok(())));
    assert_eq!(one(&[Act::Status(503), Act::Status(429)]).1, Ok(()));
    assert_eq!(one(&[Act::Chunked]), (vec!["deb".into()], Ok(())));
    // A complete but wrong file made of two parts is discarded once.
    assert_eq!(one(&[Act::Cut(5), Act::Garble]), (vec!["deb".into(), "deb from 5".into(), "deb".into()], Ok(())));
}

#[test]
fn lasting_failures_are_told() {
    let (asked, result) = one(&[Act::Cut(1); 9]);
    assert_eq!(asked.len(), 4);
    assert!(result.unwrap_err().starts_with("cannot download `aa` 1: the transfer of `/pool/main/aa_1_amd64.deb` was interrupted"));
    let (asked, result) = one(&[Act::Garble; 9]);
    let error = result.unwrap_err();
    assert!(asked.len() == 1 && error.contains("has the SHA-256") && error.contains("not the pinned"), "{error}");
    let (asked, result) = one(&[Act::Status(403)]);
    assert_eq!((asked.len(), result.unwrap_err().as_str()), (1, "cannot download `aa` 1: `/pool/main/aa_1_amd64.deb`: status 403"));
    assert!(one(&[Act::Status(500); 9]).1.unwrap_err().ends_with("status 500"));
}

#[test]
fn a_longer_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (server, pin) = (Server::start(&[]), pin_of("aa", "1", BYTES, &[]));
    server.put(&pin.path, &[BYTES, BYTES].concat());
    let error = fetch(&store(folder.path(), &Proxy::default()), &lock_of(&[pin]), &server.root, Policy::default()).unwrap_err();
    assert!(format!("{error:#}").contains("has 40 bytes, not the pinned 20"), "{error:#}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_damaged_rest_of_an_earlier_run_heals() {
    let folder = tempfile::tempdir().unwrap();
    let (server, pin) = (Server::start(&[]), pin_of("aa", "1", BYTES, &[]));
    server.put(&pin.path, BYTES);
    for rest in [&b"#####"[..], &[b'#'; 20], &[b'#'; 30]] {
        let at = folder.path().join(rest.len().to_string());
        let store = store(&at, &Proxy::default());
        std::fs::write(at.join(format!("{}.part", pin.sha256)), rest).unwrap();
        fetch(&store, &lock_of(std::slice::from_ref(&pin)), &server.root, Policy::default()).unwrap();
        assert_eq!(std::fs::read_dir(&at).unwrap().count(), 1);
    }
}

#[test]
fn offline_needs_everything_or_names_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (server, store) = (Server::start(&[]), store(folder.path(), &Proxy::default()));
    let lock = lock_of(&[pin_of("aa", "1", BYTES, &[]), pin_of("bb", "2", b"x", &[])]);
    lock.pins.values().zip([BYTES, b"x"]).for_each(|(pin, bytes)| server.put(&pin.path, bytes));
    let offline = Policy { offline: true };
    let error = fetch(&store, &lock, &server.root, offline).unwrap_err().to_string();
    assert!(
        error.starts_with("2 of 2 Debian packages are not in the store, and --offline forbids downloads: aa 1, bb 2\nhint:"),
        "{error}"
    );
    fetch(&store, &lock, &server.root, Policy::default()).unwrap();
    let asked = server.log().len();
    let again = store.fetch_all(&lock, "bookworm", "amd64", &Mirrors::default(), offline, &|_| ()).unwrap();
    assert_eq!((again.files.len(), server.log().len()), (2, asked));
}

/// Every text that begins with the fingerprint of a key was signed by that key.
#[derive(Debug)]
pub(super) struct FirstLine;

impl Verifier for FirstLine {
    fn verify(&self, keyring: &Path, signed: &Path, signature: Option<&Path>) -> anyhow::Result<Verified> {
        assert!(keyring.metadata().unwrap().len() > 10_000);
        let text = std::fs::read_to_string(signed)?;
        let (signer, text) = match (signature, text.split_once('\n')) {
            (Some(signature), _) => (std::fs::read_to_string(signature)?, text),
            (None, Some((signer, text))) if !signer.contains(':') => (signer.to_owned(), text.to_owned()),
            _ => anyhow::bail!("it is not signed"),
        };
        Ok(Verified { text: text.into_bytes(), signers: vec![signer] })
    }
}

/// In the year 2026.
pub(super) const NOW: i64 = 1_795_000_000;

pub(super) fn from<'a>(store: &'a Store, mirrors: &'a Mirrors) -> IndexSource<'a> {
    IndexSource { store, mirrors, trust: Trust { verifier: &FirstLine, now: NOW } }
}

pub(super) fn xz(text: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    std::io::Read::read_to_end(&mut liblzma::read::XzEncoder::new(text, 0), &mut packed).unwrap();
    packed
}

/// A mirror whose index has `aa` in version 2 only.
pub(super) fn moved_on(server: &Server, new: &[u8]) {
    let pin = pin_of("aa", "2", new, &[]);
    server.put(&pin.path, new);
    let text =
        format!("Package: aa\nVersion: 2\nArchitecture: amd64\nFilename: {}\nSize: {}\nSHA256: {}\n", pin.path, pin.size, pin.sha256);
    let index = xz(text.as_bytes());
    let digest = super::super::download::digest(&mut &index[..]).unwrap();
    for dist in ["bookworm", "bookworm-updates", "bookworm-security", "trixie", "trixie-updates", "trixie-security"] {
        server.put(&format!("dists/{dist}/main/binary-amd64/Packages.xz"), &index);
        let release =
            format!("{}\nCodename: {dist}\nSHA256:\n {digest} {} main/binary-amd64/Packages.xz\n", KEYS[0].fingerprint, index.len());
        server.put(&format!("dists/{dist}/InRelease"), release.as_bytes());
    }
}

#[test]
fn all_pins_that_no_mirror_has_are_named_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (server, store) = (Server::start(&[]), store(folder.path(), &Proxy::default()));
    let pins = [pin_of("aa", "1", BYTES, &[]), pin_of("bb", "2", b"y", &[]), pin_of("cc", "3", b"z", &[])];
    server.put(&pins[1].path, b"y");
    let security = Pin { suite: Suite::Security, ..pins[2].clone() };
    let mirrors = Mirrors { debian: vec![server.root.clone()], security: vec![server.root.clone()] };
    let lock = lock_of(&[pins[0].clone(), pins[1].clone(), security]);
    let error = store.fetch_all(&lock, "bookworm", "amd64", &mirrors, Policy::default(), &|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("no mirror has 2 of 3 ") && error.contains("  aa 1, ") && error.contains("  cc 3, "), "{error}");
    assert!(error.contains(" DEBIAN_SECURITY_MIRROR=http://… DEBIAN_MIRROR=http://…\n"), "{error}");
}

#[test]
fn locks_are_made_again_from_the_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let (server, store) = (Server::start(&[]), store(&folder.path().join("store"), &Proxy::default()));
    moved_on(&server, b"newer");
    let lists = folder.path().join("mirrors/bookworm");
    std::fs::create_dir_all(&lists).unwrap();
    std::fs::write(lists.join("packages"), "aa\n").unwrap();
    let old = lock_of(&[pin_of("aa", "1", BYTES, &[]), pin_of("zz", "1", BYTES, &[])]);
    std::fs::write(lists.join("amd64.lock"), old.to_text("")).unwrap();
    let mirrors = Mirrors { debian: vec![server.root.clone()], security: vec![server.root.clone()] };
    let pinning = Pinning { folder: folder.path(), arches: &[], release: None, prefer: Prefer::Stable };
    let update = || update_locks(&[pinning], &from(&store, &mirrors));
    let updated = update().unwrap();
    assert_eq!(updated[0].changes, ["- zz 1", "aa 1 → 2"]);
    assert_eq!(updated[0].lock.pins["aa"].suite, Suite::Main);
    let text = std::fs::read_to_string(&updated[0].path).unwrap();
    assert_eq!(Lock::parse(&text, "lock").unwrap(), updated[0].lock);
    let before = updated[0].path.metadata().unwrap().modified().unwrap();
    assert!(update().unwrap()[0].changes.is_empty());
    assert_eq!(updated[0].path.metadata().unwrap().modified().unwrap(), before);
    // With an error no lock is written, and none of an archive before it.
    let other = folder.path().join("other/mirrors/bookworm");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("packages"), "no-such\n").unwrap();
    std::fs::write(other.join("amd64.lock"), old.to_text("")).unwrap();
    std::fs::write(lists.join("amd64.lock"), old.to_text("")).unwrap();
    let (other, before) = (folder.path().join("other"), std::fs::read_to_string(&updated[0].path).unwrap());
    let both = [pinning, Pinning { folder: &other, ..pinning }];
    assert!(format!("{:#}", update_locks(&both, &from(&store, &mirrors)).unwrap_err()).contains("no package is named `no-such`"));
    assert_eq!(std::fs::read_to_string(&updated[0].path).unwrap(), before);
    std::fs::write(&updated[0].path, &text).unwrap();
    std::fs::write(lists.join("packages"), "aa\nno-such\n").unwrap();
    assert!(format!("{:#}", update().unwrap_err()).contains("no package is named `no-such`"));
    assert_eq!(std::fs::read_to_string(&updated[0].path).unwrap(), text);
    let riscv = Pinning { arches: &["riscv64".to_owned()], ..pinning };
    let error = update_locks(&[riscv], &from(&store, &mirrors)).unwrap_err().to_string();
    assert!(error.starts_with("no Debian release is pinned for riscv64: `mirrors` has locks for amd64\nhint: "), "{error}");
}

#[test]
fn an_architecture_moves_to_another_release() {
    let folder = tempfile::tempdir().unwrap();
    let (server, store) = (Server::start(&[]), store(&folder.path().join("store"), &Proxy::default()));
    moved_on(&server, b"newer");
    let (old, new) = (folder.path().join("mirrors/bookworm"), folder.path().join("mirrors/trixie"));
    for folder in [&old, &new] {
        std::fs::create_dir_all(folder).unwrap();
    }
    std::fs::write(old.join("packages"), "aa\n").unwrap();
    let before = lock_of(&[pin_of("aa", "1", BYTES, &[])]).to_text("");
    for name in ["amd64.lock", "arm64.lock"] {
        std::fs::write(old.join(name), &before).unwrap();
    }
    let mirrors = Mirrors { debian: vec![server.root.clone()], security: vec![server.root.clone()] };
    let arches = ["amd64".to_owned()];
    let pinning = Pinning { folder: folder.path(), arches: &arches, release: Some("trixie"), prefer: Prefer::Stable };
    let error = update_locks(&[pinning], &from(&store, &mirrors)).unwrap_err().to_string();
    assert!(error.contains("no list of packages for the release trixie") && error.contains("hint: copy another"), "{error}");
    std::fs::write(new.join("packages"), "aa\nno-such\n").unwrap();
    let error = format!("{:#}", update_locks(&[pinning], &from(&store, &mirrors)).unwrap_err());
    assert!(error.contains("no package is named `no-such`"), "{error}");
    assert_eq!(std::fs::read_to_string(old.join("amd64.lock")).unwrap(), before, "an error has moved nothing");
    std::fs::write(new.join("packages"), "aa\n").unwrap();
    let updated = update_locks(&[pinning], &from(&store, &mirrors)).unwrap();
    assert_eq!((updated[0].changes.join(", "), &updated[0].replaced), ("aa 1 → 2".to_owned(), &vec![old.join("amd64.lock")]));
    assert!(new.join("amd64.lock").is_file() && !old.join("amd64.lock").exists() && old.join("arm64.lock").is_file());
    assert_eq!(Locks::read(folder.path()).unwrap().release_of("amd64").unwrap(), "trixie");
    // The mirror has no such architecture in that release.
    let arm = Pinning { arches: &["arm64".to_owned()], ..pinning };
    let error = format!("{:#}", update_locks(&[arm], &from(&store, &mirrors)).unwrap_err());
    assert!(error.contains("does not list main/binary-arm64/Packages.xz"), "{error}");
    assert!(old.join("arm64.lock").is_file());
}

#[test]
fn the_next_mirror_is_asked_and_a_missing_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, full) = (Server::start(&[]), Server::start(&[]));
    let pin = pin_of("aa", "1", BYTES, &[]);
    full.put(&pin.path, BYTES);
    let mirrors = Mirrors { debian: vec![empty.root.clone(), full.root.clone()], security: Vec::new() };
    let store = store(folder.path(), &Proxy::default());
    store.fetch_all(&lock_of(std::slice::from_ref(&pin)), "bookworm", "amd64", &mirrors, Policy::default(), &|_| ()).unwrap();
    let security = lock_of(&[Pin { suite: Suite::Security, sha256: "ab".repeat(32), ..pin }]);
    let error = store.fetch_all(&security, "bookworm", "amd64", &mirrors, Policy::default(), &|_| ()).unwrap_err();
    assert!(error.to_string().contains("DEBIAN_SECURITY_MIRROR"), "{error}");
}

#[test]
fn a_proxy_is_asked_with_the_whole_address() {
    let folder = tempfile::tempdir().unwrap();
    let (server, pin) = (Server::start(&[]), pin_of("aa", "1", BYTES, &[]));
    server.put(&pin.path, BYTES);
    let proxy = Proxy { http: Some(server.root.clone()), except: Some("near.example".into()), ..Proxy::default() };
    fetch(&store(folder.path(), &proxy), &lock_of(std::slice::from_ref(&pin)), "http://far.example", Policy::default()).unwrap();
    assert_eq!(server.log.lock().unwrap()[0], format!("GET http://far.example/{} HTTP/1.1", pin.path));
}

#[test]
fn two_at_once_share_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&[]);
    let pins: Vec<Pin> = (0..30).map(|n| pin_of(&format!("n{n:02}"), "1", &vec![n; 2000 + usize::from(n)], &[])).collect();
    pins.iter().zip(0_u8..).for_each(|(pin, n)| server.put(&pin.path, &vec![n; 2000 + usize::from(n)]));
    let lock = lock_of(&pins);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| fetch(&store(folder.path(), &Proxy::default()), &lock, &server.root, Policy::default()).unwrap());
        }
    });
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 30, "no part of a file is left over");
}
