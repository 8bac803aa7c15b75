//! Debian's security tracker in JSON (`{source: {CVE: {description, releases: {release: {status, fixed_version, urgency}}}}}`), read as
//! a stream: only what is said about the wanted source packages is kept.

use crate::Listing;
use anyhow::{Result, bail};
use pkgbuild::debian::{check_version, compare_versions};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor},
};
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::Read,
};

/// What a vulnerability means for a version of a source package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exposure {
    /// The version is vulnerable.
    Affected,
    /// Debian has not looked at it yet, or cannot tell.
    Undetermined,
    /// The version has the fix.
    Fixed,
    /// The release never had the vulnerable code.
    NotAffected,
}

/// A vulnerability, and a source package of the listing for which the feed names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `CVE-2024-1`, or the tracker's `TEMP-…`.
    pub id: String,
    /// The source package.
    pub source: String,
    /// The version of the source package in the image.
    pub version: String,
    /// The places in [`Listing::debian`] of the packages that are made of it, in their order.
    pub packages: Vec<usize>,
    /// What it means here.
    pub exposure: Exposure,
    /// Debian's urgency: `low`, `medium`, `high`, `unimportant`, `end-of-life`, `not yet assigned`.
    pub urgency: String,
    /// The version that has the fix, if the release has one.
    pub fixed: Option<String>,
    /// Why Debian publishes no update of its own for it, if it says so: `Minor issue`.
    pub no_update: Option<String>,
    /// One line about it.
    pub description: String,
}

impl Finding {
    /// Whether the version is vulnerable and the release has a version with the fix.
    #[must_use]
    pub fn is_fixable(&self) -> bool {
        self.exposure == Exposure::Affected && self.fixed.is_some()
    }

    /// Whether Debian calls it a bug without consequences for security (`unimportant`).
    #[must_use]
    pub fn is_unimportant(&self) -> bool {
        self.urgency.starts_with("unimportant")
    }
}

/// What a feed says about a listing.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The findings: vulnerable versions first, those with a fix before the others; then by package and name.
    pub findings: Vec<Finding>,
    /// How many source packages were looked up.
    pub sources: usize,
    /// How many of them the feed names for the release. It names those only that had a vulnerability once.
    pub known: usize,
}

/// Looks up the Debian packages of `listing` for Debian's `release` (`bookworm`) in the JSON that `feed` gives.
pub fn look_up(listing: &Listing, release: &str, feed: impl Read) -> Result<Looked> {
    let mut wanted: BTreeMap<&str, BTreeMap<&str, Vec<usize>>> = BTreeMap::new();
    for (at, package) in listing.debian.iter().enumerate() {
        for (name, version) in &package.sources {
            wanted.entry(name).or_default().entry(version).or_default().push(at);
        }
    }
    let mut reader = Feed { wanted: &wanted, release, findings: Vec::new(), named: false, known: 0, releases: BTreeSet::new() };
    let mut json = serde_json::Deserializer::from_reader(feed);
    reader.deserialize(&mut json)?;
    json.end()?;
    let Feed { mut findings, named, known, releases, .. } = reader;
    if !named {
        bail!("it names none of the {} source packages of the image, so it is no feed of Debian's security tracker", wanted.len());
    }
    if !releases.is_empty() && !releases.contains(release) {
        let names = releases.into_iter().collect::<Vec<_>>().join(", ");
        bail!("it says nothing about Debian's release `{release}`\nhint: --debian-release NAME, one of {names}");
    }
    findings.sort_by(|left, right| {
        let key = |one: &Finding| (one.exposure, !one.is_fixable(), one.is_unimportant(), one.source.clone(), one.version.clone());
        key(left).cmp(&key(right)).then_with(|| by_number(&left.id, &right.id))
    });
    Ok(Looked { findings, sources: wanted.len(), known })
}

/// `CVE-2024-999` before `CVE-2024-1000`.
fn by_number(left: &str, right: &str) -> Ordering {
    let key = |id: &str| id.split('-').map(|part| part.parse::<u64>().unwrap_or(0)).collect::<Vec<_>>();
    key(left).cmp(&key(right)).then_with(|| left.cmp(right))
}

