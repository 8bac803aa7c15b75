//! Images between caches and a real registry, with a proxy between that cuts, delays and corrupts. skopeo is the referee.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use ::common::Arch;
use child::{Tools, curl_request::Deadlines};
use common::{Fault, Proxy, Registry, What, has_skopeo, log_in, output};
use filetree::{Content, Node, Tree};
use oci::{Cache, NewImage, NewLayer};
use registry::{Client, Endpoint, Logins, Taken, Team};
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

const IMAGE: &str = "lfedge/eve-x:1a";
/// The name that the image's tag for amd64 has in requests.
const MANIFEST: &str = "/v2/team/eve-x/manifests/1a-amd64";

struct Caches {
    folder: tempfile::TempDir,
}

impl Caches {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn cache(&self, name: &str) -> Cache {
        Cache::open(&self.folder.path().join(name)).unwrap()
    }

    /// A cache with the image for `arch`, with a layer of 3 MiB that no compression makes smaller.
    fn with_image(&self, name: &str, arch: &str, seed: u64) -> Cache {
        let mut state = seed;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        });
        let noise: Vec<u8> = noise.take(3 << 20).collect();
        let mut tree = Tree::new();
        tree.insert("etc/noise", Node::file(0o644, 7, Content::from(noise))).unwrap();
        let cache = self.cache(name);
        let layers = vec![NewLayer::Tree(tree)];
        cache.write(NewImage { reference: IMAGE.into(), arch: arch.into(), layers, ..NewImage::default() }).unwrap();
        cache
    }

    /// A client that waits for a busy machine.
    fn client(&self, address: &str) -> Client {
        self.waiting(
            address,
            Deadlines { connect: Duration::from_secs(20), stall: Duration::from_secs(20), total: Duration::from_secs(120) },
        )
    }

    fn waiting(&self, address: &str, deadlines: Deadlines) -> Client {
        let place = format!("{address}/team").parse().unwrap();
        let tools = Tools::new(std::env::vars_os(), false, &|_| false);
        let logins = Logins { tools: tools.clone(), folder: self.folder.path().to_owned() };
        Client::new(Endpoint { deadlines, pause: Duration::from_millis(20), ..Endpoint::new(&tools, place, logins) })
    }

    fn team(&self, address: &str) -> Team {
        Team::new(self.client(address), true)
    }
}

fn digest(cache: &Cache, arch: &str) -> String {
    cache.find_whole(IMAGE, arch).unwrap().unwrap().digest
}

/// All files below a folder; none if there is no such folder.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn an_image_goes_to_a_registry_and_back_as_it_is_and_others_find_it() {
    let Some(registry) = Registry::start(false) else { return };
    let caches = Caches::new();
    let (amd64, arm64, taken) = (caches.with_image("a", "amd64", 1), caches.with_image("b", "arm64", 2), caches.cache("c"));
    let team = caches.team(&registry.address);
    assert!(!team.take(&taken, IMAGE, Arch::Amd64), "nothing is there yet");
    assert_eq!(team.give(&amd64, IMAGE, Arch::Amd64).unwrap(), format!("sent to {}/team", registry.address));
    assert!(!team.take(&taken, IMAGE, Arch::Arm64), "it is for another architecture");
    assert!(team.give(&arm64, IMAGE, Arch::Arm64).unwrap().starts_with("sent to"));
    assert!(team.give(&arm64, IMAGE, Arch::Arm64).unwrap().ends_with("/team has it"));
    let seen = Mutex::new(Vec::new());
    let progress = |done, total| seen.lock().unwrap().push((done, total));
    assert!(team.try_take(&taken, IMAGE, Arch::Amd64, &|_| true, &progress) == Taken::Yes);
    let seen = seen.into_inner().unwrap();
    assert!(seen.len() >= 2 && seen.is_sorted() && seen.last().is_some_and(|(done, total)| done == total && *total > 100), "{seen:?}");
    assert!(team.take(&taken, IMAGE, Arch::Arm64) && team.works());
    assert_eq!((digest(&taken, "amd64"), digest(&taken, "arm64")), (digest(&amd64, "amd64"), digest(&arm64, "arm64")));

    if !has_skopeo() {
        return;
    }
    let name = format!("docker://{}/team/eve-x", registry.address);
    let index = output("skopeo", &["inspect", "--raw", "--tls-verify=false", &format!("{name}:1a")]);
    let places: Vec<usize> = ["amd64", "arm64"].iter().map(|arch| index.find(&digest(&taken, arch)).unwrap()).collect();
    assert!(places.is_sorted(), "{index}");
    let copy = format!("oci:{}:x", caches.folder.path().join("copy").display());
    let single = format!("{name}:1a-arm64");
    let words = ["--insecure-policy", "--override-arch=arm64", "copy", "--preserve-digests", "--src-tls-verify=false", &single, &copy];
    output("skopeo", &words);
    let manifest = output("skopeo", &["inspect", "--raw", "--override-arch=arm64", &copy]);
    let copied = caches.folder.path().join("copied");
    std::fs::write(&copied, manifest).unwrap();
    assert_eq!(output("skopeo", &["manifest-digest", copied.to_str().unwrap()]).trim(), digest(&arm64, "arm64"));

    // What skopeo has sent, a plain manifest without an index, is taken, too.
    let sent = format!("docker://{}/team/eve-y:2b-arm64", registry.address);
    output("skopeo", &["--insecure-policy", "--override-arch=arm64", "copy", "--dest-tls-verify=false", &copy, &sent]);
    assert!(team.take(&taken, "lfedge/eve-y:2b", Arch::Arm64));
    assert!(taken.contains("lfedge/eve-y:2b", "arm64").unwrap());
}

