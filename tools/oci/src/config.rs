//! The `config` object of an image.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Command, environment and labels of containers (OCI image specification, `config.md`). Absent fields and `null` are the
/// default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// User or `user:group`, each a name or a number.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub user: String,
    /// Ports such as `80/tcp`; the values are empty objects.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub exposed_ports: BTreeMap<String, Value>,
    /// `NAME=value`, in order.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub env: Vec<String>,
    /// First part of the command line.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub entrypoint: Vec<String>,
    /// Rest of the command line, or all of it without an entrypoint.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub cmd: Vec<String>,
    /// Mount points of volumes; the values are empty objects.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub volumes: BTreeMap<String, Value>,
    /// Working directory of the command.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub working_dir: String,
    /// Labels; see [`crate::names`] for those with a meaning here.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// Signal that stops the command.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub stop_signal: String,
    /// Other fields (docker's extensions), kept unchanged.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// Docker writes `null` for an empty list or map.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_unknown_fields_are_read() {
        let text = r#"{"Cmd":null,"Env":["A=1"],"Labels":null,"OnBuild":["x"]}"#;
        let config: Config = serde_json::from_str(text).expect("json");
        assert_eq!(config.env, ["A=1"]);
        assert!(config.cmd.is_empty());
        assert_eq!(serde_json::to_string(&config).expect("json"), r#"{"Env":["A=1"],"OnBuild":["x"]}"#);
    }
}
