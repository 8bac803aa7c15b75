//! The schema of a linuxkit yml, from linuxkit's JSON schema. Errors have line numbers. Keys are in the order in which linuxkit
//! writes them, so a checked value is also sorted.

use crate::node::{Node, Value};
use serde_json::{Map, Value as Json};

/// A type of the schema.
pub(crate) enum Type {
    Text,
    Int,
    Bool,
    /// An owner: a name or a number.
    TextOrInt,
    /// One of these strings.
    Word(&'static [&'static str]),
    List(&'static Type),
    /// A list of Linux's capabilities.
    Capabilities,
    /// Any keys, string values.
    TextMap,
    /// Only these keys; the first n (second field) are required.
    Object(&'static [(&'static str, Type)], usize),
}

use Type::{Bool, Capabilities, Int, List, Object, Text, TextMap, TextOrInt, Word};

const TEXTS: Type = List(&Text);
const ID_MAPPINGS: Type = List(&Object(&[("containerID", Int), ("hostID", Int), ("size", Int)], 0));
const MOUNTS: Type = List(&Object(
    &[
        ("destination", Text),
        ("type", Text),
        ("source", Text),
        ("options", TEXTS),
        ("uidmappings", ID_MAPPINGS),
        ("gidmappings", ID_MAPPINGS),
    ],
    0,
));
const DEVICES: Type = List(&Object(&[("path", Text), ("type", Text), ("major", Int), ("minor", Int), ("mode", Text)], 0));
const RATES: Type = List(&Object(&[("major", Int), ("minor", Int), ("rate", Int)], 0));
const WEIGHTS: Type = List(&Object(&[("major", Int), ("minor", Int), ("weight", Int), ("leafWeight", Int)], 0));
const BLOCK_IO: Type = Object(
    &[
        ("weight", Int),
        ("leafWeight", Int),
        ("weightDevice", WEIGHTS),
        ("throttleReadBpsDevice", RATES),
        ("throttleWriteBpsDevice", RATES),
        ("throttleReadIOPSDevice", RATES),
        ("throttleWriteIOPSDevice", RATES),
    ],
    0,
);
const MEMORY: Type = Object(
    &[
        ("limit", Int),
        ("reservation", Int),
        ("swap", Int),
        ("kernel", Int),
        ("kernelTCP", Int),
        ("swappiness", Int),
        ("disableOOMKiller", Bool),
    ],
    0,
);
const CPU: Type = Object(
    &[("shares", Int), ("quota", Int), ("period", Int), ("realtimeRuntime", Int), ("realtimePeriod", Int), ("cpus", Text), ("mems", Text)],
    0,
);
const RESOURCES: Type = Object(
    &[
        ("devices", List(&Object(&[("allow", Bool), ("type", Text), ("major", Int), ("minor", Int), ("access", Text)], 0))),
        ("memory", MEMORY),
        ("cpu", CPU),
        ("pids", Object(&[("limit", Int)], 0)),
        ("blockio", BLOCK_IO),
        ("hugepageLimits", List(&Object(&[("pageSize", Int), ("limit", Int)], 0))),
        ("network", Object(&[("classID", Int), ("priorities", List(&Object(&[("name", Text), ("priority", Int)], 0)))], 0)),
    ],
    0,
);
const NAMESPACES: Type =
    Object(&[("cgroup", Text), ("ipc", Text), ("mnt", Text), ("net", Text), ("pid", Text), ("user", Text), ("uts", Text)], 0);
const INTERFACES: Type = List(&Object(&[("name", Text), ("add", Text), ("peer", Text), ("createInRoot", Bool)], 0));
const RUNTIME: Type = Object(
    &[("cgroups", TEXTS), ("mounts", MOUNTS), ("mkdir", TEXTS), ("interfaces", INTERFACES), ("bindNS", NAMESPACES), ("namespace", Text)],
    0,
);

