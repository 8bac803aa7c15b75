//! The statement about an artifact, and its JSON.

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(crate) const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://slsa.dev/provenance/v1";
/// Names the form of [`External`] and [`Internal`]: `docs/PROVENANCE.md` describes it.
const BUILD_TYPE: &str = "urn:eve-xtask:build:v1";
/// The names of digests.
const SHA256: &str = "sha256";
const GIT_COMMIT: &str = "gitCommit";

/// What the statement about a build is made of.
#[derive(Clone, Debug)]
pub struct Build {
    /// Name (the path below the build's folder) and SHA-256 of each artifact.
    pub artifacts: Vec<(String, String)>,
    /// What the caller asked for.
    pub asked: External,
    /// The commit that was built.
    pub commit: String,
    /// What else went in.
    pub materials: Vec<Resource>,
    /// Who built it, a URI.
    pub builder: String,
    /// The versions of what built it, by name.
    pub versions: BTreeMap<String, String>,
}

/// An in-toto statement with SLSA provenance. It has no time and no name of a machine: the same build gives the same bytes everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    /// The artifacts that it is about.
    pub subject: Vec<Resource>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    /// How they were made.
    pub predicate: Provenance,
}

/// SLSA's predicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// What was built.
    pub build_definition: Definition,
    /// What built it.
    pub run_details: RunDetails,
}

/// What was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    build_type: String,
    /// What the caller asked for.
    pub external_parameters: External,
    /// What the build decided itself.
    pub internal_parameters: Internal,
    /// What went in: first the commit.
    pub resolved_dependencies: Vec<Resource>,
}

/// What the caller asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct External {
    /// The verb that builds it: `live`.
    pub target: String,
    /// The knobs that decide about its bytes, by name.
    pub knobs: BTreeMap<String, String>,
}

impl External {
    /// The target and its knobs, as typed.
    #[must_use]
    pub fn words(&self) -> String {
        self.knobs.iter().fold(self.target.clone(), |words, (name, value)| format!("{words} {name}={value}"))
    }
}

/// What the build decided itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Internal {
    /// The engine.
    pub engine: String,
}

/// What built it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDetails {
    /// The builder.
    pub builder: Builder,
}

/// A builder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builder {
    /// A URI.
    pub id: String,
    /// Versions by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub version: BTreeMap<String, String>,
}

/// An artifact or something that went into one (in-toto's resource descriptor).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Digests by algorithm, in hexadecimal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digest: BTreeMap<String, String>,
    /// Anything else that is known of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, serde_json::Value>,
}

/// The annotation with the digests of an image's layers.
const LAYERS: &str = "layers";

impl Resource {
    /// Something with a SHA-256.
    #[must_use]
    pub fn of(name: &str, sha256: &str) -> Self {
        let digest = BTreeMap::from([(SHA256.to_owned(), sha256.strip_prefix("sha256:").unwrap_or(sha256).to_owned())]);
        Self { name: Some(name.to_owned()), digest, annotations: BTreeMap::new() }
    }

    /// The image of a package. Its manifest's digest depends on the commit that it was first built at; the digests of its layers do not.
    #[must_use]
    pub fn image(name: &str, manifest: &str, layers: &[String]) -> Self {
        Self { annotations: BTreeMap::from([(LAYERS.to_owned(), layers.into())]), ..Self::of(name, manifest) }
    }

    /// The digests of an image's layers; none if it is no image.
    #[must_use]
    pub fn layers(&self) -> Option<Vec<&str>> {
        self.annotations.get(LAYERS)?.as_array()?.iter().map(serde_json::Value::as_str).collect()
    }

    /// Its SHA-256 in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> Option<&str> {
        self.digest.get(SHA256).map(String::as_str)
    }
}

impl Statement {
    /// The statement about a build.
    #[must_use]
    pub fn about(build: Build) -> Self {
        let commit = Resource {
            name: Some("tree".to_owned()),
            digest: BTreeMap::from([(GIT_COMMIT.to_owned(), build.commit)]),
            annotations: BTreeMap::new(),
        };
        Self {
            kind: STATEMENT.to_owned(),
            subject: build.artifacts.iter().map(|(name, digest)| Resource::of(name, digest)).collect(),
            predicate_type: PREDICATE.to_owned(),
            predicate: Provenance {
                build_definition: Definition {
                    build_type: BUILD_TYPE.to_owned(),
                    external_parameters: build.asked,
                    internal_parameters: Internal { engine: "native".to_owned() },
                    resolved_dependencies: std::iter::once(commit).chain(build.materials).collect(),
                },
                run_details: RunDetails { builder: Builder { id: build.builder, version: build.versions } },
            },
        }
    }

