//! The linuxkit yml as a checked value. Fields are in linuxkit's order, which its metadata file shows.

use crate::{
    node::Node,
    schema::{self, check},
};
use anyhow::{Context as _, Result, bail};
use oci::expand_reference;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// A parsed and checked linuxkit yml.
#[derive(Clone, Debug)]
pub struct Yml {
    /// File name for error messages.
    pub(crate) name: String,
    pub(crate) moby: Moby,
}

/// An image named in a yml.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Place in the yml: `kernel`, `init[2]`, `services[0] pillar`.
    pub place: String,
    /// Name of the image as in the yml.
    pub image: String,
}

/// Sections of the yml.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Moby {
    pub kernel: Kernel,
    pub init: Option<Vec<String>>,
    pub onboot: Option<Vec<Container>>,
    pub onshutdown: Option<Vec<Container>>,
    pub services: Option<Vec<Container>>,
    pub files: Option<Vec<File>>,
    pub volumes: Option<Vec<Volume>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Kernel {
    pub image: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cmdline: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub binary: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tar: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ucode: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct File {
    pub path: String,
    pub directory: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub symlink: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contents: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    pub optional: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<Id>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Volume {
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub readonly: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub format: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
}

/// An owner: a number or a container's name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Id {
    Number(i64),
    Name(String),
}

/// An entry of onboot, onshutdown or services.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Container {
    pub name: String,
    pub image: String,
    #[serde(flatten)]
    pub settings: Settings,
}

type Texts = Option<Vec<String>>;

/// Settings of a container, from a yml or a label. `None` differs from empty: an empty list replaces the label's list.
/// `resources` were checked and sorted, and are copied unchanged.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Texts,
    #[serde(rename = "capabilities.add", skip_serializing_if = "Option::is_none")]
    pub capabilities_add: Texts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ambient: Texts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mounts: Option<Vec<Mount>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binds: Texts,
    #[serde(rename = "binds.add", skip_serializing_if = "Option::is_none")]
    pub binds_add: Texts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<Device>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs: Texts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Texts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Texts,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cwd: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub net: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ipc: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uts: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub userns: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readonly: Option<bool>,
    #[serde(rename = "maskedPaths", skip_serializing_if = "Option::is_none")]
    pub masked_paths: Texts,
    #[serde(rename = "readonlyPaths", skip_serializing_if = "Option::is_none")]
    pub readonly_paths: Texts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<Id>,
    #[serde(rename = "additionalGids", skip_serializing_if = "Option::is_none")]
    pub additional_gids: Option<Vec<Id>>,
    #[serde(rename = "noNewPrivileges", skip_serializing_if = "Option::is_none")]
    pub no_new_privileges: Option<bool>,
    #[serde(rename = "oomScoreAdj", skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i64>,
    #[serde(rename = "rootfsPropagation", skip_serializing_if = "Option::is_none")]
    pub rootfs_propagation: Option<String>,
    #[serde(rename = "cgroupsPath", skip_serializing_if = "Option::is_none")]
    pub cgroups_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysctl: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rlimits: Texts,
    #[serde(rename = "uidMappings", skip_serializing_if = "Option::is_none")]
    pub uid_mappings: Option<Vec<IdMapping>>,
    #[serde(rename = "gidMappings", skip_serializing_if = "Option::is_none")]
    pub gid_mappings: Option<Vec<IdMapping>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeSettings>,
}

/// A mount as in the OCI runtime specification.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Mount {
    pub destination: String,
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    #[serde(rename = "uidMappings", alias = "uidmappings", skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    #[serde(rename = "gidMappings", alias = "gidmappings", skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct IdMapping {
    #[serde(rename = "containerID")]
    pub container_id: u32,
    #[serde(rename = "hostID")]
    pub host_id: u32,
    pub size: u32,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Device {
    pub path: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub major: i64,
    pub minor: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mode: String,
}

/// Actions of linuxkit's init before it starts a container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RuntimeSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroups: Texts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mounts: Option<Vec<Mount>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mkdir: Texts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<Vec<Interface>>,
    #[serde(rename = "bindNS")]
    pub bind_ns: Namespaces,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Interface {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub add: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub peer: String,
    #[serde(rename = "createInRoot")]
    pub create_in_root: bool,
}

/// Path that each namespace is bound to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Namespaces {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mnt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uts: Option<String>,
}

impl Moby {
    /// The sections of containers with their names, in the order of the tar.
    pub(crate) fn containers(&self) -> [(&'static str, &[Container]); 3] {
        [("onboot", &self.onboot), ("onshutdown", &self.onshutdown), ("services", &self.services)]
            .map(|(name, section)| (name, section.as_deref().unwrap_or_default()))
    }

    pub(crate) fn volumes(&self) -> &[Volume] {
        self.volumes.as_deref().unwrap_or_default()
    }
}

impl Yml {
    /// Parses and checks `text`; `name` is its file name in error messages. The error lists all schema violations.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        Self::parse_from(text, name, &|line| format!("line {line}"))
    }

    /// The same for a text that was made of others; `place` says where people wrote a line of it.
    pub fn parse_from(text: &str, name: &str, place: &dyn Fn(u64) -> String) -> Result<Self> {
        let node = Node::parse(text, name)?;
        let mut problems = Vec::new();
        let json = check(&node, &schema::YML, "", &mut problems);
        if !problems.is_empty() {
            problems.sort();
            let lines: Vec<String> = problems.iter().map(|(line, problem)| format!("\n  {}: {problem}", place(*line))).collect();
            bail!("`{name}` is not a valid linuxkit yml:{}", lines.concat());
        }
        let moby: Moby = serde_json::from_value(json).with_context(|| format!("`{name}` contains a number out of range"))?;
        check_names(&moby).with_context(|| format!("`{name}` is not a valid linuxkit yml"))?;
        Ok(Self { name: name.to_owned(), moby })
    }

