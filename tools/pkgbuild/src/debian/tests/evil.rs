//! A mirror that does everything wrong, on loopback: each fault is one clear error, and nothing of it enters the store or a lock.

use super::{
    fetch::{Act, BYTES, NOW, Server, fetch, from, lock_of, moved_on, xz},
    *,
};
use std::{sync::Arc, time::Duration};

fn store(folder: &Path, limits: Limits) -> Store {
    Store::open(folder, &Network { limits, ..Network::default() }).unwrap().with_waits(&[Duration::ZERO; 2])
}

/// The limits under which the slow must fail soon.
fn hasty() -> Limits {
    Limits { grace: Duration::from_millis(100), least_speed: u64::MAX, ..Limits::default() }
}

fn impatient() -> Limits {
    Limits { patience: Duration::from_millis(100), ..Limits::default() }
}

/// The names of whole files in the store: `.part` files are what a later download continues, and what it checks again.
fn kept(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.ends_with(".part")).collect()
}

#[test]
fn an_evil_mirror_gets_no_program_into_a_build() {
    let folder = tempfile::tempdir().unwrap();
    let (server, at) = (Server::start(&[]), folder.path().join("store"));
    let store = store(&at, Limits::default());
    // 404 for the pin; an unsigned Release, an index and a changed package in its place.
    moved_on(&server, b"evil");
    let pin = pin_of("aa", "1", BYTES, &[]);
    let mirrors = Mirrors { debian: vec![server.root.clone()], security: vec![server.root.clone()] };
    let fetch = |lock: &Lock, release: &str, arch: &str| store.fetch_all(lock, release, arch, &mirrors, Policy { offline: false }, &|_| ());
    let mut stage = Tree::new();
    let lock = Content::from(lock_of(std::slice::from_ref(&pin)).to_text("").as_str());
    stage.insert("etc/eve-debian/mirrors/bookworm/amd64.lock", filetree::Node::file(0o644, 0, lock)).unwrap();
    let before = list(&stage);
    let options = ArchiveOptions { fetch: &fetch, spool: folder.path(), mtime: 0 };
    let error = build_archive(&mut stage, "amd64", &options).unwrap_err().to_string();
    assert!(error.starts_with("no mirror has 1 of 1 pinned Debian packages (bookworm, amd64):\n"), "{error}");
    assert!(error.contains(&format!("  aa 1, sha256:{} ({})\n", pin.sha256, pin.path)), "{error}");
    for way_out in ["snapshot mirror", " DEBIAN_MIRROR=http://", "older archive image", "cargo xtask pins", "cargo xtask bump"] {
        assert!(error.contains(way_out), "{way_out}: {error}");
    }
    assert!(!error.contains("DEBIAN_SECURITY_MIRROR"), "{error}");
    assert_eq!(list(&stage), before);
    assert_eq!(std::fs::read_dir(&at).unwrap().count(), 0, "something was stored");
    // Nobody asked the mirror what else it has.
    assert_eq!(server.log(), [pin.path.as_str()]);
}

/// Its deb is `path`; `bytes` are what it sends for it.
#[test]
fn a_wrong_package_is_an_error_and_is_not_stored() {
    let usual = Limits::default();
    let long = [BYTES, BYTES].concat();
    for (what, bytes, act, limits, message) in [
        ("another file", &[b'#'; 20][..], Act::Serve, usual, "has the SHA-256"),
        ("a longer file", &long, Act::Serve, usual, "has 40 bytes, not the pinned 20"),
        ("a shorter file", &BYTES[..7], Act::Serve, usual, "has 7 bytes, not the pinned 20"),
        ("a body that is cut", BYTES, Act::Cut(5), usual, "was interrupted"),
        ("a body without end", BYTES, Act::Endless, usual, "has more than the pinned 20 bytes"),
        ("a head without end", BYTES, Act::EndlessHead, usual, "the response ends within its head"),
        ("a slow body", BYTES, Act::Slow, hasty(), "is too slow: 20 bytes may take 0 s"),
        ("silence", BYTES, Act::Silent, impatient(), "the server sent nothing for too long"),
        ("a redirect to a file", BYTES, Act::Redirect("file:///etc/hostname"), usual, "`file:///etc/hostname` is neither an http:// nor"),
        ("a redirect to junk", BYTES, Act::Redirect("junk"), usual, "`junk` is neither an http:// nor"),
        ("a redirect to a server with another file", BYTES, Act::Redirect("HERE/evil"), usual, "has the SHA-256"),
        ("a redirect to itself", BYTES, Act::Redirect("HERE/pool/main/aa_1_amd64.deb"), usual, "is redirected more than 5 times"),
        ("a refusal", BYTES, Act::Status(403), usual, "status 403"),
        ("a package that is gone", BYTES, Act::Status(404), usual, "no mirror has 1 of 1 pinned Debian packages"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (server, pin) = (Server::start(&[]), pin_of("aa", "1", BYTES, &[]));
        server.put(&pin.path, bytes);
        server.put("evil", &[b'#'; 20]);
        server.faults.lock().unwrap().push((".deb", act));
        let store = store(folder.path(), limits);
        let error = fetch(&store, &lock_of(std::slice::from_ref(&pin)), &server.root, Policy::default()).expect_err(what);
        let error = format!("{error:#}");
        assert!(error.contains(message), "{what}: {error}");
        assert_eq!((kept(folder.path()), store.find(&pin)), (vec![], None), "{what}");
    }
}

/// A mirror, changed by `spoil`, from which pins are renewed; returns the error.
fn pins(what: &str, limits: Limits, now: i64, spoil: &dyn Fn(&Server)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&[]);
    moved_on(&server, b"newer");
    spoil(&server);
    let lists = folder.path().join("mirrors/bookworm");
    std::fs::create_dir_all(&lists).unwrap();
    std::fs::write(lists.join("packages"), "aa\n").unwrap();
    let old = lock_of(&[pin_of("aa", "1", BYTES, &[])]).to_text("");
    std::fs::write(lists.join("amd64.lock"), &old).unwrap();
    let store = store(&folder.path().join("store"), limits);
    let mirrors = Mirrors { debian: vec![server.root.clone()], security: vec![server.root.clone()] };
    let pinning = Pinning { folder: folder.path(), arches: &[], release: None, prefer: Prefer::Stable };
    let mut from = from(&store, &mirrors);
    from.trust.now = now;
    let error = update_locks(&[pinning], &from).expect_err(what);
    assert_eq!(std::fs::read_to_string(lists.join("amd64.lock")).unwrap(), old, "{what}");
    format!("{error:#}")
}

