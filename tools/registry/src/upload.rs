//! Blobs that are sent to a registry: skipped where the registry has them, or uploaded; a cut upload goes on where the registry says, or
//! begins again.

use crate::{
    client::{Client, Work},
    damage::{Damaged, damaged},
};
use anyhow::{Context as _, Result, bail};
use child::curl_request::{HttpBody, HttpRequest, HttpResponse};
use oci::{BlobName, Document, is_blob};
use std::path::Path;

/// How often an upload is taken up again.
const RESUMES: u32 = 3;

impl Client {
    /// Sends the blob in the file `path`, unless the registry has it. `replaces`: what the registry has may be wrong.
    pub(crate) fn put_blob(&self, repository: &str, name: &BlobName, path: &Path, replaces: bool) -> Result<()> {
        let url = self.url(&format!("{repository}/blobs/{}", name.digest));
        // With the rights for the upload, because a registry may hide from others what exists.
        match self.ask(repository, Work::Push, self.request("HEAD", &url))?.status {
            200 if !replaces => return Ok(()),
            200 | 404 => {}
            status => return Err(self.refused("does not tell about a blob", repository, &name.digest, status)),
        }
        let mut location = self.start(repository, name)?;
        let mut from = 0;
        for resumes in 0..=RESUMES {
            match self.send_rest(repository, name, path, from, &location) {
                Ok(next) => return self.finish(repository, name, &next),
                Err(error) if resumes == RESUMES => return Err(error),
                Err(_) => {}
            }
            (location, from) = match self.progress(repository, &location)? {
                Some((next, done)) if done <= name.size => (next, done),
                _ => (self.start(repository, name)?, 0),
            };
        }
        bail!("the blob {} of {repository} was not uploaded", name.digest)
    }

    /// Starts an upload and returns its URL.
    fn start(&self, repository: &str, name: &BlobName) -> Result<String> {
        let url = self.url(&format!("{repository}/blobs/uploads/"));
        let request =
            HttpRequest { fields: vec![("Content-Type", OCTETS.to_owned())], body: HttpBody::Bytes(b""), ..self.request("POST", &url) };
        let response = self.ask(repository, Work::Push, request)?;
        match response.status {
            202 => self.location(&response),
            status => Err(self.refused("does not take a blob", repository, &name.digest, status)),
        }
    }

    /// Sends the file from this position on; returns the URL at which the upload ends.
    fn send_rest(&self, repository: &str, name: &BlobName, path: &Path, from: u64, location: &str) -> Result<String> {
        let mut fields = vec![("Content-Type", OCTETS.to_owned())];
        if from > 0 {
            fields.push(("Content-Range", format!("{from}-{}", name.size - 1)));
        }
        if from == name.size {
            return Ok(location.to_owned());
        }
        let request = HttpRequest { fields, body: HttpBody::File(path, from), ..self.request("PATCH", location) };
        let response = self.ask(repository, Work::Push, request)?;
        match response.status {
            202 => self.location(&response),
            status => Err(self.refused("does not take the bytes", repository, &name.digest, status)),
        }
    }

    /// The URL of an upload and how many bytes the registry has of it; none if the registry has forgotten it.
    fn progress(&self, repository: &str, location: &str) -> Result<Option<(String, u64)>> {
        let response = self.ask(repository, Work::Push, self.request("GET", location))?;
        if response.status != 204 {
            return Ok(None);
        }
        let end = response.field("range").and_then(|range| range.rsplit_once('-')?.1.parse::<u64>().ok());
        // `0-0` stands for one byte or for none, so such an upload begins again.
        Ok(match end {
            Some(end) if end > 0 => Some((self.location(&response)?, end + 1)),
            _ => None,
        })
    }

    /// Ends an upload: the registry compares the digest.
    fn finish(&self, repository: &str, name: &BlobName, location: &str) -> Result<()> {
        let separator = if location.contains('?') { '&' } else { '?' };
        let url = format!("{location}{separator}digest={}", name.digest);
        let request =
            HttpRequest { fields: vec![("Content-Type", OCTETS.to_owned())], body: HttpBody::Bytes(b""), ..self.request("PUT", &url) };
        match self.ask(repository, Work::Push, request)?.status {
            201 | 204 => Ok(()),
            status => Err(self.refused("does not keep the blob", repository, &name.digest, status)),
        }
    }

    /// Fails if the registry does not have a manifest and every blob of it as they were just sent. Some registries keep the bytes that they have under
    /// a digest, whatever is sent.
    pub(crate) fn check_blobs(&self, repository: &str, manifest: &Document) -> Result<()> {
        match self.manifest(repository, &manifest.digest) {
            Ok(Some(_)) => {}
            Err(error) if !error.is::<Damaged>() => return Err(error),
            Ok(None) | Err(_) => return Err(self.refuse_blob(repository, &manifest.digest)),
        }
        for name in manifest.blobs()? {
            let file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
            self.blob(repository, &name, file.path(), &|_| {})?;
            if !is_blob(file.path(), &name)? {
                return Err(self.refuse_blob(repository, &name.digest));
            }
        }
        Ok(())
    }

    fn refuse_blob(&self, repository: &str, digest: &str) -> anyhow::Error {
        let host = &self.place().host;
        let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
        damaged(format!(
            "{host} keeps other bytes under {digest} of {repository}, though the right ones were sent\nhint: the registry's owner removes them, for docker-registry in its data: rm docker/registry/v2/blobs/sha256/{}/{hex}/data; the next build with CACHE_MODE=write sends them again",
            hex.get(..2).unwrap_or_default()
        ))
    }

    /// The URL in the field `Location`, which may be without a host.
    fn location(&self, response: &HttpResponse) -> Result<String> {
        let host = &self.place().host;
        let location = response.field("location").with_context(|| format!("{host} starts an upload but does not say where"))?;
        Ok(self.absolute(location))
    }

    /// A URL in an answer, which may be without a host.
    pub(crate) fn absolute(&self, location: &str) -> String {
        if location.contains("://") {
            return location.to_owned();
        }
        let base = self.place().base();
        let start = base.strip_suffix("/v2/").unwrap_or(&base);
        format!("{start}/{}", location.trim_start_matches('/'))
    }
}

const OCTETS: &str = "application/octet-stream";
