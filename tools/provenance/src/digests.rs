//! The list of digests that `--locked` takes: which image each package of a commit has, and which files each artifact. An in-toto statement
//! with a predicate of our own; an envelope signs it as it signs provenance.

use crate::{Resource, statement::STATEMENT};
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Names the form of [`Listed`]: `docs/CACHES.md` describes it.
const PREDICATE: &str = "urn:eve-xtask:digests:v1";
/// The annotation with the digest of an image's configuration and layers.
const CONTENT: &str = "content";

/// The digests of the packages and artifacts of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestList {
    #[serde(rename = "_type")]
    kind: String,
    /// The images of packages.
    subject: Vec<Resource>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    /// The artifacts.
    pub predicate: Listed,
}

/// The predicate: what was built, and its artifacts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The commit that was built.
    pub commit: String,
    /// The verb that built it.
    pub target: String,
    /// The artifacts by the keys of the store.
    pub artifacts: BTreeMap<String, ListedArtifact>,
}

/// An artifact's name and the digests of its files, in the order of its record in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedArtifact {
    /// For people: `rootfs.img`.
    pub name: String,
    /// `sha256:…`, `tree:…`, `folder:…` or `link:…`.
    pub files: Vec<String>,
}

/// An image in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedImage {
    /// Its name with tag and architecture.
    pub name: String,
    /// `sha256:…` of its manifest.
    pub manifest: String,
    /// `sha256:…` of its configuration without the label of the commit, and of its layers.
    pub content: String,
}

impl DigestList {
    /// A list; fails if it has no image.
    pub fn new(images: Vec<ListedImage>, predicate: Listed) -> Result<Self> {
        if images.is_empty() {
            bail!("`{}` is made of no package, so there is nothing to list", predicate.target);
        }
        let subject = images.into_iter().map(|image| {
            let annotations = BTreeMap::from([(CONTENT.to_owned(), image.content.into())]);
            Resource { annotations, ..Resource::of(&image.name, &image.manifest) }
        });
        Ok(Self { kind: STATEMENT.to_owned(), subject: subject.collect(), predicate_type: PREDICATE.to_owned(), predicate })
    }

    /// Its JSON.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Reads the JSON of a list.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let list: Self = serde_json::from_slice(json).context("it is no list of digests")?;
        if (list.kind.as_str(), list.predicate_type.as_str()) != (STATEMENT, PREDICATE) {
            bail!("it is a `{}`, and only `{PREDICATE}` can be read", list.predicate_type);
        }
        list.images().map(|_| list)
    }

    /// The images of packages.
    pub fn images(&self) -> Result<Vec<ListedImage>> {
        let image = |one: &Resource| -> Option<ListedImage> {
            Some(ListedImage {
                name: one.name.clone()?,
                manifest: format!("sha256:{}", one.sha256()?),
                content: one.annotations.get(CONTENT)?.as_str()?.to_owned(),
            })
        };
        self.subject.iter().map(|one| image(one).context("an image of it has no name or no digest")).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_was_written_and_another_document_is_refused() {
        let image = ListedImage { name: "lfedge/eve-x:1-amd64".into(), manifest: "sha256:aa".into(), content: "sha256:bb".into() };
        let artifact = ListedArtifact { name: "rootfs.img".into(), files: vec!["tree:cc".into()] };
        let listed = Listed { commit: "dd".into(), target: "live".into(), artifacts: [("ee".to_owned(), artifact)].into() };
        let written = DigestList::new(vec![image.clone()], listed.clone()).unwrap();
        let json = written.to_json().unwrap();
        let read = DigestList::parse(json.as_bytes()).unwrap();
        assert_eq!((read.images().unwrap(), &read), (vec![image], &written));
        for (from, to, message) in [
            ("digests:v1", "digests:v2", "it is a `urn:eve-xtask:digests:v2`"),
            ("\"content\"", "\"other\"", "an image of it has no name or no digest"),
            ("{", "[", "it is no list of digests"),
        ] {
            let error = format!("{:#}", DigestList::parse(json.replacen(from, to, 1).as_bytes()).unwrap_err());
            assert!(error.contains(message), "{error}");
        }
        let error = DigestList::new(vec![], listed).unwrap_err().to_string();
        assert_eq!(error, "`live` is made of no package, so there is nothing to list");
    }
}
