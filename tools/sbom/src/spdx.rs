//! The document: SPDX 2.3 as JSON. The same packages, name and time give the same bytes.

use crate::{Component, Ecosystem};
use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

const NOTHING: &str = "NOASSERTION";

/// What a document is about.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The time of the document, RFC 3339 in UTC.
    pub created: String,
    /// Packages of this tree in it: name and tag.
    pub images: Vec<(String, String)>,
}

/// A bill of materials.
pub struct Bill {
    subject: Subject,
    components: Vec<Component>,
}

impl Bill {
    /// That of `subject` with the packages `components`.
    #[must_use]
    pub fn new(subject: Subject, mut components: Vec<Component>) -> Self {
        let image = |(name, version): &(String, String)| Component {
            origin: Ecosystem::Tree,
            name: name.clone(),
            version: version.clone(),
            arch: String::new(),
            source: None,
            built_using: None,
            summary: None,
            homepage: None,
            sha256: None,
            licence: Some(crate::copyright::Licence::expression("Apache-2.0")),
            places: BTreeSet::new(),
        };
        let images: BTreeSet<&(String, String)> = subject.images.iter().collect();
        components.extend(images.into_iter().map(image));
        Self { subject, components }
    }

    /// The document as pretty JSON with a newline at the end.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let Subject { name, version, created, .. } = &self.subject;
        let mut ids = Ids::default();
        let root = ids.of(&format!("rootfs-{version}"));
        let mut packages = vec![json!({
            "SPDXID": root, "name": name, "versionInfo": version, "downloadLocation": NOTHING, "filesAnalyzed": false,
            "licenseConcluded": NOTHING, "licenseDeclared": NOTHING, "copyrightText": NOTHING,
            "primaryPackagePurpose": "OPERATING-SYSTEM",
        })];
        let mut relationships = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", &root)];
        let mut texts: BTreeMap<&str, &(String, String)> = BTreeMap::new();
        for component in &self.components {
            let id = ids.of(&format!("{}-{}-{}-{}", word(component.origin), component.name, component.version, component.arch));
            relationships.push(relation(&root, "CONTAINS", &id));
            packages.push(package(component, &id));
            texts.extend(component.licence.iter().flat_map(|licence| &licence.texts).map(|(id, text)| (id.as_str(), text)));
        }
        let texts: Vec<Value> =
            texts.into_iter().map(|(id, (name, text))| json!({"licenseId": id, "name": name, "extractedText": text})).collect();
        let content = serde_json::to_vec(&(&packages, &texts, created))?;
        let hash: String = Sha256::digest(content).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let mut document = json!({
            "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": format!("{name}-{version}"),
            "documentNamespace": format!("https://spdx.org/spdxdocs/{}-{hash}", plain(&format!("{name}-{version}"))),
            "creationInfo": {"created": created, "creators": ["Tool: cargo-xtask-sbom"]},
            "packages": packages, "relationships": relationships,
        });
        if !texts.is_empty() {
            document["hasExtractedLicensingInfos"] = Value::Array(texts);
        }
        let mut bytes = serde_json::to_vec_pretty(&document)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

const fn word(origin: Ecosystem) -> &'static str {
    match origin {
        Ecosystem::Debian => "deb",
        Ecosystem::Crate => "crate",
        Ecosystem::Tree => "image",
    }
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to})
}

