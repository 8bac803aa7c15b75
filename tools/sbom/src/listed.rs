//! Reads the Debian packages out of a bill of materials (SPDX, JSON), ours or that of another tool: by their package URLs.

use anyhow::{Context as _, Result, bail};
use pkgbuild::debian::{check_version, sources_of};
use serde::Deserialize;
use std::collections::BTreeSet;

/// A Debian package that a bill of materials lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DebianPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture; empty if the document does not say.
    pub arch: String,
    /// The number of Debian's release, if the document says it: `12`.
    pub distro: Option<String>,
    /// Its source package, and those that were compiled into it (`Built-Using`): name and version.
    pub sources: BTreeSet<(String, String)>,
    /// Its package URL.
    pub purl: String,
}

/// What a bill of materials lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// What the document is about.
    pub name: String,
    /// The Debian packages, each once.
    pub debian: BTreeSet<DebianPackage>,
    /// How many packages it has besides: crates, packages of the tree, other distributions.
    pub others: usize,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "spdxVersion")]
    version: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    #[serde(default, rename = "sourceInfo")]
    source: Option<String>,
    #[serde(default, rename = "externalRefs")]
    references: Vec<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(rename = "referenceType")]
    kind: String,
    #[serde(rename = "referenceLocator")]
    locator: String,
}

/// Reads a bill of materials.
pub fn read_bill(text: &[u8]) -> Result<Listing> {
    let document: Document = serde_json::from_slice(text).context("it is no SPDX document in JSON")?;
    if !document.version.starts_with("SPDX-2.") {
        bail!("it is a document of `{}`, and only SPDX 2 is read", document.version);
    }
    let mut listing = Listing { name: document.name, ..Listing::default() };
    for package in &document.packages {
        let purls = package.references.iter().filter(|one| one.kind == "purl").map(|one| one.locator.as_str());
        match purls.clone().find_map(|purl| purl.strip_prefix("pkg:deb/debian/").map(|rest| (purl, rest))) {
            Some((purl, rest)) => {
                let listed = listed(purl, rest, package.source.as_deref());
                listing.debian.insert(listed.with_context(|| format!("its package `{purl}` cannot be read"))?);
            }
            None => listing.others += 1,
        }
    }
    Ok(listing)
}

/// The package of a package URL; `rest` is what follows `pkg:deb/debian/`, `source` the sentence in which our documents name sources.
fn listed(purl: &str, rest: &str, source: Option<&str>) -> Result<DebianPackage> {
    let (path, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
    let (name, version) = path.split_once('@').context("it has no version")?;
    let (name, version) = (decoded(name)?, decoded(version)?);
    check_version(&version)?;
    let qualifier = |key: &str| -> Result<Option<String>> {
        let value = qualifiers.split('&').find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == key));
        value.map(|(_, value)| decoded(value)).transpose()
    };
    let upstream = qualifier("upstream")?.map(|upstream| match upstream.split_once('@') {
        Some((source, version)) => format!("{source} ({version})"),
        None => upstream,
    });
    let built_using = source.and_then(|text| text.split_once("; built using ")).map(|(_, relations)| relations);
    let sources = sources_of(&name, &version, upstream.as_deref(), built_using)?;
    sources.iter().try_for_each(|(_, version)| check_version(version))?;
    let distro = qualifier("distro")?.and_then(|distro| distro.strip_prefix("debian-").map(str::to_owned));
    let distro = distro.map(|number| number.split('.').next().unwrap_or_default().to_owned());
    Ok(DebianPackage { arch: qualifier("arch")?.unwrap_or_default(), sources, distro, purl: purl.to_owned(), name, version })
}

/// Text without percent-encoding.
fn decoded(text: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { bail!("`{text}` ends in half of a percent-encoding, or has a wrong one") };
        bytes.push((high << 4 | low) as u8);
    }
    String::from_utf8(bytes).with_context(|| format!("`{text}` is not UTF-8"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bill(locator: &str, source: &str) -> Result<Listing> {
        let reference = format!(r#"{{"referenceType": "purl", "referenceLocator": "{locator}"}}"#);
        read_bill(
            format!(
                r#"{{"spdxVersion": "SPDX-2.3", "name": "n", "packages": [{{"sourceInfo": "{source}", "externalRefs": [{reference}]}}, {{}}]}}"#
            )
            .as_bytes(),
        )
    }

    fn sources(locator: &str, source: &str) -> Vec<(String, String)> {
        bill(locator, source).unwrap().debian.pop_first().unwrap().sources.into_iter().collect()
    }

    #[test]
    fn a_binary_package_leads_to_its_sources() {
        let pair = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        assert_eq!(sources("pkg:deb/debian/libc6@2.36-9?arch=amd64&upstream=glibc%402.36-9", ""), [pair("glibc", "2.36-9")]);
        // As syft writes it: no version where it is the same, and the release.
        let listing = bill("pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12.5&upstream=glibc", "").unwrap();
        let package = listing.debian.first().unwrap();
        assert_eq!((package.sources.first(), package.distro.as_deref()), (Some(&pair("glibc", "2.36-9")), Some("12")));
        assert_eq!((package.arch.as_str(), listing.others), ("amd64", 1));
        assert_eq!(sources("pkg:deb/debian/jq@1.6-2.1%2Bdeb12u2", ""), [pair("jq", "1.6-2.1+deb12u2")]);
        assert_eq!(sources("pkg:deb/debian/e2fsprogs@1.47.0-2%2Bb2?upstream=e2fsprogs%401.47.0-2", ""), [pair("e2fsprogs", "1.47.0-2")]);
        let built = "built from the Debian source package linux-signed-amd64 6.1.176+1; built using linux (= 6.1.176-1)";
        let kernel = sources("pkg:deb/debian/linux-image@6.1.176-1?upstream=linux-signed-amd64%406.1.176%2B1", built);
        assert_eq!(kernel, [pair("linux", "6.1.176-1"), pair("linux-signed-amd64", "6.1.176+1")]);
    }

    #[test]
    fn what_is_no_bill_of_materials_is_refused() {
        let said = |text: &str| format!("{:#}", read_bill(text.as_bytes()).unwrap_err());
        assert!(said("SPDXVersion: SPDX-2.3").starts_with("it is no SPDX document in JSON: expected value at line 1 column 1"));
        assert_eq!(said(r#"{"spdxVersion": "SPDX-3.0"}"#), "it is a document of `SPDX-3.0`, and only SPDX 2 is read");
        let said = |locator: &str| format!("{:#}", bill(locator, "").unwrap_err());
        assert_eq!(said("pkg:deb/debian/jq"), "its package `pkg:deb/debian/jq` cannot be read: it has no version");
        assert!(said("pkg:deb/debian/jq@1%2").ends_with("`1%2` ends in half of a percent-encoding, or has a wrong one"));
        assert!(said("pkg:deb/debian/jq@1%20x").ends_with("`1 x` is not a valid Debian version"));
    }
}
