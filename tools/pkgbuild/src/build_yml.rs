//! `build.yml`: name and build settings of a package. Fields, defaults and refused keys are those of `linuxkit pkg`
//! (`src/cmd/linuxkit/pkglib` and `moby.ImageConfig`).

mod checks;

use anyhow::{Context as _, Result, anyhow, bail};
use checks::{check_arches, check_capabilities, with_hint};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeMap, path::Path};

/// A parsed build.yml.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct BuildYml {
    /// Image name without organization.
    pub image: String,
    /// Organization: the part of the image name before `/`.
    pub org: String,
    /// Template of the tag; may contain `{{.Hash}}`.
    pub tag: String,
    /// Path of the Dockerfile, relative to the package.
    pub dockerfile: String,
    /// Architectures to build for, as in Go's `GOARCH`.
    pub arches: Vec<String>,
    /// `SRC:DST`: other folders of the tree that are part of the context and the tag. See [`BuildYml::sources`].
    pub extra_sources: Vec<String>,
    /// URL of the sources, for a label.
    #[serde(rename = "gitrepo")]
    pub git_repo: Option<String>,
    /// Whether `RUN` has network access.
    pub network: bool,
    /// Whether linuxkit builds without a build cache.
    pub disable_cache: bool,
    /// Container settings; become a label.
    pub config: Option<ImageConfig>,
    /// Build arguments as `NAME=value`.
    #[serde(rename = "buildArgs", deserialize_with = "null_is_default")]
    pub args: Vec<String>,
    /// Images that docker saves into the package's folder before the build.
    pub depends: Depends,
}

impl Default for BuildYml {
    fn default() -> Self {
        Self {
            image: String::new(),
            org: "linuxkit".to_owned(),
            tag: HASH.to_owned(),
            dockerfile: "Dockerfile".to_owned(),
            arches: ["amd64", "arm64", "riscv64"].map(str::to_owned).to_vec(),
            extra_sources: Vec::new(),
            git_repo: None,
            network: false,
            disable_cache: false,
            config: None,
            args: Vec::new(),
            depends: Depends::default(),
        }
    }
}

/// The only template expression that is supported.
const HASH: &str = "{{.Hash}}";
/// Prefix of build argument values that linuxkit computes.
const LOOKED_UP: &str = "@lkt:";

/// Blanks the lines of top-level keys not in `keys`, which keeps line numbers and saves most of the parse time. Returns `text`
/// unchanged if anchors, flow maps or tabs may refer to other lines.
fn with_keys<'t>(text: &'t str, keys: &[&str]) -> Cow<'t, str> {
    // One search per character is faster: the standard library scans many bytes at a time.
    if ['&', '*', '{', '\t'].into_iter().any(|mark| text.contains(mark)) || text.contains("<<") {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut wanted = true;
    for line in text.lines() {
        // Indented lines and list items belong to the key above.
        if !line.starts_with([' ', '-', '#']) && !line.is_empty() || line.starts_with("---") {
            wanted = line.split_once(':').is_none_or(|(key, _)| keys.contains(&key.trim_end()));
        }
        kept.push_str(if wanted { line } else { "" });
        kept.push('\n');
    }
    Cow::Owned(kept)
}

/// The word in the build.yml templates of EVE's kernels of 2023, and the image that it stands for.
pub const TEMPLATE_IMAGE: (&str, &str) = ("%IMAGE%", "eve-kernel");

impl BuildYml {
    /// Reads the file at `path`. Errors name the file and, if known, the line.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads only the keys that the tag depends on, and the architectures, and ignores all others, as linuxkit did before 2024; old trees have
    /// meaningless keys. Use [`BuildYml::read`] to build.
    pub fn read_names(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        Self::parse_names(&text, &path.display().to_string())
    }

