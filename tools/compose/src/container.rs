//! Renders `config.json` and `runtime.json` of a container from the image's configuration, overridden by its label
//! `org.mobyproject.config`, overridden by the yml.

use crate::{
    spec::{BoundNamespaces, Capabilities, Linux, LinuxDevice, Namespace, OCI_VERSION, Process, Rlimit, Root, Runtime, Spec, User},
    yml::{Device, Id, Mount, Namespaces, Settings, parse_label},
};
use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// Numbers of containers by name; owners may be given as such names.
pub(crate) type Ids = BTreeMap<String, u32>;

const RLIMITS: [&str; 16] = [
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
];

/// The numeric id of an owner: 0 if absent or `root`, a container's number if it is a container's name.
pub(crate) fn owner(id: Option<&Id>, ids: &Ids) -> Result<u32> {
    match id {
        None => Ok(0),
        Some(Id::Number(number)) => u32::try_from(*number).with_context(|| format!("the owner {number} is out of range")),
        Some(Id::Name(name)) if name.is_empty() || name == "root" => Ok(0),
        Some(Id::Name(name)) => ids.get(name).copied().with_context(|| format!("the owner `{name}` is not the name of a container")),
    }
}

/// The documents of a container whose image has the configuration `config`.
pub(crate) fn render(yml: &Settings, config: &oci::Config, ids: &Ids) -> Result<(Spec, Runtime)> {
    let label = match config.labels.get(oci::names::LABEL_CONFIG) {
        Some(text) if !text.is_empty() => parse_label(text)?,
        _ => Settings::default(),
    };
    let (label, yml) = (&label, yml);
    let readonly = yml.readonly.or(label.readonly).unwrap_or_default();
    let command = [&config.entrypoint[..], &config.cmd].concat();
    let process = Process {
        user: User {
            uid: owner(yml.uid.as_ref().or(label.uid.as_ref()), ids)?,
            gid: owner(yml.gid.as_ref().or(label.gid.as_ref()), ids)?,
            additional_gids: over(&label.additional_gids, &yml.additional_gids)
                .iter()
                .map(|id| owner(Some(id), ids))
                .collect::<Result<_>>()?,
        },
        args: yml.command.as_ref().or(label.command.as_ref()).unwrap_or(&command).clone(),
        env: yml.env.as_ref().or(label.env.as_ref()).unwrap_or(&config.env).clone(),
        cwd: last(["/", &config.working_dir, &label.cwd, &yml.cwd]),
        capabilities: capabilities(label, yml)?,
        rlimits: over(&label.rlimits, &yml.rlimits).iter().map(|limit| rlimit(limit)).collect::<Result<_>>()?,
        no_new_privileges: yml.no_new_privileges.or(label.no_new_privileges).unwrap_or_default(),
        oom_score_adj: yml.oom_score_adj.or(label.oom_score_adj),
    };
    let (devices, resources) = devices(label, yml)?;
    let linux = Linux {
        uid_mappings: over(&label.uid_mappings, &yml.uid_mappings),
        gid_mappings: over(&label.gid_mappings, &yml.gid_mappings),
        sysctl: yml.sysctl.clone().or(label.sysctl.clone()).unwrap_or_default(),
        resources,
        cgroups_path: yml.cgroups_path.clone().or(label.cgroups_path.clone()).unwrap_or_default(),
        namespaces: namespaces(label, yml),
        devices,
        rootfs_propagation: yml.rootfs_propagation.clone().or(label.rootfs_propagation.clone()).unwrap_or_default(),
        masked_paths: over(&label.masked_paths, &yml.masked_paths),
        readonly_paths: over(&label.readonly_paths, &yml.readonly_paths),
    };
    let spec = Spec {
        oci_version: OCI_VERSION,
        process,
        root: Root { path: "rootfs", readonly },
        hostname: last([&label.hostname, &yml.hostname]),
        mounts: mounts(label, yml, readonly)?,
        annotations: yml.annotations.clone().or(label.annotations.clone()).unwrap_or_default(),
        linux,
    };
    Ok((spec, runtime(label, yml)))
}

/// The yml's list, else the label's, else an empty one.
fn over<T: Clone>(label: &Option<Vec<T>>, yml: &Option<Vec<T>>) -> Vec<T> {
    yml.as_ref().or(label.as_ref()).cloned().unwrap_or_default()
}

/// The yml's list, or the label's list followed by the yml's additions.
fn extended(label: &Option<Vec<String>>, add: &Option<Vec<String>>, yml: &Option<Vec<String>>) -> Vec<String> {
    match yml {
        Some(yml) => yml.clone(),
        None => label.iter().chain(add).flatten().cloned().collect(),
    }
}

