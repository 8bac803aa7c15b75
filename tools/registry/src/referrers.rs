//! Files in a registry and what refers to them (OCI 1.1): a file is an artifact whose manifest follows from its name and bytes, and a
//! statement about it is a manifest with the file's as its `subject`. A registry that does not list what refers to a manifest gets the list
//! as an index under the tag `sha256-HEX`, as the specification says.

use crate::{
    artifacts::title,
    client::{Client, Work},
    team::Team,
};
use anyhow::{Context as _, Result};
use child::curl_request::HttpRequest;
use common::eprintln;
use oci::{
    BlobName, Document,
    names::{FILE, INDEX, MANIFEST, TITLE},
};
use serde::{Deserialize, Serialize};
use std::{io::Write as _, path::Path};

/// The repository below the prefix.
const REPOSITORY: &str = "attested";
/// The configuration of an artifact that has none.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The type of a file's artifact.
const FILE_ARTIFACT: &str = "application/vnd.eve-xtask.file.v1";
/// How often the list of referrers is written again because another machine wrote it at the same time.
const ROUNDS: usize = 5;
/// The most pages of a list of referrers.
const PAGES: usize = 100;

/// A blob or manifest in a manifest or an index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: String,
    artifact_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Descriptor>,
}

/// What is read of a manifest that refers to another. It may be an index, which has no layers.
#[derive(Debug, Deserialize)]
struct Referrer {
    #[serde(default)]
    layers: Vec<Descriptor>,
    subject: Option<Descriptor>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    manifests: Vec<Descriptor>,
}

impl Team {
    /// Sends a file under `tag`, and `statement` about it, of this media type. Unlike the packages of a build, it must arrive.
    pub fn publish(&self, file: &Path, tag: &str, media_type: &str, statement: &[u8]) -> Result<()> {
        self.client().publish(file, tag, media_type, statement)
    }

    /// The statements about a file that the registry has, with one of these media types: type and bytes.
    pub fn statements(&self, file: &Path, media_types: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
        self.client().statements(file, media_types)
    }
}

impl Client {
    fn publish(&self, file: &Path, tag: &str, media_type: &str, statement: &[u8]) -> Result<()> {
        let repository = self.place().repository(REPOSITORY);
        let name = BlobName::of(file)?;
        let subject = manifest_of_file(file, &name)?;
        self.put_bytes(&repository, b"{}")?;
        self.put_blob(&repository, &name, file, false)?;
        self.put_manifest(&repository, tag, &subject)?;
        let layer = Descriptor { media_type: media_type.to_owned(), ..self.put_bytes(&repository, statement)? };
        let manifest = manifest(media_type, layer, Some(descriptor(&subject)))?;
        let answer = self.send_manifest(&repository, &manifest.digest, &manifest)?;
        // A registry that lists referrers by itself says so.
        if answer.field("oci-subject").is_none() {
            let entry = Descriptor { artifact_type: Some(media_type.to_owned()), ..descriptor(&manifest) };
            self.list_referrer(&repository, &fallback_tag(&subject.digest), &entry)?;
        }
        Ok(())
    }

    fn statements(&self, file: &Path, media_types: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
        let repository = self.place().repository(REPOSITORY);
        let subject = manifest_of_file(file, &BlobName::of(file)?)?;
        let (mut found, mut unread) = (Vec::new(), None);
        for entry in self.referrers(&repository, &subject.digest)? {
            // Others may refer to the file with what they like, such as signatures and lists of its parts.
            if entry.artifact_type.as_deref().is_some_and(|kind| !kind.is_empty() && !media_types.contains(&kind)) {
                continue;
            }
            match self.statements_of(&repository, &entry.digest, &subject.digest, media_types) {
                Ok(statements) => found.extend(statements),
                Err(error) => {
                    eprintln!("note: {}, which refers to `{}`, is skipped: {error:#}", entry.digest, file.display());
                    unread = Some(error);
                }
            }
        }
        match unread {
            Some(error) if found.is_empty() => Err(error),
            _ => Ok(found),
        }
    }

    /// The statements in the manifest `digest`, if it refers to the manifest `subject`.
    fn statements_of(&self, repository: &str, digest: &str, subject: &str, media_types: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
        let Some(document) = self.manifest(repository, digest)? else { return Ok(vec![]) };
        let referrer: Referrer = serde_json::from_slice(&document.bytes).context("its manifest cannot be read")?;
        let is_about = referrer.subject.is_some_and(|about| about.digest == subject);
        let mut found = Vec::new();
        for layer in referrer.layers.iter().filter(|layer| is_about && media_types.contains(&layer.media_type.as_str())) {
            let out = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
            let name = BlobName { digest: layer.digest.clone(), size: layer.size };
            self.checked_blob(repository, &name, out.path(), &|_| {})?;
            found.push((layer.media_type.clone(), std::fs::read(out.path()).context("cannot read a statement")?));
        }
        Ok(found)
    }