const IN_RELEASE: &str = "dists/bookworm/InRelease";
const PACKAGES: &str = "dists/bookworm/main/binary-amd64/Packages.xz";

/// Another Release file of the main suite, signed by Debian.
fn release(server: &Server, text: &str) {
    server.put(IN_RELEASE, format!("{}\nCodename: bookworm\n{text}", KEYS[0].fingerprint).as_bytes());
}

/// Renews pins from the spoiled mirror, which must fail with `message`.
fn refuse(what: &str, limits: Limits, spoil: &dyn Fn(&Server), message: &str) {
    let error = pins(what, limits, NOW, spoil);
    assert!(error.contains(message), "{what}: {error}");
}

#[test]
fn pins_are_made_of_nothing_that_debian_has_not_signed() {
    let refuse = |what: &str, spoil: &dyn Fn(&Server), message: &str| refuse(what, Limits::default(), spoil, message);
    let put = |text: &'static str| move |server: &Server| server.put(IN_RELEASE, text.as_bytes());
    let only_release = |server: &Server| {
        server.remove(IN_RELEASE);
        server.put("dists/bookworm/Release", b"Codename: bookworm\n");
    };
    refuse(
        "no signature",
        &only_release,
        "is not signed: there is neither InRelease nor Release.gpg\nhint: nothing of this mirror is taken",
    );
    refuse("nothing", &|server| server.remove(IN_RELEASE), "has neither InRelease nor Release");
    refuse("a wrong signature", &put("Codename: bookworm\n"), "dists/bookworm/InRelease`: it is not signed");
    refuse("another key", &put("ABCD\nCodename: bookworm\n"), "none of Debian's archive keys has signed it\nhint: ");
    let expired = pins("an expired key", Limits::default(), 2_500_000_000, &|_| ());
    let message = "has expired on 2031-01-19\nhint: take the new keys of Debian's package debian-archive-keyring";
    assert!(expired.contains(message), "{expired}");
    let old = "Valid-Until: Thu, 01 Jan 2026 00:00:00 UTC\n";
    refuse("an old index", &|server| release(server, old), "was valid until Thu, 01 Jan 2026 00:00:00 UTC: ");
    let trixie = format!("{}\nCodename: trixie\nSuite: stable\n", KEYS[0].fingerprint);
    refuse("another suite", &|server| server.put(IN_RELEASE, trixie.as_bytes()), "is that of another suite, trixie (stable)");
    refuse("no digests", &|server| release(server, ""), "has no field `SHA256`");
    let other = "SHA256:\n 00 0 other\n";
    refuse("an index that is not listed", &|server| release(server, other), "does not list main/binary-amd64/Packages.xz");
    let garbled = |server: &Server| server.faults.lock().unwrap().push(("Packages.xz", Act::Garble));
    refuse("another index", &garbled, "hint: the mirror, or a cache on the way to it, mixes two states");
}