/// Reads the whole feed.
struct Feed<'w> {
    /// The source packages, their versions, and the packages made of each.
    wanted: &'w BTreeMap<&'w str, BTreeMap<&'w str, Vec<usize>>>,
    release: &'w str,
    findings: Vec<Finding>,
    /// Whether it has a wanted source package.
    named: bool,
    /// How many of them it names for the release.
    known: usize,
    /// Releases that the feed names for them.
    releases: BTreeSet<String>,
}

impl<'de> DeserializeSeed<'de> for &mut Feed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Feed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with source packages")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(source) = map.next_key::<String>()? {
            match self.wanted.contains_key(source.as_str()) {
                true => map.next_value_seed(Source { feed: self, source })?,
                false => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Reads the vulnerabilities of one wanted source package.
struct Source<'f, 'w> {
    feed: &'f mut Feed<'w>,
    source: String,
}

impl<'de> DeserializeSeed<'de> for Source<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Source<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with the vulnerabilities of `{}`", self.source)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let Self { feed, source } = self;
        let mut is_known = false;
        while let Some((id, issue)) = map.next_entry::<String, Issue>()? {
            let state = issue.releases.get(feed.release);
            is_known |= state.is_some();
            for (version, packages) in state.iter().flat_map(|_| &feed.wanted[source.as_str()]) {
                feed.findings.extend(state.map(|state| state.finding(&id, &source, version, packages, &issue.description)));
            }
            feed.releases.extend(issue.releases.into_keys());
        }
        feed.named = true;
        feed.known += usize::from(is_known);
        Ok(())
    }
}

#[derive(Deserialize)]
struct Issue {
    #[serde(default)]
    description: String,
    #[serde(default)]
    releases: BTreeMap<String, State>,
}

/// What the feed says about one vulnerability in one release.
#[derive(Deserialize)]
struct State {
    status: Status,
    #[serde(default, deserialize_with = "version")]
    fixed_version: Option<String>,
    #[serde(default)]
    urgency: String,
    #[serde(default)]
    nodsa: Option<String>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Open,
    Resolved,
    Undetermined,
}

/// Checks here, so that the error has the line.
fn version<'de, D: Deserializer<'de>>(json: D) -> Result<Option<String>, D::Error> {
    let version = String::deserialize(json)?;
    check_version(&version).map_err(D::Error::custom)?;
    Ok(Some(version))
}

