//! Mirrors of Debian's archives. This repository contains no address: they come from apt's configuration of the machine, or
//! from the caller.

use super::{Suite, control::stanzas, http::without_login};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};

/// Root URLs of mirrors, without a final `/`, best first, `http://` or `https://`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors {
    /// Mirrors of the main archive.
    pub debian: Vec<String>,
    /// Mirrors of the security archive.
    pub security: Vec<String>,
}

/// Names of Debian releases: code names and aliases.
const SUITES: &[&str] =
    &["buster", "bullseye", "bookworm", "trixie", "forky", "duke", "sid", "stable", "oldstable", "oldoldstable", "testing", "unstable"];

impl Mirrors {
    /// Parses apt's source files, given as `(file name, text)`: sources.list, sources.list.d/*.list and *.sources. `debian` and
    /// `security` (knobs DEBIAN_MIRROR, DEBIAN_SECURITY_MIRROR) replace apt's mirrors. The lists may be empty: a build with all
    /// files in the store needs no mirror. A malformed `.sources` file is an error with its line.
    pub fn from_apt_sources(files: &[(String, String)], debian: Option<&str>, security: Option<&str>) -> Result<Self> {
        let mut mirrors = Self::default();
        for (name, text) in files {
            if name.ends_with(".sources") {
                mirrors.add_deb822(text, name)?;
            } else if name.ends_with(".list") {
                mirrors.add_lines(text);
            }
        }
        for (given, list) in [(debian, &mut mirrors.debian), (security, &mut mirrors.security)] {
            if let Some(given) = given.map(str::trim).filter(|given| !given.is_empty()) {
                *list = vec![given.trim_end_matches('/').to_owned()];
            }
            // One connection serves one file, and those of https cost more. Third-party repositories use Debian's suite names, too; Debian's own URLs end in the archive's name.
            list.sort_by_key(|root| (!root.starts_with("http://"), !root.ends_with("/debian") && !root.ends_with("/debian-security")));
        }
        Ok(mirrors)
    }

    /// Usable mirrors of a suite, best first. Without any, the error says which knob to set.
    pub fn roots(&self, suite: Suite) -> Result<Vec<&str>> {
        let (list, knob, what) = match suite {
            Suite::Main | Suite::Updates => (&self.debian, "DEBIAN_MIRROR", "Debian's archive"),
            Suite::Security => (&self.security, "DEBIAN_SECURITY_MIRROR", "Debian's security archive"),
        };
        let usable: Vec<&str> = list.iter().map(String::as_str).filter(|root| is_usable(root)).collect();
        if usable.is_empty() {
            let found = match list.first() {
                Some(other) => {
                    format!("`{}` cannot be used: only http:// and https:// are supported", without_login(other))
                }
                None => "apt's sources contain none".to_owned(),
            };
            bail!("there is no mirror of {what}: {found}\nhint: set {knob}=http://host/path, the folder that contains `dists` and `pool`");
        }
        Ok(usable)
    }

    /// One-line format: `deb [options] URI suite component…`.
    fn add_lines(&mut self, text: &str) {
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let Some(rest) = line.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t'])) else { continue };
            let rest = rest.trim_start();
            let rest = match rest.strip_prefix('[') {
                Some(options) => options.split_once(']').map_or("", |(_, rest)| rest),
                None => rest,
            };
            let mut words = rest.split_ascii_whitespace();
            if let (Some(uri), Some(suite)) = (words.next(), words.next()) {
                let components: Vec<&str> = words.collect();
                self.add(uri, suite, &components);
            }
        }
    }

    fn add_deb822(&mut self, text: &str, file: &str) -> Result<()> {
        for stanza in stanzas(text, file) {
            let stanza = stanza?;
            let words = |field: &str| stanza.get(field).unwrap_or_default().split_ascii_whitespace().collect::<Vec<_>>();
            let off = stanza.get("Enabled").is_some_and(|value| ["no", "false", "off", "0"].contains(&value.to_ascii_lowercase().as_str()));
            if off || !words("Types").contains(&"deb") {
                continue;
            }
            for uri in words("URIs") {
                words("Suites").iter().for_each(|suite| self.add(uri, suite, &words("Components")));
            }
        }
        Ok(())
    }

    fn add(&mut self, uri: &str, suite: &str, components: &[&str]) {
        let (base, ending) = suite.split_once(['-', '/']).unwrap_or((suite, ""));
        if !SUITES.contains(&base) || !components.contains(&"main") {
            return;
        }
        let list = match ending {
            "security" | "updates" if ending == "security" || suite.contains('/') => &mut self.security,
            "" | "updates" | "backports" | "proposed-updates" => &mut self.debian,
            _ => return,
        };
        let root = uri.trim_end_matches('/').to_owned();
        if !list.contains(&root) {
            list.push(root);
        }
    }
}