    /// Host files that the yml names as `source:`; the tar depends on them, too.
    #[must_use]
    pub fn sources(&self) -> Vec<&str> {
        self.moby.files.iter().flatten().map(|file| file.source.as_str()).filter(|source| !source.is_empty()).collect()
    }
}

/// Parses the label `org.mobyproject.config` of an image.
pub(crate) fn parse_label(text: &str) -> Result<Settings> {
    let node = Node::parse(text, "org.mobyproject.config")?;
    let mut problems = Vec::new();
    let json = check(&node, &schema::LABEL, "", &mut problems);
    if let Some((_, problem)) = problems.first() {
        bail!("invalid label `org.mobyproject.config`: {problem}");
    }
    serde_json::from_value(json).context("the label `org.mobyproject.config` contains a number out of range")
}

/// The full name of an image as linuxkit writes it: with the registry, without `:latest` unless it was given.
pub(crate) fn full_name(image: &str) -> String {
    let full = expand_reference(image);
    match full.strip_suffix(":latest") {
        Some(bare) if !image.ends_with(":latest") => bare.to_owned(),
        _ => full,
    }
}

/// All images of the yml, in its order, with repetitions.
#[must_use]
pub fn image_references(yml: &Yml) -> Vec<Reference> {
    let moby = &yml.moby;
    let mut found = Vec::new();
    let mut add = |place: String, image: &str| {
        if !image.is_empty() {
            found.push(Reference { place, image: image.to_owned() });
        }
    };
    add("kernel".to_owned(), &moby.kernel.image);
    for (number, image) in moby.init.iter().flatten().enumerate() {
        add(format!("init[{number}]"), image);
    }
    for (number, volume) in moby.volumes().iter().enumerate() {
        add(format!("volumes[{number}] {}", volume.name), &volume.image);
    }
    for (section, containers) in moby.containers() {
        for (number, container) in containers.iter().enumerate() {
            add(format!("{section}[{number}] {}", container.name), &container.image);
        }
    }
    found
}

/// Checks the names that become folders of the root file system.
fn check_names(moby: &Moby) -> Result<()> {
    let mut seen = BTreeSet::new();
    for volume in moby.volumes() {
        if volume.name.is_empty() || !volume.name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-')) {
            bail!("volumes: invalid name `{}`: only lower-case letters, digits, `_` and `-` are allowed", volume.name);
        }
        if !seen.insert(&volume.name) {
            bail!("volumes: duplicate name `{}`", volume.name);
        }
        if volume.format == "oci" {
            bail!("volumes: `{}` has the format `oci`, which only linuxkit supports", volume.name);
        }
    }
    for (section, containers) in moby.containers() {
        let mut seen = BTreeSet::new();
        for container in containers {
            let name = &container.name;
            if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
                bail!("{section}: invalid name `{name}`: it becomes a folder name");
            }
            if section == "services" && !seen.insert(name) {
                bail!("{section}: duplicate name `{name}`: services run at the same time");
            }
            if container.image.is_empty() || expand_reference(&container.image).contains(char::is_whitespace) {
                bail!("{section}: `{name}` has an invalid image name `{}`", container.image);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_folder() {
        let refused = |text: &str| format!("{:#}", Yml::parse(text, "t.yml").map(|_| ()).expect_err("refused"));
        for name in ["../x", "..", "a/b", ""] {
            let text = format!("services:\n  - {{name: '{name}', image: x}}\n");
            let message = refused(&text);
            assert_eq!(message, format!("`t.yml` is not a valid linuxkit yml: services: invalid name `{name}`: it becomes a folder name"));
        }
        let of = |what: &str| format!("`t.yml` is not a valid linuxkit yml: {what}");
        let twice = "services:\n  - {name: a, image: x}\n  - {name: a, image: y}\n";
        assert_eq!(refused(twice), of("services: duplicate name `a`: services run at the same time"));
        assert!(Yml::parse(&twice.replace("services", "onboot"), "t.yml").is_ok(), "one after the other");
        let letters = "only lower-case letters, digits, `_` and `-` are allowed";
        assert_eq!(refused("volumes:\n  - {name: A}\n"), of(&format!("volumes: invalid name `A`: {letters}")));
        assert_eq!(refused("volumes:\n  - {name: a}\n  - {name: a}\n"), of("volumes: duplicate name `a`"));
        let oci = "volumes: `a` has the format `oci`, which only linuxkit supports";
        assert_eq!(refused("volumes:\n  - {name: a, format: oci}\n"), of(oci));
        assert_eq!(refused("onboot:\n  - {name: a, image: 'x y'}\n"), of("onboot: `a` has an invalid image name `x y`"));
        assert!(Yml::parse("{}", "t.yml").is_ok());
    }

    #[test]
    fn labels_have_no_name() {
        assert!(parse_label(r#"{"binds":["/a:/b"],"runtime":{"mkdir":["/x"]}}"#).is_ok());
        for wrong in [r#"{"name":"x"}"#, "[]"] {
            let message = format!("{:#}", parse_label(wrong).map(|_| ()).expect_err("refused"));
            assert!(message.starts_with("invalid label `org.mobyproject.config`: "), "{message}");
        }
    }
}
