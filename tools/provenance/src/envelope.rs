//! The signed form of a statement: a DSSE envelope, one line of a `.intoto.jsonl` file.

use anyhow::{Context as _, Result, bail};
use common::base64;
use serde::{Deserialize, Serialize};

/// What the payload of an envelope is.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// A payload with its signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    payload_type: String,
    payload: String,
    signatures: Vec<Signature>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Signature {
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// The bytes that are signed for `payload` (DSSE's pre-authentication encoding).
#[must_use]
pub fn signed_bytes(payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

impl Envelope {
    /// The payload with a signature of its [`signed_bytes`] by the key that `key` names.
    #[must_use]
    pub fn new(payload: &[u8], key: &str, signature: &[u8]) -> Self {
        let signature = Signature { keyid: key.to_owned(), sig: base64::encode(signature) };
        Self { payload_type: PAYLOAD_TYPE.to_owned(), payload: base64::encode(payload), signatures: vec![signature] }
    }

    /// Its JSON, one line.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string(self)? + "\n")
    }

    /// Reads the JSON of an envelope with a statement.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let envelope: Self = serde_json::from_slice(json).context("it is no DSSE envelope")?;
        if envelope.payload_type != PAYLOAD_TYPE {
            bail!("its payload is `{}`, and only `{PAYLOAD_TYPE}` can be read", envelope.payload_type);
        }
        Ok(envelope)
    }

    /// The payload, whoever signed it.
    pub fn payload(&self) -> Result<Vec<u8>> {
        base64::decode(&self.payload).context("its payload is not base64")
    }

    /// Whether `key` names one of its signers.
    #[must_use]
    pub fn is_by(&self, key: &str) -> bool {
        self.signatures.iter().any(|one| one.keyid == key)
    }

    /// The signatures.
    pub fn signatures(&self) -> Result<Vec<Vec<u8>>> {
        self.signatures.iter().map(|one| base64::decode(&one.sig).context("its signature is not base64")).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_bytes_are_those_of_the_specification() {
        assert_eq!(signed_bytes(b"hello"), b"DSSEv1 28 application/vnd.in-toto+json 5 hello");
    }

    #[test]
    fn an_envelope_is_read_as_it_was_written_and_another_document_is_refused() {
        let written = Envelope::new(b"payload", "key", &[1, 2, 250]);
        let json = written.to_json().unwrap();
        let read = Envelope::parse(json.as_bytes()).unwrap();
        assert_eq!((read.payload().unwrap(), read.signatures().unwrap()), (b"payload".to_vec(), vec![vec![1, 2, 250]]));
        assert!(read.is_by("key") && !read.is_by("other"));
        assert!(json.ends_with("}\n") && json.matches('\n').count() == 1, "{json}");
        let refuse = |from: &str, to: &str| Envelope::parse(json.replace(from, to).as_bytes()).unwrap_err().to_string();
        assert_eq!(refuse("in-toto", "x"), "its payload is `application/vnd.x+json`, and only `application/vnd.in-toto+json` can be read");
        assert_eq!(refuse("payload\":", "load\":"), "it is no DSSE envelope");
        let read = Envelope::parse(json.replace(&written.payload, "?").as_bytes()).unwrap();
        assert_eq!(read.payload().unwrap_err().to_string(), "its payload is not base64");
    }
}