/// Source files below apt's folder (`/etc/apt`) for [`Mirrors::from_apt_sources`]; empty on machines without apt.
pub fn read_apt_sources(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut paths: Vec<PathBuf> = Vec::new();
    if let Ok(entries) = std::fs::read_dir(folder.join("sources.list.d")) {
        paths.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()));
    }
    paths.sort();
    let list = folder.join("sources.list");
    if list.is_file() {
        paths.insert(0, list);
    }
    let read = |path: PathBuf| {
        let text = std::fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        Ok((path.display().to_string(), String::from_utf8_lossy(&text).into_owned()))
    };
    paths.into_iter().map(read).collect()
}

fn is_usable(root: &str) -> bool {
    root.starts_with("http://") || root.starts_with("https://")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn both_formats_of_apt_are_read() {
        let files = files(&[
            (
                "sources.list",
                "# deb http://off.example/debian bookworm main\ndeb [arch=amd64 signed-by=/k] http://one.example/debian/ bookworm main contrib\n\
                 deb-src http://src.example/debian bookworm main\ndeb http://sec.example/debian-security bookworm-security main\n\
                 deb http://old.example/ buster/updates main\ndeb http://vendor.example bookworm stable\ndeb http://vendor.example cloud-bookworm main\n",
            ),
            (
                "debian.sources",
                "Types: deb deb-src\n# why\nURIs: https://two.example/debian\n http://three.example/mirror/debian\nSuites: trixie trixie-updates\nComponents: main\n\n\
                 Types: deb\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\nEnabled: no\n",
            ),
            ("readme", "deb http://no.example/debian bookworm main\n"),
        ]);
        let mirrors = Mirrors::from_apt_sources(&files, None, None).unwrap();
        assert_eq!(mirrors.debian, ["http://one.example/debian", "http://three.example/mirror/debian", "https://two.example/debian"]);
        assert_eq!(mirrors.security, ["http://sec.example/debian-security", "http://old.example"]);
        assert_eq!(mirrors.roots(Suite::Updates).unwrap().len(), 3);
        let given = Mirrors::from_apt_sources(&files, Some("http://mine.example/d/"), None).unwrap();
        assert_eq!(given.debian, ["http://mine.example/d"]);
        assert_eq!(given.security, mirrors.security);
    }

    #[test]
    fn no_usable_mirror_says_what_to_set() {
        let error = Mirrors::default().roots(Suite::Security).unwrap_err().to_string();
        assert!(error.contains("apt's sources contain none\nhint: set DEBIAN_SECURITY_MIRROR=http://"), "{error}");
        let secure = Mirrors { debian: vec!["ftp://a.example/debian".into()], security: Vec::new() };
        assert!(secure.roots(Suite::Main).unwrap_err().to_string().contains("only http:// and https:// are supported"));
        let secret = Mirrors { debian: vec!["ftp://me:s3cret@a.example/debian".into()], security: Vec::new() };
        assert!(!secret.roots(Suite::Main).unwrap_err().to_string().contains("s3cret"));
        let error = format!("{:#}", Mirrors::from_apt_sources(&files(&[("x.sources", "junk\n")]), None, None).unwrap_err());
        assert!(error.contains("x.sources:1: `junk` is not a field of a control stanza"), "{error}");
    }
}
