//! Archives of images, one file each: OCI layouts in a tar, as buildkit writes them, and what `docker save` writes.

mod export;
mod import;

use serde::{Deserialize, Serialize};

/// Name of the list of images in an archive of docker's.
const MANIFEST_JSON: &str = "manifest.json";
const INDEX_JSON: &str = "index.json";
const BLOBS: &str = "blobs/sha256/";

/// One image of [`MANIFEST_JSON`]: paths in the archive.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}
