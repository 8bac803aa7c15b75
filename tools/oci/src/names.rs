//! The names that give meaning to images: annotations of indexes, labels of configurations, media types.
//! Sources: the OCI image specification, containerd and `linuxkit pkg build`.

/// Annotation of a descriptor in the root index: the image's full name. It is what linuxkit's cache looks images up by.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The same as buildkit and containerd write it into an exported layout; there [`REF_NAME`] may hold the tag alone.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// Annotation of an attestation's descriptor: the digest of the manifest that it speaks of.
pub const ATTESTATION_SUBJECT: &str = "vnd.docker.reference.digest";

/// Label: where the package's source lives. `linuxkit pkg build` takes it from the git remote.
pub const LABEL_SOURCE: &str = "org.opencontainers.image.source";
/// Label: the commit that the package was built from; only a build from a git tree has it.
pub const LABEL_REVISION: &str = "org.opencontainers.image.revision";
/// Label: the `config:` of the package's build.yml as compact JSON, read again when an image is composed.
pub const LABEL_CONFIG: &str = "org.mobyproject.config";
/// Label: the version of the linuxkit that built the image.
pub const LABEL_LINUXKIT_VERSION: &str = "org.mobyproject.linuxkit.version";
/// Label: the commit of the linuxkit that built the image.
pub const LABEL_LINUXKIT_REVISION: &str = "org.mobyproject.linuxkit.revision";

/// Media type of an index of manifests.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an image's manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an image's configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of an uncompressed layer: what this crate writes.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Media type of a gzip layer.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Media type of a zstd layer.
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker's older media type for an index.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's older media type for a manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
