//! The records of packages in a tar of a root file system.

use crate::copyright::{Licence, read_copyright};
use anyhow::{Context as _, Result};
use filetree::{Entry, EntryKind, Kind, Tree};
use pkgbuild::debian::{STATUS, Stanza, stanzas};
use std::collections::{BTreeMap, BTreeSet};

/// Folder with a list of crates for each static program of this workspace: stanzas with `Package`, `Version` and `License`.
pub const CRATES: &str = "var/lib/cargo/status.d";

/// Who makes a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ecosystem {
    /// A Debian package.
    Debian,
    /// A crate that is compiled into a program.
    Crate,
    /// A package of this tree.
    Tree,
}

/// A package that a file system contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Who makes it.
    pub origin: Ecosystem,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Debian's architecture; empty for the others.
    pub arch: String,
    /// The name and version of the source package.
    pub source: Option<(String, String)>,
    /// Source packages that were compiled into it (`Built-Using`).
    pub built_using: Option<String>,
    /// The first line of its description.
    pub summary: Option<String>,
    /// Its home page.
    pub homepage: Option<String>,
    /// SHA-256 of the archive it is made of, if the record has it.
    pub sha256: Option<String>,
    /// Its licence, if a program can read it.
    pub licence: Option<Licence>,
    /// The roots in which its record lies: `/`, `/containers/services/debug/lower`.
    pub places: BTreeSet<String>,
}

/// A record's key: the same package may have records in several containers.
type Key = (Ecosystem, String, String, String);

/// The packages whose records are among `entries`, which are the members of a tar, in the order of origin, name, version.
pub fn components(entries: Vec<Entry>) -> Result<Vec<Component>> {
    let mut records = Vec::new();
    for entry in &entries {
        let path = String::from_utf8_lossy(&entry.path);
        let EntryKind::Node(Kind::File { content, .. }) = &entry.kind else { continue };
        for (folder, origin) in [(STATUS, Ecosystem::Debian), (CRATES, Ecosystem::Crate)] {
            if let Some(root) = root_of(&path, folder) {
                let text = content.read_all().with_context(|| format!("cannot read `{path}`"))?;
                let text = String::from_utf8(text).with_context(|| format!("`{path}` is not UTF-8"))?;
                records.push((root.to_owned(), origin, path.clone().into_owned(), text));
            }
        }
    }
    let tree = filetree::entries_to_tree(entries)?;
    let mut found: BTreeMap<Key, Component> = BTreeMap::new();
    for (root, origin, path, text) in records {
        for stanza in stanzas(&text, &path) {
            let component = component(&stanza?, origin, &tree, &root).with_context(|| format!("cannot use the record `{path}`"))?;
            let key = (origin, component.name.clone(), component.version.clone(), component.arch.clone());
            let kept = found.entry(key).or_insert(component);
            kept.places.insert(format!("/{root}"));
        }
    }
    Ok(found.into_values().collect())
}

/// The root below which `folder/NAME` is `path`; empty for the top.
fn root_of<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    let (above, name) = path.rsplit_once('/')?;
    let root = above.strip_suffix(folder)?;
    (!name.is_empty() && (root.is_empty() || root.ends_with('/'))).then(|| root.trim_end_matches('/'))
}

fn component(stanza: &Stanza<'_>, origin: Ecosystem, tree: &Tree, root: &str) -> Result<Component> {
    let text = |field| stanza.get(field).filter(|value| !value.is_empty()).map(str::to_owned);
    let (name, version) = (stanza.need("Package")?.to_owned(), stanza.need("Version")?.to_owned());
    let debian = origin == Ecosystem::Debian;
    let licence = if debian { copyright_of(tree, root, &name)? } else { text("License").map(|name| Licence::expression(&name)) };
    Ok(Component {
        origin,
        arch: if debian { stanza.need("Architecture")?.to_owned() } else { String::new() },
        source: debian.then(|| source(stanza.get("Source"), &name, &version)),
        built_using: text("Built-Using"),
        summary: text("Description").and_then(|text| text.lines().next().map(str::to_owned)),
        homepage: text("Homepage"),
        sha256: text("SHA256"),
        licence,
        places: BTreeSet::new(),
        name,
        version,
    })
}