#[test]
fn no_mirror_holds_pins_for_ever_or_fills_the_disk() {
    let usual = Limits::default();
    let small = Limits { release: 4096, unpacked: 4096, ..usual };
    let bomb = xz(&vec![0; 1 << 20]);
    let digest = super::super::download::digest(&mut &bomb[..]).unwrap();
    let bomb_of = |size: u64, plain: &str| {
        let text = format!("SHA256:\n {digest} {size} main/binary-amd64/Packages.xz\n{plain}");
        let bomb = bomb.clone();
        move |server: &Server| {
            server.put(PACKAGES, &bomb);
            release(server, &text);
        }
    };
    let fault = |act: Act| move |server: &Server| server.faults.lock().unwrap().push(("InRelease", act));
    let size = bomb.len() as u64;
    let huge = "has 99000000000000 bytes, and no index has more than 67108864";
    refuse("an index of 99 TB", usual, &bomb_of(99_000_000_000_000, ""), huge);
    refuse("an index that unpacks to too much", small, &bomb_of(size, ""), "it unpacks to more than 4096 bytes");
    let plain = format!(" {} 100 main/binary-amd64/Packages\n", "ab".repeat(32));
    refuse("an index that unpacks to more than is listed", usual, &bomb_of(size, &plain), "it unpacks to more than 100 bytes");
    refuse("a Release file without end", small, &fault(Act::Endless), "has more than 4096 bytes: that is no Release file");
    refuse("a slow Release file", Limits { release: 4096, ..hasty() }, &fault(Act::Slow), "the server is too slow");
    refuse("a redirect of it to a file", usual, &fault(Act::Redirect("file:///x")), "is redirected, and the target is refused");
    refuse("a refusal", usual, &fault(Act::Status(500)), "InRelease`: status 500");
}

#[test]
fn a_detached_signature_and_the_names_by_digest_serve_too() {
    let folder = tempfile::tempdir().unwrap();
    let (server, store) = (Server::start(&[]), store(folder.path(), Limits::default()));
    moved_on(&server, b"newer");
    server.remove(IN_RELEASE);
    let index = xz(b"Package: bb\nVersion: 1\nArchitecture: all\nFilename: pool/b.deb\nSize: 7\nSHA256: ab\n");
    let digest = super::super::download::digest(&mut &index[..]).unwrap();
    let text = format!("Codename: bookworm\nAcquire-By-Hash: yes\nSHA256:\n {digest} {} main/binary-amd64/Packages.xz\n", index.len());
    server.put("dists/bookworm/Release", text.as_bytes());
    server.put("dists/bookworm/Release.gpg", KEYS[3].fingerprint.as_bytes());
    // Under its usual name the mirror has another state of the index.
    server.put(&format!("dists/bookworm/main/binary-amd64/by-hash/SHA256/{digest}"), &index);
    let mirrors = Mirrors { debian: vec![server.root.clone()], security: Vec::new() };
    let trust = from(&store, &mirrors).trust;
    let index = store.fetch_index(Suite::Main, "bookworm", "amd64", &mirrors, &trust).unwrap();
    assert_eq!(index.packages.keys().collect::<Vec<_>>(), ["bb"]);
}

/// Answers as a server with https would.
#[derive(Debug)]
struct Canned;

impl Tls for Canned {
    fn get(&self, url: &str, fields: &[(&str, String)], proxy: Option<&str>, limit: Duration) -> anyhow::Result<Box<dyn std::io::Read>> {
        assert!(limit > Duration::ZERO && fields.iter().all(|(name, _)| *name != "Proxy-Authorization"));
        let proxied = proxy == Some("http://p:1");
        let answer = match url {
            "https://far.example/pool/main/aa_1_amd64.deb" if proxied => {
                "HTTP/1.1 302 x\r\nLocation: https://near.example/aa\r\n\r\n".to_owned()
            }
            "https://near.example/aa" if !proxied => {
                format!("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}", String::from_utf8_lossy(BYTES))
            }
            "https://down.example/pool/main/aa_1_amd64.deb" => "HTTP/1.1 302 x\r\nLocation: http://far.example/\r\n\r\n".to_owned(),
            other => anyhow::bail!("{other} {proxied}"),
        };
        Ok(Box::new(std::io::Cursor::new(answer.into_bytes())))
    }
}

#[test]
fn https_goes_through_the_caller_and_stays_https() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = Proxy { https: Some("http://p:1".into()), except: Some("near.example".into()), ..Proxy::default() };
    let network = Network { proxy, tls: Some(Arc::new(Canned)), ..Network::default() };
    let store = Store::open(folder.path(), &network).unwrap().with_waits(&[]);
    let lock = lock_of(&[pin_of("aa", "1", BYTES, &[])]);
    let error = fetch(&store, &lock, "https://down.example", Policy::default()).unwrap_err();
    assert!(format!("{error:#}").contains("`http://far.example/` has no encryption"), "{error:#}");
    fetch(&store, &lock, "https://far.example", Policy::default()).unwrap();
    let bare = Store::open(&folder.path().join("bare"), &Network::default()).unwrap().with_waits(&[]);
    let error = fetch(&bare, &lock, "https://far.example", Policy::default()).unwrap_err();
    assert!(format!("{error:#}").contains("nothing here speaks https"), "{error:#}");
}
