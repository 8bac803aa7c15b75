//! Names of images: short forms, and the full form that the cache stores.

/// The full form of an image's name, as in linuxkit's cache: `alpine` → `docker.io/library/alpine:latest`, `lfedge/eve-x:1` →
/// `docker.io/lfedge/eve-x:1`. A name with a digest gets no tag.
#[must_use]
pub fn expand_reference(reference: &str) -> String {
    let mut full = match reference.split_once('/') {
        None => format!("docker.io/library/{reference}"),
        Some((domain, _)) if domain.contains(['.', ':']) || domain == "localhost" => reference.to_owned(),
        Some(_) => format!("docker.io/{reference}"),
    };
    let last = full.rsplit('/').next().unwrap_or_default();
    if !last.contains([':', '@']) {
        full.push_str(":latest");
    }
    full
}

/// Splits a name into name and digest.
pub(crate) fn split_digest(full: &str) -> (&str, Option<&str>) {
    full.split_once('@').map_or((full, None), |(name, digest)| (name, Some(digest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_expanded_as_linuxkit_does() {
        for (short, full) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("alpine:3", "docker.io/library/alpine:3"),
            ("lfedge/eve-x:1-amd64", "docker.io/lfedge/eve-x:1-amd64"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
            ("localhost/x:1", "localhost/x:1"),
            ("ghcr.io/a/b/c:1", "ghcr.io/a/b/c:1"),
            ("a/b@sha256:00", "docker.io/a/b@sha256:00"),
        ] {
            assert_eq!(expand_reference(short), full);
        }
    }
}