/// Keys of a container, in linuxkit's order.
const IMAGE_KEYS: &[(&str, Type)] = &[
    ("name", Text),
    ("image", Text),
    ("capabilities", Capabilities),
    ("capabilities.add", Capabilities),
    ("ambient", Capabilities),
    ("mounts", MOUNTS),
    ("binds", TEXTS),
    ("binds.add", TEXTS),
    ("devices", DEVICES),
    ("tmpfs", TEXTS),
    ("command", TEXTS),
    ("env", TEXTS),
    ("cwd", Text),
    ("net", Text),
    ("pid", Text),
    ("ipc", Text),
    ("uts", Text),
    ("userns", Text),
    ("hostname", Text),
    ("readonly", Bool),
    ("maskedPaths", TEXTS),
    ("readonlyPaths", TEXTS),
    ("uid", TextOrInt),
    ("gid", TextOrInt),
    ("additionalGids", List(&TextOrInt)),
    ("noNewPrivileges", Bool),
    ("oomScoreAdj", Int),
    ("rootfsPropagation", Text),
    ("cgroupsPath", Text),
    ("resources", RESOURCES),
    ("sysctl", TextMap),
    ("rlimits", TEXTS),
    ("uidMappings", ID_MAPPINGS),
    ("gidMappings", ID_MAPPINGS),
    ("annotations", TextMap),
    ("runtime", RUNTIME),
];

/// A list of containers: onboot, onshutdown, services; name and image are required.
const IMAGES: Type = List(&Object(IMAGE_KEYS, 2));
/// The label `org.mobyproject.config`: a container without name and image.
pub(crate) const LABEL: Type = Object(IMAGE_KEYS.split_at(2).1, 0);

const KERNEL: Type = Object(&[("image", Text), ("cmdline", Text), ("binary", Text), ("tar", Text), ("ucode", Text)], 0);
const FILES: Type = List(&Object(
    &[
        ("path", Text),
        ("directory", Bool),
        ("symlink", Text),
        ("contents", Text),
        ("source", Text),
        ("metadata", Text),
        ("optional", Bool),
        ("mode", Text),
        ("uid", TextOrInt),
        ("gid", TextOrInt),
    ],
    0,
));
const VOLUMES: Type = List(&Object(
    &[("name", Text), ("image", Text), ("readonly", Bool), ("format", Word(&["oci", "filesystem"])), ("platforms", TEXTS)],
    0,
));
/// The whole yml.
pub(crate) const YML: Type = Object(
    &[
        ("kernel", KERNEL),
        ("init", TEXTS),
        ("onboot", IMAGES),
        ("onshutdown", IMAGES),
        ("services", IMAGES),
        // Formerly keys of signed images; linuxkit accepts and ignores it.
        ("trust", Object(&[("image", TEXTS), ("org", TEXTS)], 0)),
        ("files", FILES),
        ("volumes", VOLUMES),
    ],
    0,
);

/// Checks `node` and returns it as JSON with the keys in schema order. Adds each problem to `problems`: line, and a message
/// with the path of keys.
pub(crate) fn check(node: &Node, expected: &Type, path: &str, problems: &mut Vec<(u64, String)>) -> Json {
    let mut wrong = |what: &str| {
        problems.push((node.line, format!("{}: expected {what}, found {}", shown(path), node.kind())));
        Json::Null
    };
    match (expected, &node.value) {
        (Text | TextOrInt, Value::Text(text)) => text.as_str().into(),
        (Int | TextOrInt, Value::Int(number)) => (*number).into(),
        (Bool, Value::Bool(flag)) => (*flag).into(),
        (Word(words), Value::Text(word)) if words.contains(&word.as_str()) => word.as_str().into(),
        (List(item), Value::List(items)) => {
            items.iter().enumerate().map(|(n, node)| check(node, item, &join(path, &n.to_string()), problems)).collect()
        }
        (Capabilities, Value::List(items)) => {
            let known = problems.len();
            let list = check(node, &TEXTS, path, problems);
            let texts: Vec<&str> =
                items.iter().filter_map(|item| if let Value::Text(text) = &item.value { Some(&**text) } else { None }).collect();
            if problems.len() == known
                && let Some((at, near)) = oci::unknown_capability(&texts)
            {
                let meant = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                let what = format!("`{}` is not a capability of Linux{meant}", texts[at]);
                problems.push((items[at].line, format!("{}: {what}", shown(path))));
            }
            list
        }
        (TextMap, Value::Map(entries)) => {
            let entries = entries.iter().map(|(key, node)| {
                let key = key_text(key);
                let value = check(node, &Text, &join(path, &key), problems);
                (key, value)
            });
            Json::Object(entries.collect())
        }
        (Object(keys, required), Value::Map(entries)) => check_object(node, keys, *required, entries, path, problems),
        (Word(words), _) => wrong(&format!("one of {}", words.join(", "))),
        (Text, _) => wrong("a string"),
        (Int, _) => wrong("a whole number"),
        (TextOrInt, _) => wrong("a name or a whole number"),
        (Bool, _) => wrong("true or false"),
        (List(_) | Capabilities, _) => wrong("a list"),
        (TextMap | Object(..), _) => wrong("a map"),
    }
}