#[test]
fn files_go_to_a_registry_and_back_as_an_artifact() {
    let Some(registry) = Registry::start(false) else { return };
    let caches = Caches::new();
    let path = |name: &str| caches.folder.path().join(name);
    std::fs::write(path("one"), "the first").unwrap();
    std::fs::write(path("empty"), "").unwrap();
    let (key, given) = ("0123456789abcdef", [path("one"), path("empty")]);
    let reader = Team::new(caches.client(&registry.address), false);
    reader.give_files(key, b"{}", &given);
    assert_eq!(reader.record(key), None, "only a team that writes sends anything");
    let team = caches.team(&registry.address);
    team.give_files(key, b"{\"a\": 1}", &given);
    team.give_files(key, b"{\"a\": 2}", &given[..1]);
    // The registry has a large blob already.
    std::fs::File::create(path("large")).unwrap().set_len(20 << 20).unwrap();
    assert!(["large1", "large2"].iter().all(|key| team.give_files(key, b"{}", &[path("large")])));
    assert!(team.works() && reader.record("large2").is_some());
    assert_eq!(reader.record(key).unwrap(), b"{\"a\": 1}", "a key that exists is not moved");
    assert!(!reader.take_files(key, &[path("a")], &|_, _| {}), "another number of files");
    std::fs::write(path("a"), "what was there before").unwrap();
    assert!(reader.take_files(key, &[path("a"), path("b")], &|_, _| {}) && reader.works());
    assert_eq!((std::fs::read(path("a")).unwrap(), std::fs::read(path("b")).unwrap()), (b"the first".to_vec(), vec![]));
    if has_skopeo() {
        let name = format!("docker://{}/team/artifacts:{key}", registry.address);
        let manifest = output("skopeo", &["inspect", "--raw", "--tls-verify=false", &name]);
        assert!(manifest.contains("\"org.opencontainers.image.title\":\"one\""), "{manifest}");
    }
    // A file that is not what its name says.
    let sum = output("sha256sum", &[path("one").to_str().unwrap()]);
    std::fs::write(registry.blob(&format!("sha256:{}", sum.split(' ').next().unwrap())), "the fIrst").unwrap();
    assert!(!reader.take_files(key, &[path("a"), path("b")], &|_, _| {}) && reader.works(), "the registry itself works");
    assert!(!path("a").exists());
    // A build that writes makes it, and sends something else: the key is moved, because what it named is damaged.
    assert!(!team.take_files(key, &[path("a"), path("b")], &|_, _| {}));
    std::fs::write(path("one"), "the other").unwrap();
    team.give_files(key, b"{}", &given);
    assert!(team.works() && team.take_files(key, &[path("a"), path("b")], &|_, _| {}));
    assert_eq!(std::fs::read(path("a")).unwrap(), b"the other");
    team.distrust_files(key);
    std::fs::write(path("one"), "the third").unwrap();
    team.give_files(key, b"{}", &given);
    assert!(reader.take_files(key, &[path("a"), path("b")], &|_, _| {}) && std::fs::read(path("a")).unwrap() == b"the third");
    // docker-registry keeps the bytes of a manifest that it has, so sending the same again does not mend it.
    let manifest =
        registry.folder.path().join(format!("data/docker/registry/v2/repositories/team/artifacts/_manifests/tags/{key}/current/link"));
    let manifest = registry.blob(&std::fs::read_to_string(manifest).unwrap());
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"one\"", "\"0ne\"")).unwrap();
    assert!(reader.record(key).is_none() && team.record(key).is_none() && team.works());
    assert!(!team.give_files(key, b"{}", &given), "it is not replaced");
    std::fs::remove_file(&manifest).unwrap();
    assert!(team.give_files(key, b"{}", &given) && reader.record(key).unwrap() == b"{}");
}