    /// As [`BuildYml::read_names`], of `text`; `name` is its file name in error messages.
    pub(crate) fn parse_names(text: &str, name: &str) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case", default)]
        struct Names {
            image: String,
            org: String,
            tag: String,
            arches: Vec<String>,
            extra_sources: Vec<String>,
        }
        impl Default for Names {
            fn default() -> Self {
                let BuildYml { image, org, tag, arches, extra_sources, .. } = BuildYml::default();
                Self { image, org, tag, arches, extra_sources }
            }
        }
        let text = text.replace(TEMPLATE_IMAGE.0, TEMPLATE_IMAGE.1);
        let kept = with_keys(&text, &["image", "org", "tag", "arches", "extra-sources"]);
        let Names { image, org, tag, arches, extra_sources } = parse_yaml(&kept, name)?;
        check_arches(&arches, &kept, name)?;
        let yml = Self { image, org, tag, arches, extra_sources, ..Self::default() };
        yml.check(name)?;
        Ok(yml)
    }

    /// Parses `text`; `name` is its file name in error messages.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let mut yml: Self = parse_yaml(text, name)?;
        if let Some(config) = &mut yml.config {
            config.drop_empty();
            check_capabilities(config, text, name)?;
        }
        yml.check(name)?;
        Ok(yml)
    }

    fn check(&self, name: &str) -> Result<()> {
        if self.image.is_empty() {
            bail!("{name}: `image:` is missing\nhint: add the image's name, for example `image: eve-grub`");
        }
        let targets = &self.depends.docker_images;
        if !targets.target_dir.is_empty() && !targets.target.is_empty() {
            bail!("{name}: `depends.docker-images` has both `target` and `target-dir`");
        }
        if !targets.from_file.is_empty() && !targets.list.is_empty() {
            bail!("{name}: `depends.docker-images` has both `list` and `from-file`");
        }
        Ok(())
    }

    /// The extra sources as pairs: a folder (relative to the package, or absolute), and a path in the context.
    pub fn sources(&self) -> Result<Vec<(&str, &str)>> {
        fn split(source: &String) -> Result<(&str, &str)> {
            match source.split_once(':') {
                Some((from, to)) if !to.contains(':') => Ok((from, to)),
                _ => bail!("`extra-sources`: `{source}` does not have the form SOURCE:DESTINATION"),
            }
        }
        self.extra_sources.iter().map(split).collect()
    }

    /// Expands the tag template with `hash`.
    pub fn tag_of(&self, hash: &str) -> Result<String> {
        if self.tag.is_empty() && !hash.is_empty() && !hash.contains('{') {
            return Ok(hash.to_owned());
        }
        let template = if self.tag.is_empty() { HASH } else { &self.tag };
        let tag = template.replace("{{ .Hash }}", HASH).replace(HASH, hash);
        if tag.contains("{{") {
            bail!("`tag: {template}` is not supported\nhint: only {HASH} can be used in a template");
        }
        Ok(if tag.is_empty() { "latest".to_owned() } else { tag })
    }

    /// The build arguments. Values that linuxkit computes (`@lkt:…`) are errors.
    pub fn build_args(&self) -> Result<BTreeMap<String, String>> {
        let mut args = BTreeMap::new();
        for arg in &self.args {
            let Some((name, value)) = arg.split_once('=') else { bail!("`buildArgs`: `{arg}` does not have the form NAME=value") };
            if value.starts_with(LOOKED_UP) {
                bail!("`buildArgs`: only linuxkit can compute `{arg}`\nhint: build with `--engine linuxkit`");
            }
            args.insert(name.to_owned(), value.to_owned());
        }
        Ok(args)
    }

    /// The value of the label `org.mobyproject.config`: `config:` as compact JSON with the same bytes as from Go.
    pub fn config_label(&self) -> Result<Option<String>> {
        let Some(config) = &self.config else { return Ok(None) };
        let mut label = String::new();
        // In JSON, these characters occur only in strings.
        for c in serde_json::to_string(config)?.chars() {
            match c {
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => label.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => label.push(c),
            }
        }
        Ok(Some(label))
    }

    /// URL of the sources, if given. linuxkit's default, its own repository, is wrong for all our packages.
    #[must_use]
    pub fn git_repository(&self) -> Option<&str> {
        self.git_repo.as_deref().filter(|repository| !repository.is_empty())
    }
}

fn parse_yaml<T: serde::de::DeserializeOwned>(text: &str, name: &str) -> Result<T> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(0, |at| at.line());
        let said = error.without_snippet().to_string();
        anyhow!("{name}:{line}: {}", with_hint(said.split_once(" at line ").map_or(&*said, |(what, _)| what)))
    })
}

/// `depends:`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Depends {
    /// Images by digest that are saved into the package's folder.
    pub docker_images: DockerImages,
}