impl State {
    fn finding(&self, id: &str, source: &str, version: &str, packages: &[usize], description: &str) -> Finding {
        let exposure = match (self.fixed_version.as_deref(), self.status) {
            // The tracker's way to say that the vulnerable code was never there.
            (Some("0"), _) => Exposure::NotAffected,
            (Some(fixed), _) if compare_versions(version, fixed).is_ge() => Exposure::Fixed,
            (Some(_), _) | (None, Status::Open) => Exposure::Affected,
            (None, Status::Resolved | Status::Undetermined) => Exposure::Undetermined,
        };
        Finding {
            id: id.to_owned(),
            source: source.to_owned(),
            version: version.to_owned(),
            packages: packages.to_vec(),
            exposure,
            urgency: if self.urgency.is_empty() { "not yet assigned" } else { &self.urgency }.to_owned(),
            fixed: self.fixed_version.clone().filter(|fixed| fixed != "0"),
            no_update: self.nodsa.clone().filter(|text| !text.is_empty()),
            description: description.split_ascii_whitespace().collect::<Vec<_>>().join(" "),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::DebianPackage;

    fn listing(packages: &[(&str, &str, &str)]) -> Listing {
        let listed = |(name, source, version): &(&str, &str, &str)| DebianPackage {
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            arch: "amd64".to_owned(),
            distro: None,
            sources: [((*source).to_owned(), (*version).to_owned())].into(),
            purl: format!("pkg:deb/debian/{name}@{version}"),
        };
        Listing { name: "n".to_owned(), debian: packages.iter().map(listed).collect(), others: 0 }
    }

    fn exposure(version: &str, state: &str) -> (Exposure, bool) {
        let feed = format!(r#"{{"glibc": {{"CVE-2024-1": {{"releases": {{"bookworm": {state}}}}}}}}}"#);
        let found = look_up(&listing(&[("libc6", "glibc", version)]), "bookworm", feed.as_bytes()).unwrap();
        (found.findings[0].exposure, found.findings[0].is_fixable())
    }

    #[test]
    fn versions_decide_by_debians_order() {
        let fixed = r#"{"status": "resolved", "fixed_version": "2.36-9+deb12u10", "urgency": "high"}"#;
        assert_eq!(exposure("2.36-9+deb12u9", fixed), (Exposure::Affected, true));
        assert_eq!(exposure("2.36-9+deb12u10", fixed), (Exposure::Fixed, false));
        assert_eq!(exposure("1:2.0-1", fixed), (Exposure::Fixed, false));
        assert_eq!(exposure("2.36-9+deb12u10~bpo1", fixed), (Exposure::Affected, true));
        assert_eq!(exposure("9", r#"{"status": "open"}"#), (Exposure::Affected, false));
        assert_eq!(exposure("9", r#"{"status": "undetermined"}"#), (Exposure::Undetermined, false));
        assert_eq!(exposure("9", r#"{"status": "resolved"}"#), (Exposure::Undetermined, false));
        assert_eq!(exposure("9", r#"{"status": "resolved", "fixed_version": "0"}"#), (Exposure::NotAffected, false));
    }

    #[test]
    fn packages_of_one_source_are_one_finding_and_fixes_come_first() {
        let feed = r#"{"other": {"CVE-1-1": 7}, "glibc": {
            "CVE-2024-1000": {"releases": {"bookworm": {"status": "open", "urgency": "low", "nodsa": "Minor issue"}, "sid": {"status": "open"}}},
            "CVE-2024-999": {"releases": {"bookworm": {"status": "open"}}},
            "CVE-2024-5": {"description": " two\n words ", "releases": {"bookworm": {"status": "resolved", "fixed_version": "3", "urgency": "high"}}},
            "CVE-2024-6": {"releases": {"sid": {"status": "open"}}}},
            "bash": {"CVE-2024-7": {"releases": {"sid": {"status": "open"}}}}}"#;
        let listing = listing(&[("libc6", "glibc", "2"), ("libc-bin", "glibc", "2"), ("jq", "jq", "1"), ("bash", "bash", "1")]);
        let found = look_up(&listing, "bookworm", feed.as_bytes()).unwrap();
        // What the feed says about other releases only says nothing here.
        assert_eq!((found.sources, found.known), (3, 1));
        let ids: Vec<&str> = found.findings.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, ["CVE-2024-5", "CVE-2024-999", "CVE-2024-1000"]);
        let first = &found.findings[0];
        assert_eq!((first.packages.len(), first.description.as_str(), first.urgency.as_str()), (2, "two words", "high"));
        assert_eq!((found.findings[2].no_update.as_deref(), found.findings[1].urgency.as_str()), (Some("Minor issue"), "not yet assigned"));
    }

    #[test]
    fn a_bad_feed_is_told_with_its_place() {
        let said = |feed: &str| look_up(&listing(&[("jq", "jq", "1")]), "bookworm", feed.as_bytes()).unwrap_err().to_string();
        for (feed, message) in [
            ("[]", "invalid type: sequence, expected an object with source packages at line 1 column 1"),
            ("", "EOF while parsing a value at line 1 column 0"),
            ("{\"jq\": {}", "EOF while parsing an object at line 1 column 9"),
            ("{\"jq\": {}} x", "trailing characters at line 1 column 12"),
            ("{\"jq\":\n[]}", "invalid type: sequence, expected an object with the vulnerabilities of `jq` at line 2 column 1"),
            ("{}", "it names none of the 1 source packages of the image, so it is no feed of Debian's security tracker"),
        ] {
            assert_eq!(said(feed), message);
        }
        let state = |text: &str| said(&format!("{{\"jq\":\n{{\"CVE-1\": {{\"releases\": {{\"bookworm\": {text}}}}}}}}}"));
        assert!(
            state(r#"{"status": "closed"}"#)
                .starts_with("unknown variant `closed`, expected one of `open`, `resolved`, `undetermined` at line 2")
        );
        assert!(state(r#"{"urgency": "low"}"#).starts_with("missing field `status` at line 2"));
        assert!(state(r#"{"status": "open", "fixed_version": "1 2"}"#).starts_with("`1 2` is not a valid Debian version at line 2"));
        let other = said(r#"{"jq": {"CVE-1": {"releases": {"trixie": {"status": "open"}, "sid": {"status": "open"}}}}}"#);
        assert_eq!(other, "it says nothing about Debian's release `bookworm`\nhint: --debian-release NAME, one of sid, trixie");
    }
}