    /// Its JSON.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Reads the JSON of a statement that this program made; an error names what is wrong.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let statement: Self = serde_json::from_slice(json).context("it is no in-toto statement with SLSA provenance")?;
        let build_type = &statement.predicate.build_definition.build_type;
        for (what, found, known) in [
            ("_type", &statement.kind, STATEMENT),
            ("predicateType", &statement.predicate_type, PREDICATE),
            ("buildType", build_type, BUILD_TYPE),
        ] {
            if found != known {
                bail!("its {what} is `{found}`, and only `{known}` can be read");
            }
        }
        Ok(statement)
    }

    /// The commit that was built.
    pub fn commit(&self) -> Result<&str> {
        let materials = &self.predicate.build_definition.resolved_dependencies;
        let commit = materials.iter().find_map(|material| material.digest.get(GIT_COMMIT)).context("it names no gitCommit")?;
        if !matches!(commit.len(), 40 | 64) || !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            bail!("its gitCommit `{commit}` is no commit's id");
        }
        Ok(commit)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn statement() -> Statement {
        Statement::about(Build {
            artifacts: vec![("live.qcow2".into(), "aa".into())],
            asked: External { target: "live".into(), knobs: BTreeMap::from([("HV".into(), "xen".into())]) },
            commit: COMMIT.into(),
            materials: vec![Resource::image("lfedge/eve-grub:1-amd64", "sha256:bb", &["sha256:cc".into()])],
            builder: "urn:eve-xtask".into(),
            versions: BTreeMap::from([("xtask".into(), "dd".into())]),
        })
    }

    #[test]
    fn a_statement_says_what_the_specifications_ask_for() {
        let json: serde_json::Value = serde_json::from_str(&statement().to_json().unwrap()).unwrap();
        assert_eq!(json["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(json["subject"][0], serde_json::json!({"name": "live.qcow2", "digest": {"sha256": "aa"}}));
        let definition = &json["predicate"]["buildDefinition"];
        assert_eq!(definition["externalParameters"], serde_json::json!({"target": "live", "knobs": {"HV": "xen"}}));
        assert_eq!(definition["resolvedDependencies"][0]["digest"]["gitCommit"], COMMIT);
        assert_eq!(definition["resolvedDependencies"][1]["digest"]["sha256"], "bb");
        assert_eq!(json["predicate"]["runDetails"]["builder"]["version"]["xtask"], "dd");
    }

    #[test]
    fn a_statement_is_read_as_it_was_written_and_another_document_is_refused() {
        let written = statement();
        let json = written.to_json().unwrap();
        let read = Statement::parse(json.as_bytes()).unwrap();
        assert_eq!(read, written);
        assert_eq!(read.commit().unwrap(), COMMIT);
        assert_eq!(read.predicate.build_definition.resolved_dependencies[1].layers().unwrap(), ["sha256:cc"]);
        for (from, to, message) in [
            ("{", "[", "it is no in-toto statement"),
            ("Statement/v1", "Statement/v0.1", "its _type is `https://in-toto.io/Statement/v0.1`"),
            ("provenance/v1", "provenance/v0.2", "its predicateType is"),
            ("eve-xtask:build:v1", "eve-xtask:build:v2", "its buildType is"),
        ] {
            let error = format!("{:#}", Statement::parse(json.replacen(from, to, 1).as_bytes()).unwrap_err());
            assert!(error.contains(message), "{error}");
        }
        for (commit, message) in [("--upload-pack=x", "is no commit's id"), ("", "is no commit's id")] {
            let read = Statement::parse(json.replace(COMMIT, commit).as_bytes()).unwrap();
            assert!(read.commit().unwrap_err().to_string().contains(message));
        }
        let read = Statement::parse(json.replace("gitCommit", "sha1").as_bytes()).unwrap();
        assert_eq!(read.commit().unwrap_err().to_string(), "it names no gitCommit");
    }
}