/// `depends.docker-images:`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DockerImages {
    /// Folder with one tar per image.
    pub target_dir: String,
    /// One tar with all images.
    pub target: String,
    /// File with one image per line.
    pub from_file: String,
    /// Names of images.
    pub list: Vec<String>,
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Declares a struct of optional fields, serialized in this order and omitted if absent, like Go pointers with `omitempty`.
macro_rules! optional_fields {
    ($(#[$doc:meta])* $name:ident { $($key:literal $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        #[allow(missing_docs, reason = "each is the key of the same name in the OCI runtime specification or linuxkit's docs/yaml.md")]
        pub struct $name { $(#[serde(rename = $key, skip_serializing_if = "Option::is_none")] pub $field: Option<$type>,)* }
    };
}

optional_fields! {
    /// `config:` of a build.yml; the keys of an image in a linuxkit yml, in the order of the label.
    ImageConfig {
        "capabilities" capabilities: Vec<String>,
        "capabilities.add" capabilities_add: Vec<String>,
        "ambient" ambient: Vec<String>,
        "mounts" mounts: Vec<Mount>,
        "binds" binds: Vec<String>,
        "binds.add" binds_add: Vec<String>,
        "devices" devices: Vec<Device>,
        "tmpfs" tmpfs: Vec<String>,
        "command" command: Vec<String>,
        "env" env: Vec<String>,
        "cwd" cwd: String,
        "net" net: String,
        "pid" pid: String,
        "ipc" ipc: String,
        "uts" uts: String,
        "userns" userns: String,
        "hostname" hostname: String,
        "readonly" readonly: bool,
        "maskedPaths" masked_paths: Vec<String>,
        "readonlyPaths" readonly_paths: Vec<String>,
        "uid" uid: Value,
        "gid" gid: Value,
        "additionalGids" additional_gids: Vec<Value>,
        "noNewPrivileges" no_new_privileges: bool,
        "oomScoreAdj" oom_score_adj: i64,
        "rootfsPropagation" rootfs_propagation: String,
        "cgroupsPath" cgroups_path: String,
        "resources" resources: Value,
        "sysctl" sysctl: BTreeMap<String, String>,
        "rlimits" rlimits: Vec<String>,
        "uidMappings" uid_mappings: Vec<IdMapping>,
        "gidMappings" gid_mappings: Vec<IdMapping>,
        "annotations" annotations: BTreeMap<String, String>,
        "runtime" runtime: Runtime,
    }
}

impl ImageConfig {
    /// In linuxkit these are plain strings, so empty means absent.
    fn drop_empty(&mut self) {
        for text in [&mut self.cwd, &mut self.net, &mut self.pid, &mut self.ipc, &mut self.uts, &mut self.userns, &mut self.hostname] {
            text.take_if(|text| text.is_empty());
        }
    }
}

/// A mount of the container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mount {
    /// Mount point.
    pub destination: String,
    /// File system type.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub r#type: String,
    /// Mounted device or path.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// A device of the container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Device {
    /// Its path, or `all`.
    pub path: String,
    /// `b`, `c` …
    pub r#type: String,
    /// Major number, -1 for all.
    pub major: i64,
    /// Minor number, -1 for all.
    pub minor: i64,
    /// `rwm`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mode: String,
}

/// A range of ids.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdMapping {
    /// First id inside the container. The key in the yml is lower case.
    #[serde(rename(deserialize = "containerid", serialize = "containerID"))]
    pub container: u32,
    /// First id on the host.
    #[serde(rename(deserialize = "hostid", serialize = "hostID"))]
    pub host: u32,
    /// Number of ids.
    pub size: u32,
}

/// `runtime:`: actions of linuxkit's init when it starts the container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "each is the key of the same name in linuxkit's docs/yaml.md")]
pub struct Runtime {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroups: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mounts: Option<Vec<Mount>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mkdir: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<Vec<Interface>>,
    /// Always written: `omitempty` has no effect on a Go struct.
    #[serde(rename = "bindNS")]
    pub bind_ns: Namespaces,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

optional_fields! {
    /// Paths that namespaces are bound to.
    Namespaces {
        "cgroup" cgroup: String,
        "ipc" ipc: String,
        "mnt" mnt: String,
        "net" net: String,
        "pid" pid: String,
        "user" user: String,
        "uts" uts: String,
    }
}

/// A network interface to create or move.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "each is the key of the same name in linuxkit's docs/yaml.md")]
pub struct Interface {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub add: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub peer: String,
    #[serde(rename = "createInRoot")]
    pub create_in_root: bool,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(text: &str) -> Result<BuildYml> {
        BuildYml::parse(text, "build.yml")
    }

    #[test]
    fn names_are_found_whatever_stands_around_them() {
        let file = |text: &str| {
            let folder = tempfile::tempdir().expect("folder");
            let path = folder.path().join("build.yml");
            std::fs::write(&path, text).expect("file");
            BuildYml::read_names(&path).map(|yml| (yml.org, yml.image, yml.tag, yml.extra_sources))
        };
        let plain = ("o".to_owned(), "i".to_owned(), "{{.Hash}}-x".to_owned(), vec!["../a".to_owned()]);
        for text in [
            "# c\n---\norg: o\nimage: i\nconfig:\n  binds:\n    - /a:/b\ntag: '{{.Hash}}-x'\nextra-sources:\n- ../a\n",
            "config:\n- image: no\n  org: no\nimage: &n i\norg: o\ntag: \"{{.Hash}}-x\"\nextra-sources: [../a]\n",
            "depends:\n  x: |\n    org: no\norg : o\nimage: >-\n  i\ntag: \"{{.Hash}}-x\"\nextra-sources:\n  - ../a # c\nnetwork: true\n",
        ] {
            assert_eq!(file(text).expect(text), plain, "{text}");
        }
        let error = format!("{:#}", file("config:\n  a: b\norg: o\nimage: [\n").expect_err("broken"));
        assert!(error.contains("build.yml:") && !error.contains("line 1"), "{error}");
    }

    #[test]
    fn the_label_is_what_go_writes() {
        let yml = parse(
            "image: x\nconfig:\n  binds:\n    - /a:/b\n  capabilities:\n    - all\n  pid: host\n  net: ''\n  command: [\"a<b\", 1, yes]\n  devices:\n    - path: all\n      type: b\n  uid: 7\n  readonly: false\n  runtime:\n    mkdir: []\n",
        )
        .unwrap();
        let label = r#"{"capabilities":["all"],"binds":["/a:/b"],"devices":[{"path":"all","type":"b","major":0,"minor":0}],"command":["a\u003cb","1","yes"],"pid":"host","readonly":false,"uid":7,"runtime":{"mkdir":[],"bindNS":{}}}"#;
        assert_eq!(yml.config_label().unwrap().unwrap(), label);
        assert_eq!(parse("image: x\nconfig:\n").unwrap().config_label().unwrap(), None);
        assert_eq!(parse("image: x\nconfig: {}\n").unwrap().config_label().unwrap().as_deref(), Some("{}"));
    }

    #[test]
    fn defaults_are_linuxkits() {
        let yml = parse("image: x\nbuildArgs:\n  - A=1=2\nextra-sources:\n  - ../a:/b\n").unwrap();
        assert_eq!((yml.org.as_str(), yml.dockerfile.as_str(), yml.network), ("linuxkit", "Dockerfile", false));
        assert_eq!(yml.arches, ["amd64", "arm64", "riscv64"]);
        assert_eq!(yml.build_args().unwrap(), BTreeMap::from([("A".to_owned(), "1=2".to_owned())]));
        assert_eq!(yml.sources().unwrap(), [("../a", "/b")]);
        assert_eq!(yml.tag_of("h").unwrap(), "h");
        assert_eq!(parse("image: x\ntag: '{{.Hash}}-generic'\n").unwrap().tag_of("h").unwrap(), "h-generic");
    }

    #[test]
    fn what_linuxkit_refuses_is_refused_with_its_line() {
        for (text, message) in [
            ("org: x\n", "build.yml: `image:` is missing\nhint: add the image's name, for example `image: eve-grub`"),
            ("image: x\nnetwrok: yes\n", "build.yml:2: unknown field `netwrok`"),
            ("image: x\nconfig:\n  bind: []\n", "build.yml:3: unknown field `bind`"),
            ("image: x\nconfig:\n  bind: []\n", "build.yml:3: unknown field `bind`\nhint: did you mean binds?"),
            ("image: x\nbogus: 1\n", "build.yml:2: unknown field `bogus`\nhint: the keys here are image, org, "),
            ("image: x\nnetwork: perhaps\n", "build.yml:2: "),
            (
                "image: x\nconfig:\n  # CAP_FOO\n  capabilities: [CAP_KILL, CAP_FOO]\n",
                "build.yml:4: `CAP_FOO` is not a capability of Linux\nhint: capabilities(7) lists them",
            ),
            (
                "image: x\nconfig:\n  ambient:\n    - CAP_KIL\n",
                "build.yml:4: `CAP_KIL` is not a capability of Linux\nhint: did you mean CAP_KILL?",
            ),
            ("image: [\n", "build.yml:"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        for (text, message) in [
            ("image: x\narches: [amd46, arm64]\n", "build.yml:2: `amd46` is no architecture\nhint: did you mean amd64?"),
            ("image: x\narches:\n  - arm64\n  - riscv46\n", "build.yml:4: `riscv46` is no architecture\nhint: did you mean riscv64?"),
        ] {
            assert_eq!(BuildYml::parse_names(text, "build.yml").unwrap_err().to_string(), message);
        }
        assert!(BuildYml::parse_names("image: x\narches: [mips]\n", "build.yml").is_ok());
        let error = parse("image: x\nbuildArgs: ['A']\n").unwrap().build_args().unwrap_err().to_string();
        assert_eq!(error, "`buildArgs`: `A` does not have the form NAME=value");
        let error = parse("image: x\nextra-sources: ['a']\n").unwrap().sources().unwrap_err().to_string();
        assert_eq!(error, "`extra-sources`: `a` does not have the form SOURCE:DESTINATION");
        let error = parse("image: x\ntag: '{{.Nope}}'\n").unwrap().tag_of("h").unwrap_err().to_string();
        assert!(error.starts_with("`tag: {{.Nope}}` is not supported\nhint: only "), "{error}");
    }
}
