//! Requests to one registry: attempts, authorization, manifests, and blobs that are taken. Blobs that are sent are in `upload`.

use crate::{
    Logins, Place,
    auth::{self, Asker},
    damage::damaged,
    login::Identity,
};
use anyhow::{Context as _, Result};
use child::{
    Failure, Tools,
    curl_request::{Deadlines, HttpBody, HttpProxy, HttpRequest, HttpResponse, Trouble, send, trouble},
};
use oci::{BlobName, Document};
use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

/// How often a request is sent if the connection breaks or the server is overloaded.
const ATTEMPTS: u32 = 3;

/// How often the first request is sent: a registry that cannot be reached should not hold up a build.
const FIRST_ATTEMPTS: u32 = 2;

/// How often the file is looked at that curl fills.
const LOOK: Duration = Duration::from_millis(500);

/// Told how many bytes of how many have come; from any thread.
pub type Progress<'p> = &'p (dyn Fn(u64, u64) + Sync);

/// Told how many bytes of one blob have come.
type Arrived<'p> = &'p (dyn Fn(u64) + Sync);

/// The statuses after which another attempt may succeed.
const BUSY: [u16; 5] = [429, 500, 502, 503, 504];

/// The kinds of documents that a registry may send for a manifest.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// A registry, and how it is reached.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Starts curl.
    pub tools: Tools,
    /// The registry.
    pub place: Place,
    /// Who we are.
    pub logins: Logins,
    /// The proxy on the way.
    pub proxy: HttpProxy,
    /// How long a request may take.
    pub deadlines: Deadlines,
    /// The time before the second attempt; twice that before the third.
    pub pause: Duration,
}

impl Endpoint {
    /// The registry at `place`, with the usual deadlines and the proxy of the environment.
    #[must_use]
    pub fn new(tools: &Tools, place: Place, logins: Logins) -> Self {
        let deadlines = Deadlines { connect: Duration::from_secs(5), ..Deadlines::default() };
        Self { tools: tools.clone(), place, logins, proxy: HttpProxy::default(), deadlines, pause: Duration::from_millis(500) }
    }
}

/// A registry. It remembers its authorizations.
pub struct Client {
    settings: Endpoint,
    identity: Mutex<Option<Option<Identity>>>,
    authorizations: Mutex<HashMap<String, String>>,
    reached: AtomicBool,
}

/// What a request does to a repository.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Pull,
    Push,
}

impl Client {
    /// A client; sends nothing yet.
    #[must_use]
    pub fn new(settings: Endpoint) -> Self {
        Self { settings, identity: Mutex::default(), authorizations: Mutex::default(), reached: AtomicBool::new(false) }
    }