/// The last non-empty text.
fn last<const N: usize>(texts: [&str; N]) -> String {
    texts.into_iter().rev().find(|text| !text.is_empty()).unwrap_or_default().to_owned()
}

fn capabilities(label: &Settings, yml: &Settings) -> Result<Capabilities> {
    let expand = |list: Vec<String>| -> Result<Vec<String>> {
        let list = match &list[..] {
            [word] if word.eq_ignore_ascii_case("all") => oci::CAPABILITIES.map(str::to_owned).to_vec(),
            [word] if word.eq_ignore_ascii_case("none") => Vec::new(),
            _ => list,
        };
        match list.iter().find(|name| !oci::CAPABILITIES.contains(&name.as_str())) {
            Some(unknown) => bail!("`{unknown}` is not a capability of Linux"),
            None => Ok(list),
        }
    };
    let effective = expand(extended(&label.capabilities, &yml.capabilities_add, &yml.capabilities))?;
    let ambient = expand(over(&label.ambient, &yml.ambient))?;
    let bounding: Vec<String> = effective.iter().chain(&ambient).cloned().collect::<BTreeSet<_>>().into_iter().collect();
    Ok(Capabilities { inheritable: bounding.clone(), permitted: bounding.clone(), bounding, effective, ambient })
}

/// `name,soft,hard`.
fn rlimit(text: &str) -> Result<Rlimit> {
    let parts: Vec<&str> = text.splitn(3, ',').map(str::trim).collect();
    let [name, soft, hard] = parts[..] else { bail!("the rlimit `{text}` is not `name,soft,hard`") };
    let name = name.to_uppercase();
    let name = name.strip_prefix("RLIMIT_").unwrap_or(&name);
    if !RLIMITS.contains(&name) {
        bail!("the rlimit `{text}` has an unknown name");
    }
    let number = |value: &str| match value {
        value if value.eq_ignore_ascii_case("unlimited") => Ok(u64::MAX),
        value => value.parse().with_context(|| format!("`{value}` in the rlimit `{text}` is not a number")),
    };
    Ok(Rlimit { kind: format!("RLIMIT_{name}"), hard: number(hard)?, soft: number(soft)? })
}

fn texts<const N: usize>(list: [&str; N]) -> Vec<String> {
    list.map(str::to_owned).to_vec()
}

/// Mounts sorted by destination; a later mount replaces an earlier one of the same destination.
fn mounts(label: &Settings, yml: &Settings, readonly: bool) -> Result<Vec<Mount>> {
    let mut mounts: BTreeMap<String, Mount> = BTreeMap::new();
    let mut put = |destination: &str, kind: &str, source: &str, options: Vec<String>| {
        let mount = Mount { destination: destination.into(), kind: kind.into(), source: source.into(), options, ..Mount::default() };
        mounts.insert(destination.to_owned(), mount);
    };
    let sealed = |mut options: Vec<String>| {
        options.extend(readonly.then(|| "ro".to_owned()));
        options
    };
    put("/proc", "proc", "proc", texts(["nosuid", "nodev", "noexec", "relatime"]));
    put("/dev", "tmpfs", "tmpfs", sealed(texts(["nosuid", "strictatime", "mode=755", "size=65536k"])));
    put("/dev/pts", "devpts", "devpts", texts(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]));
    put("/sys", "sysfs", "sysfs", sealed(texts(["nosuid", "noexec", "nodev"])));
    put("/sys/fs/cgroup", "cgroup", "cgroup", texts(["nosuid", "noexec", "nodev", "relatime", "ro"]));
    for text in over(&label.tmpfs, &yml.tmpfs) {
        match text.split(':').collect::<Vec<_>>()[..] {
            [place] => put(place, "tmpfs", "tmpfs", Vec::new()),
            [place, options] => put(place, "tmpfs", "tmpfs", options.split(',').map(str::to_owned).collect()),
            _ => bail!("the tmpfs `{text}` is not `destination` or `destination:options`"),
        }
    }
    for text in extended(&label.binds, &yml.binds_add, &yml.binds) {
        match text.split(':').collect::<Vec<_>>()[..] {
            [source, place] => put(place, "bind", source, texts(["rw", "rbind", "rshared"])),
            [source, place, options] => {
                put(place, "bind", source, options.split(',').chain(["rbind"]).map(str::to_owned).collect());
            }
            _ => bail!("the bind `{text}` is not `source:destination` or `source:destination:options`"),
        }
    }
    for mount in over(&label.mounts, &yml.mounts) {
        let kind = match (mount.kind.as_str(), mount.source.as_str(), mount.destination.as_str()) {
            ("", source @ ("mqueue" | "devpts" | "proc" | "sysfs" | "cgroup"), _) => source,
            ("", _, "/dev") => "tmpfs",
            ("", _, place) => bail!("the mount on `{place}` has no type"),
            (kind, ..) => kind,
        };
        let usual = match kind {
            "proc" => "/proc",
            "devpts" => "/dev/pts",
            "sysfs" => "/sys",
            "cgroup" => "/sys/fs/cgroup",
            "mqueue" => "/dev/mqueue",
            _ => "",
        };
        let place = last([usual, &mount.destination]);
        if place.is_empty() {
            bail!("the mount of type `{kind}` has no destination");
        }
        put(&place, kind, &last([kind, &mount.source]), mount.options.clone());
    }
    Ok(mounts.into_values().collect())
}