#[test]
fn a_tag_that_exists_is_not_moved() {
    let Some(registry) = Registry::start(false) else { return };
    let caches = Caches::new();
    let (first, second, taken) = (caches.with_image("a", "amd64", 1), caches.with_image("b", "amd64", 2), caches.cache("c"));
    let team = caches.team(&registry.address);
    assert!(team.give(&first, IMAGE, Arch::Amd64).unwrap().starts_with("sent to"));
    let noted = team.give(&second, IMAGE, Arch::Amd64).unwrap();
    assert!(noted.ends_with(&format!("has another image under this tag: {}", digest(&first, "amd64"))), "{noted}");
    assert!(team.take(&taken, IMAGE, Arch::Amd64));
    assert_eq!(digest(&taken, "amd64"), digest(&first, "amd64"));
}

#[test]
fn what_a_registry_has_damaged_is_replaced_and_too_much_damage_is_a_failure() {
    let Some(registry) = Registry::start(false) else { return };
    let caches = Caches::new();
    let cache = caches.with_image("a", "amd64", 1);
    let other = caches.with_image("b", "amd64", 2);
    assert!(caches.team(&registry.address).give(&cache, IMAGE, Arch::Amd64).is_some());
    // On the way: what comes is damaged, what is there is not.
    let corrupt = |times| vec![Fault { on: "/blobs/sha256", times, what: What::Corrupt(1 << 20) }];
    let proxy = Proxy::before(&registry.address, corrupt(2), None);
    let (team, taken) = (caches.team(&proxy.address.to_string()), caches.cache("c"));
    assert!(!team.take(&taken, IMAGE, Arch::Amd64) && team.works());
    // It was built here, with another result: the one of the registry cannot be trusted and goes.
    assert_eq!(team.give(&other, IMAGE, Arch::Amd64).unwrap(), format!("replaced in {}/team", proxy.address));
    assert!(caches.team(&registry.address).take(&taken, IMAGE, Arch::Amd64));
    assert_eq!(digest(&taken, "amd64"), digest(&other, "amd64"));
    // An image that the caller refuses is replaced, too.
    let (team, taken) = (caches.team(&registry.address), caches.cache("d"));
    assert!(
        team.try_take(&taken, IMAGE, Arch::Amd64, &|_| false, &|_, _| {}) == Taken::Refused
            && taken.find(IMAGE, "amd64").unwrap().is_none()
    );
    assert!(team.give(&cache, IMAGE, Arch::Amd64).unwrap().starts_with("replaced in"));
    // Who sends nothing but damage is not asked for ever.
    let proxy = Proxy::before(&registry.address, vec![Fault { on: "/manifests/", times: usize::MAX, what: What::Corrupt(600) }], None);
    let team = caches.team(&proxy.address.to_string());
    let asked = ["a", "b", "c", "d", "e", "f"].map(|tag| {
        let image = format!("lfedge/eve-{tag}:1a");
        caches.team(&registry.address).give_files(tag, b"{}", &[]);
        (team.take(&taken, &image, Arch::Amd64) || team.record(tag).is_some(), team.works())
    });
    assert_eq!(asked.map(|(found, _)| found), [false; 6]);
    assert_eq!(asked.map(|(_, works)| works), [true, true, true, true, true, false]);
}

