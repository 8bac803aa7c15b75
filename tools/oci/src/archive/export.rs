//! Exports an image of the cache as a tar that is an OCI layout and also a `docker save` archive (docker 1.10 and later load
//! it).

use super::{BLOBS, DockerImage, INDEX_JSON, MANIFEST_JSON};
use crate::{
    Cache,
    digest::{check_blob, hex},
    names,
    reference::expand_reference,
    spec::{Descriptor, Index},
};
use anyhow::{Context as _, Result};
use filetree::{Content, EntryKind, Kind, Meta, TarWriter};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufWriter, Write},
    sync::Arc,
};

impl Cache {
    /// Writes the image to `out` as a tar for `docker load` that is also an OCI layout. Checks the digest of every blob. The
    /// same image gives the same bytes.
    pub fn export_docker_archive(&self, reference: &str, arch: &str, out: impl Write) -> Result<()> {
        let full = expand_reference(reference);
        let out = BufWriter::with_capacity(1 << 18, out);
        self.export(&full, arch, out).with_context(|| format!("cannot export the image `{full}` for {arch}"))
    }

    fn export(&self, full: &str, arch: &str, out: impl Write) -> Result<()> {
        let found = self.locate(full, arch)?.with_context(|| format!("the cache `{}` does not contain it", self.dir().display()))?;
        let mut tar = TarWriter::new(out);
        let folder = EntryKind::Node(Kind::Dir(BTreeMap::new()));
        for path in ["blobs", "blobs/sha256"] {
            tar.append(path.as_bytes(), &Meta::root(0o755, 0), &folder, &[])?;
        }
        let mut done = BTreeSet::new();
        for blob in [&found.descriptor, &found.manifest.config].into_iter().chain(&found.manifest.layers) {
            if done.insert(&blob.digest) {
                append(&mut tar, &path_of(blob)?, self.blob_content(blob)?)?;
            }
        }
        let root = Descriptor {
            annotations: Some([names::CONTAINERD_NAME, names::REF_NAME].map(|key| (key.to_owned(), full.to_owned())).into()),
            ..found.descriptor.clone()
        };
        let index = Index { manifests: vec![root], ..Index::default() };
        append(&mut tar, INDEX_JSON, serde_json::to_vec(&index)?.into())?;
        let image = DockerImage {
            config: path_of(&found.manifest.config)?,
            repo_tags: Some(vec![full.to_owned()]),
            layers: found.manifest.layers.iter().map(path_of).collect::<Result<_>>()?,
        };
        append(&mut tar, MANIFEST_JSON, serde_json::to_vec(&[image])?.into())?;
        append(&mut tar, "oci-layout", Content::from("{\"imageLayoutVersion\":\"1.0.0\"}"))?;
        tar.finish()?;
        Ok(())
    }

    fn blob_content(&self, blob: &Descriptor) -> Result<Content> {
        let path = self.blob_path(&blob.digest)?;
        let file = File::open(&path).with_context(|| format!("cannot open the blob `{}`", path.display()))?;
        check_blob(&file, &path, &blob.digest, blob.size)?;
        Ok(Content::Range { file: Arc::new(file), offset: 0, len: blob.size })
    }
}

fn path_of(blob: &Descriptor) -> Result<String> {
    Ok(format!("{BLOBS}{}", hex(&blob.digest)?))
}

fn append(tar: &mut TarWriter<impl Write>, path: &str, content: Content) -> Result<()> {
    let kind = EntryKind::Node(Kind::File { content, link: None });
    tar.append(path.as_bytes(), &Meta::root(0o644, 0), &kind, &[])
}
