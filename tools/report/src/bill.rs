//! The packages in the image as rows of a table: what the bill of materials lists.

use anyhow::Result;
use diskimage::squashfs::EntryKind as VolumeKind;
use filetree::{Children, Content, Entry, EntryKind, Kind};
use imagefs::{Volume, images_of, split_image};
use sbom::{Ecosystem, components};
use serde::Serialize;

/// Limit of a record or a copyright file, in bytes.
const MOST: u64 = 4 << 20;

/// A package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackageRow {
    /// Who makes it: `Debian`, `crate` or `tree`.
    pub origin: String,
    /// Its name.
    pub name: String,
    /// Its version or tag.
    pub version: String,
    /// Its licence, as far as a program can read it.
    pub licence: String,
    /// The source package, if it has another name.
    pub source: String,
    /// The first line of its description.
    pub summary: String,
    /// Where its records are: `/`, `/containers/services/debug/lower`.
    pub places: Vec<String>,
}

/// The packages whose records are in `volume`, and the images it is made of.
pub fn bill_of(volume: &Volume) -> Result<Vec<PackageRow>> {
    let mut rows: Vec<PackageRow> = components(records(volume)?)?.into_iter().map(row).collect();
    for image in images_of(volume) {
        let (name, version) = split_image(&image.image);
        let row = PackageRow {
            origin: "tree".into(),
            name,
            version,
            licence: String::new(),
            source: String::new(),
            summary: String::new(),
            places: vec![image.place],
        };
        match rows.iter_mut().find(|known| known.origin == row.origin && (&known.name, &known.version) == (&row.name, &row.version)) {
            Some(known) => known.places.extend(row.places),
            None => rows.push(row),
        }
    }
    Ok(rows)
}

fn row(component: sbom::Component) -> PackageRow {
    let source = component.source.filter(|(name, _)| *name != component.name).map(|(name, version)| format!("{name} {version}"));
    PackageRow {
        origin: match component.origin {
            Ecosystem::Debian => "Debian",
            Ecosystem::Crate => "crate",
            Ecosystem::Tree => "tree",
        }
        .to_owned(),
        name: component.name,
        version: component.version,
        licence: component.licence.map(|licence| licence.expression).unwrap_or_default(),
        source: source.unwrap_or_default(),
        summary: component.summary.unwrap_or_default(),
        places: component.places.into_iter().collect(),
    }
}

/// The entries of `volume` that records of packages are read from, with the folders and links on the way.
fn records(volume: &Volume) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in volume.entries() {
        let path = String::from_utf8_lossy(&entry.path);
        let is_record = path.contains("/status.d/") || path.contains("usr/share/doc/") && path.ends_with("/copyright");
        let kind = match &entry.kind {
            VolumeKind::Dir => Kind::Dir(Children::new()),
            VolumeKind::Symlink(target) => Kind::Symlink(target.clone()),
            VolumeKind::File if is_record => Kind::File { content: Content::from(volume.read(entry, MOST)?), link: None },
            _ => continue,
        };
        entries.push(Entry { path: entry.path.clone(), meta: entry.meta.clone(), kind: EntryKind::Node(kind) });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use filetree::{Meta, Node, Tree};

    #[test]
    fn records_and_licences_are_rows() {
        let mut tree = Tree::new();
        for (path, text) in [
            (
                "var/lib/dpkg/status.d/libc6",
                "Package: libc6\nSource: glibc\nVersion: 2.36-9\nArchitecture: amd64\nDescription: GNU C Library\n",
            ),
            ("usr/share/doc/libc6/copyright", "Format: x\n\nFiles: *\nLicense: GPL-2+\n"),
            ("var/lib/cargo/status.d/prog", "Package: anyhow\nVersion: 1.0.1\nLicense: MIT OR Apache-2.0\n"),
            ("etc/large", "not read"),
        ] {
            let kind = Kind::File { content: Content::from(text.as_bytes().to_vec()), link: None };
            tree.insert(path, Node { meta: Meta::root(0o644, 0), kind }).expect("an entry");
        }
        let rows = bill_of(&Volume::of_tree("tar", tree).expect("a volume")).expect("rows");
        let texts: Vec<String> =
            rows.iter().map(|row| format!("{} {} {} {} {}", row.origin, row.name, row.version, row.licence, row.source)).collect();
        assert_eq!(texts, ["Debian libc6 2.36-9 GPL-2.0-or-later glibc 2.36-9", "crate anyhow 1.0.1 MIT OR Apache-2.0 "]);
    }
}