    /// The registry and the prefix.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.settings.place
    }

    /// The login for this registry; looked up once.
    pub(crate) fn identity(&self) -> Result<Option<Identity>> {
        let mut known = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = Some(self.settings.logins.find(&self.place().host)?);
        }
        Ok(known.clone().flatten())
    }

    /// The URL below the API's start.
    pub(crate) fn url(&self, path: &str) -> String {
        self.place().base() + path
    }

    /// A request to this registry without a body.
    pub(crate) fn request<'r>(&self, method: &'r str, url: &'r str) -> HttpRequest<'r> {
        HttpRequest { method, url, fields: vec![], body: HttpBody::Empty, out: None, local: self.place().is_local() }
    }

    /// Sends `request`, with other attempts if the connection breaks or the server is busy; a file as the body is sent once only.
    pub(crate) fn try_often(&self, request: &HttpRequest<'_>) -> Result<HttpResponse> {
        let most = match request.body {
            HttpBody::File(..) => 1,
            _ if self.reached.load(Ordering::Relaxed) => ATTEMPTS,
            _ => FIRST_ATTEMPTS,
        };
        let mut attempt = 1;
        loop {
            let Endpoint { tools, proxy, deadlines, pause, .. } = &self.settings;
            match send(tools, request, proxy, *deadlines) {
                Ok(response) if attempt < most && BUSY.contains(&response.status) => {}
                // The file that exists is longer than what the server has.
                Ok(response) if attempt < most && response.status == 416 && request.out.is_some() => empty(request)?,
                Ok(response) => {
                    self.reached.store(true, Ordering::Relaxed);
                    return Ok(response);
                }
                Err(error) => match trouble(&error) {
                    Trouble::Connection if attempt < most => {}
                    Trouble::NoRanges if attempt < most => empty(request)?,
                    _ => return Err(in_one_line(error)),
                },
            }
            std::thread::sleep(*pause * attempt);
            attempt += 1;
        }
    }

    /// Sends a request for `repository`, with the authorization that the registry asks for.
    pub(crate) fn ask(&self, repository: &str, work: Work, mut request: HttpRequest<'_>) -> Result<HttpResponse> {
        let actions = if work == Work::Push { "pull,push" } else { "pull" };
        let scope = format!("repository:{repository}:{actions}");
        let known = |client: &Self| client.authorizations.lock().unwrap_or_else(PoisonError::into_inner).get(&scope).cloned();
        // A registry may send a client elsewhere to upload; that server gets no password of ours.
        let is_ours = request.url.starts_with(&self.place().base());
        let plain = request.fields.clone();
        if let Some(authorization) = known(self).filter(|_| is_ours) {
            request.fields.push(("Authorization", authorization));
        }
        let response = self.try_often(&request)?;
        let Some(challenge) = response.field("www-authenticate").filter(|_| response.status == 401 && is_ours) else {
            return Ok(response);
        };
        let send = |request: &HttpRequest<'_>| self.try_often(request);
        let asker = Asker { place: self.place(), identity: self.identity()?, send: &send };
        let authorization = auth::answer(&asker, challenge, &scope)?;
        self.authorizations.lock().unwrap_or_else(PoisonError::into_inner).insert(scope.clone(), authorization.clone());
        request.fields = plain;
        request.fields.push(("Authorization", authorization));
        self.try_often(&request)
    }

    /// The manifest or index that `reference`, a tag or a digest, names; none if the registry has none.
    pub(crate) fn manifest(&self, repository: &str, reference: &str) -> Result<Option<Document>> {
        let url = self.url(&format!("{repository}/manifests/{reference}"));
        let fields = vec![("Accept", MANIFESTS.to_owned())];
        let response = self.ask(repository, Work::Pull, HttpRequest { fields, ..self.request("GET", &url) })?;
        match response.status {
            200 => {}
            404 => return Ok(None),
            status => return Err(self.refused("sends no manifest", repository, reference, status)),
        }
        let media_type = response.field("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned();
        let said = response.field("docker-content-digest").map(str::to_owned);
        let document = Document::new(&media_type, response.body)
            .with_context(|| format!("the answer of {} for {repository}:{reference} is no manifest", self.place().host))?;
        let wanted = if reference.contains(':') { Some(reference.to_owned()) } else { said.filter(|said| said.starts_with("sha256:")) };
        match wanted {
            Some(wanted) if wanted != document.digest => {
                let host = &self.place().host;
                Err(damaged(format!("{host} sent a manifest for {repository}, {reference}, that does not match its digest")))
            }
            _ => Ok(Some(document)),
        }
    }

    /// Sends a manifest or index and names it.
    pub(crate) fn put_manifest(&self, repository: &str, reference: &str, document: &Document) -> Result<()> {
        self.send_manifest(repository, reference, document).map(drop)
    }

    /// The same; the registry's answer.
    pub(crate) fn send_manifest(&self, repository: &str, reference: &str, document: &Document) -> Result<HttpResponse> {
        let url = self.url(&format!("{repository}/manifests/{reference}"));
        let fields = vec![("Content-Type", document.media_type.clone())];
        let request = HttpRequest { fields, body: HttpBody::Bytes(&document.bytes), ..self.request("PUT", &url) };
        let response = self.ask(repository, Work::Push, request)?;
        match response.status {
            200..=299 => Ok(response),
            status => Err(self.refused("does not take a manifest", repository, reference, status)),
        }
    }

    /// Writes a blob to the file `out`, which the caller checks; a cut connection is taken up where it broke.
    pub(crate) fn blob(&self, repository: &str, name: &BlobName, out: &Path, arrived: Arrived<'_>) -> Result<()> {
        let url = self.url(&format!("{repository}/blobs/{}", name.digest));
        let response =
            watched(out, arrived, || self.ask(repository, Work::Pull, HttpRequest { out: Some(out), ..self.request("GET", &url) }))?;
        match response.status {
            200 | 206 => {
                arrived(name.size);
                Ok(())
            }
            404 => Err(damaged(format!("{} has no blob {} of {repository}, which a manifest names", self.place().host, name.digest))),
            status => Err(self.refused("sends no blob", repository, &name.digest, status)),
        }
    }

    pub(crate) fn refused(&self, what: &str, repository: &str, reference: &str, status: u16) -> anyhow::Error {
        let host = &self.place().host;
        let hint = if [401, 403].contains(&status) { format!("\nhint: docker login {host}") } else { String::new() };
        anyhow::anyhow!("{host} {what} of {repository}, {reference}: status {status}{hint}")
    }
}

/// Tells `arrived` the length of the file `out` now and then while `work` lets curl fill it.
fn watched<T>(out: &Path, arrived: Arrived<'_>, work: impl FnOnce() -> T) -> T {
    let (end, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                out.metadata().into_iter().for_each(|file| arrived(file.len()));
            }
        });
        let done = work();
        drop(end);
        done
    })
}

/// Empties the file that a request writes to.
fn empty(request: &HttpRequest<'_>) -> Result<()> {
    let Some(out) = request.out else { return Ok(()) };
    std::fs::File::create(out).map(drop).with_context(|| format!("cannot empty `{}`", out.display()))
}

/// curl's own last line instead of its command and all its output.
fn in_one_line(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<Failure>() {
        Some(Failure { step: Some(step), exit, tail, .. }) => {
            anyhow::anyhow!("{step}: {}", tail.last().cloned().unwrap_or_else(|| format!("curl: {exit}")))
        }
        _ => error,
    }
}