#[test]
fn a_statement_refers_to_its_file_with_and_without_the_registrys_own_list() {
    let Some(registry) = Registry::start(false) else { return };
    let caches = Caches::new();
    let file = caches.folder.path().join("live.raw");
    std::fs::write(&file, "a disk").unwrap();
    let team = caches.team(&registry.address);
    let kinds = ["application/vnd.in-toto+json", "application/vnd.dsse.envelope.v1+json"];
    assert_eq!(team.statements(&file, &kinds).unwrap(), vec![], "nothing is there yet");
    team.publish(&file, "1.0-live.raw", kinds[0], b"{\"a\": 1}").unwrap();
    for _ in 0..2 {
        team.publish(&file, "1.0-live.raw", kinds[1], b"{\"b\": 2}").unwrap();
    }
    let all = vec![(kinds[0].to_owned(), b"{\"a\": 1}".to_vec()), (kinds[1].to_owned(), b"{\"b\": 2}".to_vec())];
    assert_eq!(team.statements(&file, &kinds).unwrap(), all);
    assert_eq!(team.statements(&file, &kinds[..1]).unwrap(), all[..1]);
    // Another file, or another name.
    let other = caches.folder.path().join("other.raw");
    std::fs::write(&other, "a disk").unwrap();
    assert_eq!(team.statements(&other, &kinds).unwrap(), vec![]);

    if !has_skopeo() {
        return;
    }
    let name = format!("docker://{}/team/attested", registry.address);
    let raw = |tag: &str| output("skopeo", &["inspect", "--raw", "--tls-verify=false", &format!("{name}:{tag}")]);
    let subject = caches.folder.path().join("subject.json");
    std::fs::write(&subject, raw("1.0-live.raw")).unwrap();
    let digest = output("skopeo", &["manifest-digest", subject.to_str().unwrap()]).trim().to_owned();
    let list = raw(&digest.replace(':', "-"));
    let index: serde_json::Value = serde_json::from_str(&list).unwrap();
    let types: Vec<&str> = index["manifests"].as_array().unwrap().iter().map(|one| one["artifactType"].as_str().unwrap()).collect();
    assert_eq!(types, kinds);
    let first = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let single = output("skopeo", &["inspect", "--raw", "--tls-verify=false", &format!("{name}@{first}")]);
    let single: serde_json::Value = serde_json::from_str(&single).unwrap();
    assert_eq!((&single["subject"]["digest"], &single["layers"][0]["mediaType"]), (&digest.clone().into(), &kinds[0].into()));

    // A registry with a list of its own, in two pages, among what others refer with: of another type, an index, and one that is lost.
    let path = caches.folder.path().join("list.json");
    std::fs::write(&path, &list).unwrap();
    let list = output("skopeo", &["manifest-digest", path.to_str().unwrap()]).trim().to_owned();
    let lost = format!("sha256:{}", "0".repeat(64));
    let foreign = serde_json::json!([
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": lost, "size": 1, "artifactType": "application/x"},
        {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": list, "size": 1},
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": lost, "size": 1, "artifactType": kinds[0]},
    ]);
    let page = |manifests: serde_json::Value, link: &str| {
        let body = serde_json::json!({"schemaVersion": 2, "manifests": manifests}).to_string();
        let kind = "application/vnd.oci.image.index.v1+json";
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{link}Content-Length: {}\r\n\r\n{body}", body.len());
        Fault { on: "/referrers/", times: 1, what: What::Answer(answer) }
    };
    let link = format!("Link: </v2/team/attested/referrers/{digest}?last=1>; rel=\"next\"\r\n");
    let pages = vec![page(foreign, &link), page(serde_json::json!([index["manifests"][0]]), "")];
    let proxy = Proxy::before(&registry.address, pages, None);
    assert_eq!(caches.team(&proxy.address.to_string()).statements(&file, &kinds).unwrap(), all[..1]);
    assert_eq!(proxy.seen("last=1").len(), 1);
}

#[test]
fn a_password_and_a_token_open_a_registry_and_nothing_else_does() {
    let Some(registry) = Registry::start(true) else { return };
    let Some(open) = Registry::start(false) else { return };
    let tokens = Proxy::before(&open.address, vec![], Some("a.good-token_"));
    for address in [registry.address.clone(), tokens.address.to_string()] {
        let caches = Caches::new();
        let (cache, taken) = (caches.with_image("a", "amd64", 1), caches.cache("b"));
        let give = || caches.client(&address).take(&taken, IMAGE, Arch::Amd64).map_err(|error| format!("{error:#}"));
        let error = give().unwrap_err();
        assert!(error.contains(&format!("hint: docker login {address}")), "{error}");
        // me:wrong
        log_in(caches.folder.path(), &address, "bWU6d3Jvbmc=");
        let error = give().unwrap_err();
        assert!(error.contains("hint: docker login") && !error.contains("wrong"), "{error}");
        log_in(caches.folder.path(), &address, "bWU6cGFzczp3b3Jk");
        let team = caches.team(&address);
        assert!(team.give(&cache, IMAGE, Arch::Amd64).unwrap().starts_with("sent to"));
        assert!(team.take(&taken, IMAGE, Arch::Amd64));
        assert_eq!(digest(&taken, "amd64"), digest(&cache, "amd64"));
    }
}

#[test]
fn a_connection_that_is_cut_is_taken_up_where_it_broke() {
    let Some(registry) = Registry::start(false) else { return };
    let caches = Caches::new();
    let (cache, taken) = (caches.with_image("a", "amd64", 1), caches.cache("b"));
    let faults = vec![
        Fault { on: "PATCH", times: 3, what: What::CutRequest(1 << 20) },
        Fault { on: "GET /v2/team/eve-x/blobs/sha256", times: 2, what: What::CutResponse(1 << 20) },
        Fault { on: "PUT /v2/team/eve-x/manifests", times: 1, what: What::CutResponse(0) },
        Fault { on: MANIFEST, times: 1, what: What::Answer("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".into()) },
    ];
    let proxy = Proxy::before(&registry.address, faults, None);
    let team = caches.team(&proxy.address.to_string());
    assert!(team.give(&cache, IMAGE, Arch::Amd64).unwrap().starts_with("sent to"));
    assert!(team.take(&taken, IMAGE, Arch::Amd64));
    assert_eq!(digest(&taken, "amd64"), digest(&cache, "amd64"));
    let ranges = proxy.seen("Range: bytes=");
    assert!(ranges.iter().any(|line| line.starts_with("GET /v2/team/eve-x/blobs/sha256")), "{ranges:?}");
    assert!(proxy.seen("PATCH").len() >= 4, "{:?}", proxy.seen("PATCH"));
}

#[test]
fn an_upload_goes_on_where_the_registry_says() {
    let Some(registry) = Registry::start(false) else { return };
    let caches = Caches::new();
    let cache = caches.with_image("a", "amd64", 1);
    let image = cache.find(IMAGE, "amd64").unwrap().unwrap();
    let size = image.layers[0].size();
    let answer = |on, times, status: &str, fields: &str| {
        let text = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: 0\r\nConnection: close\r\n\r\n");
        Fault { on, times, what: What::Answer(text) }
    };
    // docker-registry forgets a cut upload; this one remembers a part of it, and has everything but the layer.
    let faults = vec![
        answer("HEAD", 1, "200 OK", ""),
        answer("HEAD", 1, "404 Not Found", ""),
        answer("POST", 1, "202 Accepted", "Location: /up/1\r\n"),
        Fault { on: "PATCH", times: 1, what: What::CutRequest(1 << 20) },
        answer("GET /up/1", 1, "204 No Content", "Location: /up/2?a=b\r\nRange: 0-99999\r\n"),
        answer("PATCH /up/2?a=b", 1, "202 Accepted", "Location: /up/3?c=d\r\n"),
        answer("PUT", 9, "201 Created", ""),
    ];
    let proxy = Proxy::before(&registry.address, faults, None);
    // The index cannot become right, because the registry behind the proxy gets nothing.
    assert!(caches.team(&proxy.address.to_string()).give(&cache, IMAGE, Arch::Amd64).is_none());
    let rest = proxy.seen("PATCH /up/2?a=b");
    assert_eq!(rest.len(), 1, "{:?}", proxy.requests);
    assert!(rest[0].contains(&format!("Content-Length: {}", size - 100_000)), "{rest:?}");
    assert!(rest[0].contains(&format!("Content-Range: 100000-{}", size - 1)), "{rest:?}");
    assert_eq!(proxy.seen(&format!("PUT /up/3?c=d&digest={}", image.layers[0].digest())).len(), 1, "{:?}", proxy.requests);
}

#[test]
fn other_bytes_than_the_digest_says_are_not_kept() {
    let Some(registry) = Registry::start(false) else { return };
    let caches = Caches::new();
    let cache = caches.with_image("a", "amd64", 1);
    assert!(caches.team(&registry.address).give(&cache, IMAGE, Arch::Amd64).is_some());
    for (number, (on, at, message)) in [
        ("/blobs/", 2 << 20, "sends other bytes for team/eve-x:1a"),
        ("/manifests/sha256", 600, "does not match its digest"),
        (MANIFEST, 600, "does not match its digest"),
    ]
    .into_iter()
    .enumerate()
    {
        let proxy = Proxy::before(&registry.address, vec![Fault { on, times: usize::MAX, what: What::Corrupt(at) }], None);
        let taken = caches.cache(&format!("taken{number}"));
        // The configuration is a blob, too, but is too small to have a byte at that place.
        let proxy_client = caches.client(&proxy.address.to_string());
        let error = format!("{:#}", proxy_client.take(&taken, IMAGE, Arch::Amd64).unwrap_err());
        assert!(error.contains(message), "{on}: {error}");
        assert!(taken.find(IMAGE, "amd64").unwrap().is_none());
        let blobs: Vec<_> = walk(taken.dir()).into_iter().filter(|path| path.metadata().unwrap().len() > 1 << 20).collect();
        assert!(blobs.is_empty(), "left: {blobs:?}");
    }
}

#[test]
fn without_its_registry_a_build_goes_on_and_asks_no_more() {
    let Some(registry) = Registry::start(false) else { return };
    let caches = Caches::new();
    let (cache, taken) = (caches.with_image("a", "amd64", 1), caches.cache("b"));
    let proxy = Proxy::before(&registry.address, vec![Fault { on: "GET", times: usize::MAX, what: What::Silence }], None);
    let soon = Deadlines { connect: Duration::from_secs(2), stall: Duration::from_secs(1), total: Duration::from_secs(5) };
    let team = Team::new(caches.waiting(&proxy.address.to_string(), soon), true);
    let since = Instant::now();
    assert!(!team.take(&taken, IMAGE, Arch::Amd64) && !team.works());
    assert!(since.elapsed() < Duration::from_secs(60), "the proxy is silent for two minutes: {:?}", since.elapsed());
    let before = proxy.connections.load(Ordering::SeqCst);
    assert!(!team.take(&taken, IMAGE, Arch::Arm64) && team.give(&cache, IMAGE, Arch::Amd64).is_none());
    assert_eq!(proxy.connections.load(Ordering::SeqCst), before);
    // A port where nobody listens, and a registry that is no registry.
    let nobody = "127.0.0.1:1";
    let error = format!("{:#}", caches.client(nobody).take(&taken, IMAGE, Arch::Amd64).unwrap_err());
    assert!(error.contains(nobody) && error.contains("curl: (7)"), "{error}");
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\n<html";
    let proxy = Proxy::before(&registry.address, vec![Fault { on: "GET", times: 9, what: What::Answer(page.into()) }], None);
    let error = format!("{:#}", caches.client(&proxy.address.to_string()).take(&taken, IMAGE, Arch::Amd64).unwrap_err());
    assert!(error.contains("is no manifest"), "{error}");
    assert_eq!(walk(taken.dir()), Vec::<PathBuf>::new());
}