fn namespaces(label: &Settings, yml: &Settings) -> Vec<Namespace> {
    let mut list = Vec::new();
    // The default is the host's namespace, except for `pid`.
    for (kind, usual, label, yml) in [
        ("network", "root", &label.net, &yml.net),
        ("ipc", "root", &label.ipc, &yml.ipc),
        ("uts", "root", &label.uts, &yml.uts),
        ("pid", "new", &label.pid, &yml.pid),
        ("user", "root", &label.userns, &yml.userns),
    ] {
        match last([usual, label, yml]).as_str() {
            "host" | "root" => {}
            "new" => list.push(Namespace { kind, path: String::new() }),
            "none" if kind == "network" => list.push(Namespace { kind, path: String::new() }),
            path => list.push(Namespace { kind, path: path.to_owned() }),
        }
    }
    list.push(Namespace { kind: "mount", path: String::new() });
    list
}

/// Devices, and resources including the rules that allow the devices.
fn devices(label: &Settings, yml: &Settings) -> Result<(Vec<LinuxDevice>, Json)> {
    let given = yml.resources.as_ref().or(label.resources.as_ref()).and_then(Json::as_object);
    let mut resources = Map::new();
    let mut allowed = given.and_then(|r| r.get("devices")).and_then(Json::as_array).cloned().unwrap_or_default();
    for device in &mut allowed {
        // linuxkit always writes `allow`.
        if let Json::Object(fields) = device {
            let mut all = Map::from_iter([("allow".to_owned(), Json::Bool(false))]);
            all.append(fields);
            *fields = all;
        }
    }
    let mut list = Vec::new();
    for Device { path, kind, major, minor, mode } in over(&label.devices, &yml.devices) {
        if path == "all" {
            allowed.push(json!({ "allow": true, "type": kind, "access": "rwm" }));
            continue;
        }
        let file_mode = u32::from_str_radix(&mode, 8).with_context(|| format!("the mode `{mode}` of the device `{path}` is not octal"))?;
        allowed.push(json!({ "allow": true, "type": kind, "major": major, "minor": minor, "access": "rwm" }));
        list.push(LinuxDevice { path, kind, major, minor, file_mode });
    }
    if !allowed.is_empty() {
        resources.insert("devices".to_owned(), Json::Array(allowed));
    }
    for (key, value) in given.into_iter().flatten().filter(|(key, _)| *key != "devices") {
        let key = if key == "blockio" { "blockIO" } else { key };
        resources.insert(key.to_owned(), value.clone());
    }
    Ok((list, Json::Object(resources)))
}

fn runtime(label: &Settings, yml: &Settings) -> Runtime {
    let label = label.runtime.clone().unwrap_or_default();
    let yml = yml.runtime.clone().unwrap_or_default();
    let bound = |pick: fn(Namespaces) -> Option<String>| pick(yml.bind_ns.clone()).or(pick(label.bind_ns.clone())).unwrap_or_default();
    Runtime {
        cgroups: over(&label.cgroups, &yml.cgroups),
        mounts: over(&label.mounts, &yml.mounts),
        mkdir: over(&label.mkdir, &yml.mkdir),
        interfaces: over(&label.interfaces, &yml.interfaces),
        bind_ns: BoundNamespaces {
            cgroup: bound(|n| n.cgroup),
            ipc: bound(|n| n.ipc),
            mnt: bound(|n| n.mnt),
            net: bound(|n| n.net),
            pid: bound(|n| n.pid),
            user: bound(|n| n.user),
            uts: bound(|n| n.uts),
        },
        namespace: yml.namespace.or(label.namespace).unwrap_or_default(),
    }
}
