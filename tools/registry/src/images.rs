//! Images between a cache and a registry: `NAME:TAG-ARCH` for one architecture and the index `NAME:TAG` for all, as linuxkit names them.
//! A tag that exists is not moved: it names what its content was when it was first sent.

use crate::{
    client::{Client, Progress},
    damage::damaged,
    place::own_name,
};
use anyhow::{Context as _, Result, bail};
use common::Arch;
use oci::{Cache, DamagedBlob, Document, Image};

/// How often an index is written again because another machine wrote it at the same time.
const ROUNDS: usize = 5;

/// What became of an image that was to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is in the registry now.
    New,
    /// It was there.
    Known,
    /// The registry has another image under this tag, with this digest; it stays.
    Other(String),
}

impl Client {
    /// Takes an image into `cache`; returns its digest, or none if the registry does not have it. Every byte is checked.
    pub fn take(&self, cache: &Cache, reference: &str, arch: Arch) -> Result<Option<String>> {
        self.take_if(cache, reference, arch, &|_| true, &|_, _| {})
    }

    /// The same, if `accepts` agrees with the image before it gets its name in the cache.
    pub(crate) fn take_if(
        &self,
        cache: &Cache,
        reference: &str,
        arch: Arch,
        accepts: &dyn Fn(&Image) -> bool,
        progress: Progress<'_>,
    ) -> Result<Option<String>> {
        let (name, tag) = own_name(reference)?;
        let repository = self.place().repository(name);
        let manifest = match self.find(&repository, &of_arch(tag, arch), arch)? {
            None => self.find(&repository, tag, arch)?,
            found => found,
        };
        let Some(manifest) = manifest else { return Ok(None) };
        let mut missing = Vec::new();
        for blob in manifest.blobs()? {
            if cache.blob(&blob)?.is_none() {
                missing.push(blob);
            }
        }
        let (mut before, total) = (0, missing.iter().map(|blob| blob.size).sum());
        for blob in missing {
            let file = cache.incoming()?;
            self.blob(&repository, &blob, file.path(), &|bytes| progress(before + bytes, total))?;
            before += blob.size;
            cache.keep_blob(file, &blob).map_err(|error| match error.is::<DamagedBlob>() {
                true => damaged(format!("{} sends other bytes for {repository}:{tag}, {}", self.place().host, blob.digest)),
                false => error,
            })?;
        }
        match accepts(&cache.unnamed(reference, arch.as_str(), &manifest)?) {
            true => cache.add(reference, arch.as_str(), &manifest).map(Some),
            false => Ok(None),
        }
    }

    /// Sends an image of `cache`, and puts it into the index of its architectures. `replaces`: what is there is wrong.
    pub(crate) fn give(&self, cache: &Cache, reference: &str, arch: Arch, replaces: bool) -> Result<Sent> {
        let (name, tag) = own_name(reference)?;
        let repository = self.place().repository(name);
        let manifest = cache.manifest(reference, arch.as_str())?.with_context(|| format!("the image {reference} is not in the cache"))?;
        let single = of_arch(tag, arch);
        let known = if replaces { None } else { self.find(&repository, &single, arch)? };
        let sent = match known {
            Some(known) if known.digest != manifest.digest => return Ok(Sent::Other(known.digest)),
            Some(_) => Sent::Known,
            None => {
                self.put_image(cache, &repository, &single, arch, &manifest, replaces)?;
                Sent::New
            }
        };
        if single != tag {
            self.join_index(&repository, tag)?;
        }
        Ok(sent)
    }

    fn put_image(&self, cache: &Cache, repository: &str, tag: &str, arch: Arch, manifest: &Document, replaces: bool) -> Result<()> {
        for blob in manifest.blobs()? {
            let path = cache.blob(&blob)?.with_context(|| format!("the blob {} is not in the cache", blob.digest))?;
            self.put_blob(repository, &blob, &path, replaces)?;
        }
        self.put_manifest(repository, &manifest.digest, manifest)?;
        self.put_manifest(repository, tag, &Document::index(&[(arch.to_string(), manifest.clone())], None)?)?;
        if replaces { self.check_blobs(repository, manifest) } else { Ok(()) }
    }

    /// The manifest for `arch` under a tag; none if there is none.
    fn find(&self, repository: &str, tag: &str, arch: Arch) -> Result<Option<Document>> {
        let Some(document) = self.manifest(repository, tag)? else { return Ok(None) };
        if !document.is_index() {
            return Ok(Some(document));
        }
        let Some((digest, _)) = document.manifest_for(arch.as_str())? else { return Ok(None) };
        let manifest = self.manifest(repository, &digest)?;
        let missing = || damaged(format!("{} has no manifest {digest}, which its {repository}:{tag} names", self.place().host));
        manifest.map(Some).ok_or_else(missing)
    }

    /// Makes the index `TAG` name every `TAG-ARCH` that there is. Machines that send different architectures at the same time may undo each
    /// other's index; so each looks again after it has written, until nothing is missing.
    fn join_index(&self, repository: &str, tag: &str) -> Result<()> {
        for _ in 0..ROUNDS {
            let mut images = Vec::new();
            for arch in Arch::ALL {
                images.extend(self.find(repository, &of_arch(tag, *arch), *arch)?.map(|image| (arch.to_string(), image)));
            }
            let old = self.manifest(repository, tag)?;
            let index = Document::index(&images, old.as_ref().filter(|old| old.is_index()))?;
            if old.is_some_and(|old| old.digest == index.digest) {
                return Ok(());
            }
            self.put_manifest(repository, tag, &index)?;
        }
        bail!("the index {repository}:{tag} changes each time it is written")
    }
}

/// The tag for one architecture.
fn of_arch(tag: &str, arch: Arch) -> String {
    let suffix = format!("-{arch}");
    if tag.ends_with(&suffix) { tag.to_owned() } else { format!("{tag}{suffix}") }
}