    /// What refers to the manifest `digest`, by all pages of the registry's own list or by that under the tag.
    fn referrers(&self, repository: &str, digest: &str) -> Result<Vec<Descriptor>> {
        let mut url = self.url(&format!("{repository}/referrers/{digest}"));
        let mut all = Vec::new();
        for page in 0..PAGES {
            let request = HttpRequest { fields: vec![("Accept", INDEX.to_owned())], ..self.request("GET", &url) };
            let response = self.ask(repository, Work::Pull, request)?;
            match response.status {
                200 => {}
                404 if page == 0 => {
                    let listed = self.listed(repository, &fallback_tag(digest))?;
                    return Ok(listed.map(|index| index.manifests).unwrap_or_default());
                }
                status => return Err(self.refused("does not tell what refers to a manifest", repository, digest, status)),
            }
            let index: Index = serde_json::from_slice(&response.body).context("a list of referrers is an index")?;
            all.extend(index.manifests);
            match response.field("link").and_then(next_page) {
                None => return Ok(all),
                Some(next) => url = self.absolute(next),
            }
            if !url.starts_with(&self.place().base()) {
                anyhow::bail!("the list of what refers to {digest} goes on elsewhere: {url}");
            }
        }
        anyhow::bail!("the list of what refers to {digest} of {repository} has more than {PAGES} pages")
    }

    /// The list under the tag.
    fn listed(&self, repository: &str, tag: &str) -> Result<Option<Index>> {
        let Some(document) = self.manifest(repository, tag)? else { return Ok(None) };
        serde_json::from_slice(&document.bytes).with_context(|| format!("{repository}:{tag} is no index")).map(Some)
    }

    /// Adds an entry to the list under the tag, until it is there: another machine may write it at the same time.
    fn list_referrer(&self, repository: &str, tag: &str, entry: &Descriptor) -> Result<()> {
        for _ in 0..ROUNDS {
            let mut manifests = self.listed(repository, tag)?.map(|index| index.manifests).unwrap_or_default();
            if manifests.contains(entry) {
                return Ok(());
            }
            manifests.push(entry.clone());
            let index = Index { schema_version: 2, media_type: INDEX.to_owned(), manifests };
            self.put_manifest(repository, tag, &Document::new(INDEX, serde_json::to_vec(&index)?)?)?;
        }
        anyhow::bail!("the index {repository}:{tag} changes each time it is written")
    }

    /// Sends a small blob.
    fn put_bytes(&self, repository: &str, bytes: &[u8]) -> Result<Descriptor> {
        let mut file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
        file.write_all(bytes).context("cannot write a temporary file")?;
        let name = BlobName::of(file.path())?;
        self.put_blob(repository, &name, file.path(), false)?;
        Ok(Descriptor { digest: name.digest, size: name.size, ..Descriptor::default() })
    }
}

/// The manifest of a file: everybody who has the file knows its digest.
fn manifest_of_file(file: &Path, name: &BlobName) -> Result<Document> {
    let annotations = Some([(TITLE.to_owned(), title(file))].into());
    let layer = Descriptor { media_type: FILE.to_owned(), digest: name.digest.clone(), size: name.size, annotations, artifact_type: None };
    manifest(FILE_ARTIFACT, layer, None)
}

fn manifest(artifact_type: &str, layer: Descriptor, subject: Option<Descriptor>) -> Result<Document> {
    let config = Descriptor {
        media_type: EMPTY.to_owned(),
        digest: format!("sha256:{}", common::digest::sha256(b"{}")),
        size: 2,
        ..Descriptor::default()
    };
    let (media_type, artifact_type) = (MANIFEST.to_owned(), artifact_type.to_owned());
    let manifest = Manifest { schema_version: 2, media_type, artifact_type, config, layers: vec![layer], subject };
    Document::new(MANIFEST, serde_json::to_vec(&manifest)?)
}

fn descriptor(document: &Document) -> Descriptor {
    let (media_type, digest) = (document.media_type.clone(), document.digest.clone());
    Descriptor { media_type, digest, size: document.bytes.len() as u64, ..Descriptor::default() }
}

/// The URL of the next page in a field `Link` (RFC 8288), which may be without a host.
fn next_page(link: &str) -> Option<&str> {
    let mut links = link.split(',').filter_map(|link| link.split_once(';'));
    let (target, _) = links.find(|(_, words)| words.split(';').any(|word| matches!(word.trim(), "rel=\"next\"" | "rel=next")))?;
    target.trim().strip_prefix('<')?.strip_suffix('>')
}

/// The tag of the list of what refers to a manifest.
fn fallback_tag(digest: &str) -> String {
    digest.replace(':', "-")
}
