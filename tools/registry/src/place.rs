//! A registry and the prefix of names in it, as a person writes them: `registry.example.org/team`.

use anyhow::Result;
use common::error::usage;
use std::{fmt, str::FromStr};

/// The registry of names without one, and the host of its API.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// A registry and a prefix of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The registry as it is written in an image's name, with the port.
    pub host: String,
    /// What comes before an image's own name, without slashes at its ends; may be empty.
    pub prefix: String,
    /// Whether it is reached by http. That is so for this machine only.
    pub plain: bool,
}

impl Place {
    /// The start of every URL of the API.
    pub(crate) fn base(&self) -> String {
        let host = if self.host == DOCKER_HUB.0 { DOCKER_HUB.1 } else { &self.host };
        format!("{}://{host}/v2/", if self.plain { "http" } else { "https" })
    }

    /// The repository of an image's own name.
    #[must_use]
    pub fn repository(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) }
    }

    /// Whether the registry is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// Whether `authority`, a host perhaps with a port, is this machine.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").map_or((None, text), |(scheme, rest)| (Some(scheme), rest));
        let rest = rest.trim_end_matches('/');
        let (host, prefix) = match rest.split_once('/') {
            Some((host, prefix)) if host.contains(['.', ':']) || host == "localhost" => (host, prefix),
            None if rest.contains(['.', ':']) || rest == "localhost" => (rest, ""),
            _ if scheme.is_none() && !rest.is_empty() => (DOCKER_HUB.0, rest),
            _ => return Err(format!("`{text}` names no registry, for example https://registry.example.org/team")),
        };
        if host.contains('@') {
            return Err("a login does not belong into the name of a registry: `docker login` keeps it".to_owned());
        }
        if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte)) || host.starts_with('-') {
            return Err(format!("`{host}` is not the name of a registry"));
        }
        let is_word = |word: &str| {
            word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
                && word.starts_with(|c: char| c.is_ascii_alphanumeric())
        };
        if !prefix.is_empty() && !prefix.split('/').all(is_word) {
            return Err(format!("`{prefix}` is no prefix of image names: small letters, digits, `.`, `_`, `-` and `/`"));
        }
        let plain = match scheme {
            None => is_loopback(host),
            Some("https") => false,
            Some("http") if is_loopback(host) => true,
            Some("http") => return Err(format!("`{host}` is not this machine, so it must be reached by https")),
            Some(other) => return Err(format!("`{other}://` is not the way to a registry: https")),
        };
        Ok(Self { host: host.to_owned(), prefix: prefix.to_owned(), plain })
    }
}

/// A part of an image's name without registry and organization: `lfedge/eve-grub:1` → (`eve-grub`, `1`).
pub(crate) fn own_name(reference: &str) -> Result<(&str, &str)> {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    last.split_once(':')
        .filter(|(name, tag)| !name.is_empty() && !tag.is_empty() && !tag.contains('@'))
        .ok_or_else(|| usage(format!("the image {reference} has no tag, so a registry cannot keep it")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_place_is_a_registry_and_a_prefix() {
        for (text, base, repository) in [
            ("registry.example.org/a/b", "https://registry.example.org/v2/", "a/b/x"),
            ("localhost:5000", "http://localhost:5000/v2/", "x"),
            ("127.0.0.1:5000/team/", "http://127.0.0.1:5000/v2/", "team/x"),
            ("[::1]:5000/team", "http://[::1]:5000/v2/", "team/x"),
            ("http://127.8.0.1/team", "http://127.8.0.1/v2/", "team/x"),
            ("https://localhost:5000/team", "https://localhost:5000/v2/", "team/x"),
            ("team", "https://registry-1.docker.io/v2/", "team/x"),
        ] {
            let place: Place = text.parse().unwrap();
            assert_eq!((place.base().as_str(), place.repository("x").as_str()), (base, repository), "{text}");
        }
        for (text, message) in [
            ("http://registry.example.org/a", "by https"),
            ("ftp://localhost/a", "`ftp://`"),
            ("me:pw@registry.example.org/a", "docker login"),
            ("registry.example.org/A", "`A` is no prefix"),
            ("registry.example.org/a//b", "is no prefix"),
            ("localhost/../a", "is no prefix"),
            ("https://team", "names no registry"),
            ("", "names no registry"),
        ] {
            let error = text.parse::<Place>().unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
        assert_eq!(own_name("localhost:5000/a/eve-x:1-amd64").unwrap(), ("eve-x", "1-amd64"));
        let error = own_name("localhost:5000/a/x").unwrap_err().to_string();
        assert_eq!(error, "the image localhost:5000/a/x has no tag, so a registry cannot keep it");
    }
}