fn package(component: &Component, id: &str) -> Value {
    let Component { origin, name, version, arch, source, built_using, summary, homepage, sha256, licence, places } = component;
    let mut package = json!({
        "SPDXID": id, "name": name, "versionInfo": version, "downloadLocation": NOTHING, "filesAnalyzed": false,
        "licenseConcluded": NOTHING,
        "licenseDeclared": licence.as_ref().map_or(NOTHING, |licence| &licence.expression),
        "copyrightText": NOTHING,
    });
    let mut locator = match origin {
        Ecosystem::Debian => format!("pkg:deb/debian/{}@{}?arch={}", escaped(name), escaped(version), escaped(arch)),
        Ecosystem::Crate => format!("pkg:cargo/{}@{}", escaped(name), escaped(version)),
        Ecosystem::Tree => format!("pkg:oci/{}?tag={}", escaped(name.rsplit('/').next().unwrap_or(name)), escaped(version)),
    };
    if *origin == Ecosystem::Debian {
        package["supplier"] = json!("Organization: Debian");
    }
    if let Some((source, of)) = source {
        let using = built_using.as_ref().map_or_else(String::new, |using| format!("; built using {using}"));
        package["sourceInfo"] = json!(format!("built from the Debian source package {source} {of}{using}"));
        locator.push_str(&format!("&upstream={}", escaped(&format!("{source}@{of}"))));
    }
    if let Some(summary) = summary {
        package["summary"] = json!(summary);
    }
    if let Some(homepage) = homepage.as_ref().filter(|address| address.starts_with("http://") || address.starts_with("https://")) {
        package["homepage"] = json!(homepage);
    }
    if let Some(sha256) = sha256 {
        package["checksums"] = json!([{"algorithm": "SHA256", "checksumValue": sha256}]);
    }
    let comment = match origin {
        Ecosystem::Tree => "the package's own files; packages of Debian and crates in it are listed apart".to_owned(),
        _ => format!("its record is in {}", places.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
    };
    package["comment"] = json!(comment);
    package["externalRefs"] = json!([{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": locator}]);
    package
}

/// Percent-encodes what a package URL does not allow as it is.
fn escaped(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

/// Only letters, digits, `.` and `-`, as identifiers have.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' }).collect()
}

/// The identifiers of a document; each is unique.
#[derive(Default)]
struct Ids(BTreeSet<String>);

impl Ids {
    fn of(&mut self, name: &str) -> String {
        let id = format!("SPDXRef-{}", plain(name.trim_end_matches('-')));
        let mut unique = id.clone();
        let mut number = 1;
        while !self.0.insert(unique.clone()) {
            number += 1;
            unique = format!("{id}-{number}");
        }
        unique
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::components;
    use filetree::{Content, Entry, EntryKind, Kind, Meta};

    fn document(version: &str) -> Value {
        let text = format!("Package: a+b\nVersion: {version}\nArchitecture: amd64\nHomepage: ftp://old\nBuilt-Using: c (= 2)\n");
        let kind = EntryKind::Node(Kind::File { content: Content::from(text.into_bytes()), link: None });
        let entry = Entry { path: b"var/lib/dpkg/status.d/a".to_vec(), meta: Meta::root(0o644, 0), kind };
        let images = vec![("lfedge/eve-init".to_owned(), "12ab".to_owned())];
        let subject = Subject { name: "eve".into(), version: "1.0-kvm".into(), created: "2024-01-01T00:00:00Z".into(), images };
        serde_json::from_slice(&Bill::new(subject, components(vec![entry]).unwrap()).to_json().unwrap()).unwrap()
    }

    #[test]
    fn every_package_is_contained_and_has_a_locator() {
        let document = document("1:2~3");
        let packages = document["packages"].as_array().unwrap();
        let locators: Vec<_> = packages[1..].iter().map(|one| one["externalRefs"][0]["referenceLocator"].as_str().unwrap()).collect();
        assert_eq!(locators, ["pkg:deb/debian/a%2Bb@1%3A2~3?arch=amd64&upstream=a%2Bb%401%3A2~3", "pkg:oci/eve-init?tag=12ab"]);
        assert_eq!(packages[1]["SPDXID"], "SPDXRef-deb-a-b-1-2-3-amd64");
        assert_eq!(packages[1]["sourceInfo"], "built from the Debian source package a+b 1:2~3; built using c (= 2)");
        assert!(packages[1].get("homepage").is_none(), "ftp is no address that SPDX allows");
        assert_eq!(document["relationships"].as_array().unwrap().len(), packages.len());
    }

    #[test]
    fn the_namespace_names_the_content() {
        assert_eq!(document("1"), document("1"));
        assert_ne!(document("1")["documentNamespace"], document("2")["documentNamespace"]);
        let mut ids = Ids::default();
        assert_eq!([ids.of("a+1"), ids.of("a-1")], ["SPDXRef-a-1", "SPDXRef-a-1-2"]);
    }
}