/// The source package: `Source: name (version)`, or what the binary package is called.
fn source(field: Option<&str>, name: &str, version: &str) -> (String, String) {
    let Some(field) = field else { return (name.to_owned(), version.to_owned()) };
    match field.split_once('(') {
        Some((name, version)) => (name.trim().to_owned(), version.trim_end_matches(')').trim().to_owned()),
        None => (field.trim().to_owned(), version.to_owned()),
    }
}

/// The licence in a package's copyright file; none if there is no such file, or it is prose.
fn copyright_of(tree: &Tree, root: &str, name: &str) -> Result<Option<Licence>> {
    // A link in a container leads to a place in the container.
    let root = match tree.get(root) {
        Some(node) => Tree { root: node.clone() },
        None => return Ok(None),
    };
    let Ok(path) = root.resolve(format!("usr/share/doc/{name}/copyright"), true) else { return Ok(None) };
    let Some(Kind::File { content, .. }) = root.get(path).map(|node| &node.kind) else { return Ok(None) };
    let text = content.read_all().with_context(|| format!("cannot read the copyright file of `{name}`"))?;
    Ok(read_copyright(&String::from_utf8_lossy(&text), name))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use filetree::{Content, Meta};

    fn file(path: &str, text: &str) -> Entry {
        let kind = EntryKind::Node(Kind::File { content: Content::from(text.to_owned().into_bytes()), link: None });
        Entry { path: path.into(), meta: Meta::root(0o644, 0), kind }
    }

    #[test]
    fn records_of_containers_are_found_once_with_their_places() {
        let libc = "Package: libc6\nSource: glibc\nVersion: 2.36-9\nArchitecture: amd64\nDescription: GNU C Library\n more\n";
        let tool = "Package: tool\nSource: tools (1:3)\nVersion: 1:3+b1\nArchitecture: amd64\n";
        let crates = "Package: anyhow\nVersion: 1.0.1\nLicense: MIT OR Apache-2.0\n\nPackage: own\nVersion: 0.1.0\nLicense: Apache-2.0\n";
        let link = EntryKind::Node(Kind::Symlink(b"libc6".to_vec()));
        let entries = vec![
            file("var/lib/dpkg/status.d/libc6", libc),
            file("var/lib/dpkg/status.d/libc6", libc),
            file("containers/a/lower/var/lib/dpkg/status.d/libc6", libc),
            file("containers/a/lower/var/lib/dpkg/status.d/tool", tool),
            file("containers/a/lower/usr/share/doc/libc6/copyright", "Format: x\n\nFiles: *\nLicense: GPL-2+\n"),
            Entry { path: b"containers/a/lower/usr/share/doc/tool".to_vec(), meta: Meta::root(0o777, 0), kind: link },
            file("var/lib/cargo/status.d/prog", crates),
            file("srv/xvar/lib/dpkg/status.d/no", libc),
        ];
        let found = components(entries).unwrap();
        let names: Vec<_> = found.iter().map(|one| format!("{} {}", one.name, one.version)).collect();
        assert_eq!(names, ["libc6 2.36-9", "tool 1:3+b1", "anyhow 1.0.1", "own 0.1.0"]);
        assert_eq!(found[0].places.iter().map(String::as_str).collect::<Vec<_>>(), ["/", "/containers/a/lower"]);
        assert_eq!(found[0].summary.as_deref(), Some("GNU C Library"));
        assert_eq!(found[0].source, Some(("glibc".into(), "2.36-9".into())));
        assert_eq!(found[1].source, Some(("tools".into(), "1:3".into())));
        // The folder of the documents may be a link to another package's.
        assert_eq!(found[1].licence.as_ref().unwrap().expression, "GPL-2.0-or-later");
        assert_eq!(found[2].licence.as_ref().unwrap().expression, "MIT OR Apache-2.0");
        let error = components(vec![file("var/lib/dpkg/status.d/x", "Package: x\n")]).unwrap_err();
        assert_eq!(format!("{error:#}"), "cannot use the record `var/lib/dpkg/status.d/x`: the stanza of `x` has no field `Version`");
    }
}
