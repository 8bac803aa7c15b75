//! Archives of images, each one tar file: OCI layouts as buildkit writes them, and `docker save` archives.

mod export;
mod import;

pub use import::clean_path;

use serde::{Deserialize, Serialize};

/// List of images in a `docker save` archive.
const MANIFEST_JSON: &str = "manifest.json";
const INDEX_JSON: &str = "index.json";
const BLOBS: &str = "blobs/sha256/";

/// One image in [`MANIFEST_JSON`]; the fields are paths in the archive.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}
