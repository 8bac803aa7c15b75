//! Names with a meaning in images: annotations, labels, media types. Sources: OCI image specification, containerd, `linuxkit
//! pkg build`.

/// Annotation of a descriptor in the root index: the image's full name, by which linuxkit's cache finds it.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The same in layouts exported by buildkit and containerd; there [`REF_NAME`] may be a tag only.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// Annotation of an attestation's descriptor: digest of the attested manifest.
pub const ATTESTATION_SUBJECT: &str = "vnd.docker.reference.digest";

/// Label: URL of the package's source. `linuxkit pkg build` takes it from the git remote.
pub const LABEL_SOURCE: &str = "org.opencontainers.image.source";
/// Label: commit of the package's source; absent without a git tree.
pub const LABEL_REVISION: &str = "org.opencontainers.image.revision";
/// Label: `config:` of the package's build.yml as compact JSON; read when an image is composed.
pub const LABEL_CONFIG: &str = "org.mobyproject.config";

/// Media type of an index of manifests.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an image's manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an image's configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of an uncompressed layer; this crate writes these.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Media type of a gzip layer.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Media type of a zstd layer.
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Annotation of an artifact's file: its name.
pub const TITLE: &str = "org.opencontainers.image.title";
/// Media type of an artifact's file.
pub const FILE: &str = "application/octet-stream";
/// Media type of an artifact's record.
pub const RECORD: &str = "application/vnd.eve.artifact.record.v1+json";
/// Docker's media type of an index.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
