//! The metadata file: the composed yml with the full names of all images, as linuxkit writes it.

use crate::{Yml, go_json, go_yaml, yml::full_name};
use anyhow::{Result, bail};
use serde_json::{Map, Value};

/// Content of a `metadata: yaml` or `metadata: json` file.
pub(crate) fn render(yml: &Yml, format: &str) -> Result<Vec<u8>> {
    let mut moby = yml.moby.clone();
    let sections = [&mut moby.onboot, &mut moby.onshutdown, &mut moby.services];
    let containers = sections.into_iter().flatten().flatten().map(|container| &mut container.image);
    for image in [&mut moby.kernel.image].into_iter().chain(moby.init.iter_mut().flatten()).chain(containers) {
        if !image.is_empty() {
            *image = full_name(image);
        }
    }
    match format {
        "json" => go_json::to_vec(&moby),
        "yaml" => {
            let mut value = serde_json::to_value(&moby)?;
            as_yaml(&mut value);
            Ok(go_yaml::to_string(&value).into_bytes())
        }
        other => bail!("metadata must be `yaml` or `json`, not `{other}`"),
    }
}

/// Differences between linuxkit's YAML and JSON: missing sections are empty lists, and mounts (a Go type with JSON tags only)
/// have all their fields, in lower case.
fn as_yaml(value: &mut Value) {
    match value {
        Value::Null => *value = Value::Array(Vec::new()),
        Value::Array(items) => items.iter_mut().for_each(as_yaml),
        Value::Object(map) => {
            if map.get("bindNS").is_some_and(|names| names.as_object().is_some_and(Map::is_empty)) {
                map.shift_remove("bindNS");
            }
            for (key, value) in map.iter_mut() {
                match (key.as_str(), &mut *value) {
                    ("mounts", Value::Array(mounts)) => mounts.iter_mut().for_each(full_mount),
                    _ => as_yaml(value),
                }
            }
        }
        _ => {}
    }
}

fn full_mount(mount: &mut Value) {
    let Value::Object(fields) = mount else { return };
    let mut all = Map::new();
    for (key, json) in [("destination", ""), ("type", ""), ("source", "")] {
        all.insert(key.to_owned(), fields.remove(key).unwrap_or(json.into()));
    }
    for (key, json) in [("options", "options"), ("uidmappings", "uidMappings"), ("gidmappings", "gidMappings")] {
        all.insert(key.to_owned(), fields.remove(json).unwrap_or(Value::Array(Vec::new())));
    }
    *fields = all;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_have_all_fields() {
        let yml = Yml::parse("services: [{name: a, image: x/y:1, mounts: [{type: proc}], uid: 7}]\n", "t.yml").expect("yml");
        let text = String::from_utf8(render(&yml, "yaml").expect("yaml")).expect("utf-8");
        let expected = "kernel:\n  image: \"\"\ninit: []\nonboot: []\nonshutdown: []\nservices:\n- name: a\n  image: docker.io/x/y:1\n  mounts:\n  \
                        - destination: \"\"\n    type: proc\n    source: \"\"\n    options: []\n    uidmappings: []\n    gidmappings: []\n  uid: 7\n\
                        files: []\nvolumes: []\n";
        assert_eq!(text, expected);
        let json = String::from_utf8(render(&yml, "json").expect("json")).expect("utf-8");
        assert!(json.contains("\"onboot\": null"), "{json}");
    }
}
