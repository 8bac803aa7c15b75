//! The statement about a root file system that machines take as an update: an in-toto statement with a predicate of our own, which
//! `pkg/gpt-tools/rootfs/usr/bin/eve-verify` reads on the machine.

use crate::{Resource, statement::STATEMENT};
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

/// Names the form of [`Update`]: `docs/SECURE-BOOT.md` describes it.
const PREDICATE: &str = "urn:eve-xtask:update:v1";

/// A statement about one root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateStatement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Resource>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    /// What a machine compares with itself.
    pub predicate: Update,
}

/// What a machine compares with itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// The version, as the image has it in `/etc/eve-release`.
    pub version: String,
    /// `amd64`.
    pub architecture: String,
    /// Bytes of the file.
    pub size: u64,
    /// The time of the commit: a Unix timestamp. A machine refuses one that is less than its own.
    pub made: i64,
    /// Package and version of the unified kernel image's stub, which comes from the machine that built it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stub: Option<String>,
}

impl UpdateStatement {
    /// The statement about the file `name` with this SHA-256. The machine's reader takes the values of one line each and without quotes.
    pub fn new(name: &str, sha256: &str, predicate: Update) -> Result<Self> {
        for (what, text) in [("version", &predicate.version), ("architecture", &predicate.architecture)] {
            if text.is_empty() || !text.chars().all(|letter| letter.is_ascii_graphic() && !"\",\\".contains(letter)) {
                bail!("its {what} `{}` cannot stand in a statement", text.escape_debug());
            }
        }
        Ok(Self { kind: STATEMENT.to_owned(), subject: vec![Resource::of(name, sha256)], predicate_type: PREDICATE.to_owned(), predicate })
    }

    /// Its JSON, a line for each value.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Reads the JSON.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let statement: Self = serde_json::from_slice(json).context("it is no statement about an update")?;
        if statement.predicate_type != PREDICATE {
            bail!("its predicateType is `{}`, and only `{PREDICATE}` can be read", statement.predicate_type);
        }
        Ok(statement)
    }

    /// The SHA-256 of the file in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> Option<&str> {
        self.subject.first().and_then(Resource::sha256)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn update(version: &str) -> Result<UpdateStatement> {
        let predicate = Update { version: version.into(), architecture: "amd64".into(), size: 7, made: 1_700_000_000, stub: None };
        UpdateStatement::new("rootfs.img", "aa", predicate)
    }

    #[test]
    fn a_statement_has_a_line_for_each_value_and_is_read_as_it_was_written() {
        let written = update("1.0-kvm-amd64").unwrap();
        let json = written.to_json().unwrap();
        for line in [
            "  \"predicateType\": \"urn:eve-xtask:update:v1\",",
            "        \"sha256\": \"aa\"",
            "    \"version\": \"1.0-kvm-amd64\",",
            "    \"architecture\": \"amd64\",",
            "    \"size\": 7,",
            "    \"made\": 1700000000",
        ] {
            assert_eq!(json.lines().filter(|found| *found == line).count(), 1, "{line}\n{json}");
        }
        let read = UpdateStatement::parse(json.as_bytes()).unwrap();
        assert_eq!((read.sha256(), &read), (Some("aa"), &written));
        let error = UpdateStatement::parse(json.replace("update:v1", "update:v2").as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("its predicateType is `urn:eve-xtask:update:v2`"), "{error}");
    }

    #[test]
    fn a_version_that_the_machine_cannot_read_is_refused() {
        for version in ["", "1\n\"sha256\": \"bb\"", "1,2", "a b", "\\u0041"] {
            let error = update(version).unwrap_err().to_string();
            assert!(error.starts_with("its version `") && error.ends_with("` cannot stand in a statement"), "{error}");
        }
    }
}