fn check_object(
    node: &Node,
    keys: &[(&str, Type)],
    required: usize,
    entries: &[(Node, Node)],
    path: &str,
    problems: &mut Vec<(u64, String)>,
) -> Json {
    let mut values: Vec<Option<Json>> = keys.iter().map(|_| None).collect();
    for (key, value) in entries {
        let name = key_text(key);
        match keys.iter().position(|(known, _)| *known == name) {
            Some(at) => values[at] = Some(check(value, &keys[at].1, &join(path, &name), problems)),
            None => {
                let close = keys.iter().find(|(known, _)| near(known, &name));
                let hint = close.map(|(known, _)| format!("; did you mean `{known}`?")).unwrap_or_default();
                problems.push((key.line, format!("{}: additional property `{name}` is not allowed{hint}", shown(path))));
            }
        }
    }
    for (at, (name, _)) in keys.iter().enumerate().take(required) {
        if values[at].is_none() {
            problems.push((node.line, format!("{}: `{name}` is required", shown(path))));
        }
    }
    let known = keys.iter().zip(values).filter_map(|((name, _), value)| Some(((*name).to_owned(), value?)));
    Json::Object(known.collect::<Map<_, _>>())
}

/// Whether the names differ only in case, or by one missing, added or changed letter.
fn near(known: &str, given: &str) -> bool {
    let (a, b) = (known.to_lowercase(), given.to_lowercase());
    let common = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    let rest = |text: &str, skip: usize| text.as_bytes().get(common + skip..).map(<[u8]>::to_vec);
    a == b || rest(&a, 1) == rest(&b, 1) || rest(&a, 1) == rest(&b, 0) || rest(&a, 0) == rest(&b, 1)
}

fn key_text(key: &Node) -> String {
    match &key.value {
        Value::Text(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => key.kind().to_owned(),
    }
}

fn join(path: &str, part: &str) -> String {
    if path.is_empty() { part.to_owned() } else { format!("{path}.{part}") }
}

fn shown(path: &str) -> &str {
    if path.is_empty() { "(root)" } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let mut problems = Vec::new();
        check(&Node::parse(text, "t.yml").expect("yaml"), &YML, "", &mut problems);
        problems.into_iter().map(|(line, problem)| format!("{line}: {problem}")).collect()
    }

    #[test]
    fn unknown_keys_and_wrong_types_say_where() {
        let text = "services:\n  - name: a\n    image: b\n    labels: []\n    oomScoreAdjust: 1\n  - name: 7\nonboot: {}\nfile: []\n";
        assert_eq!(
            problems(text),
            [
                "4: services.0: additional property `labels` is not allowed",
                "5: services.0: additional property `oomScoreAdjust` is not allowed",
                "6: services.1.name: expected a string, found a whole number",
                "6: services.1: `image` is required",
                "7: onboot: expected a list, found a map",
                "8: (root): additional property `file` is not allowed; did you mean `files`?",
            ]
        );
        assert_eq!(problems("volumes: [{name: a, format: x}]")[0], "1: volumes.0.format: expected one of oci, filesystem, found a string");
        assert_eq!(problems("[]")[0], "1: (root): expected a map, found a list");
    }
}
