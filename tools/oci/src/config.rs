//! The `config` object of an image: what a container made from it runs, and its labels.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a container made from the image runs (OCI image specification, `config.md`). Absent and `null` are the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// User, `user:group`, by name or number.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub user: String,
    /// Ports such as `80/tcp`; the values are empty objects.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub exposed_ports: BTreeMap<String, Value>,
    /// `NAME=value`, in order.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub env: Vec<String>,
    /// Start of the command line.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub entrypoint: Vec<String>,
    /// Rest of the command line, or all of it.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub cmd: Vec<String>,
    /// Paths with data of their own; the values are empty objects.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub volumes: BTreeMap<String, Value>,
    /// Where the command starts.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub working_dir: String,
    /// Labels; see [`crate::names`] for those that mean something here.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// Signal that asks the command to end.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub stop_signal: String,
    /// What else stood there (docker's extensions), kept as it is.
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
