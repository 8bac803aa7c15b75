//! The mirrors for Debian packages: those of the knobs, else of the machine's apt sources.

use anyhow::Result;
use child::environment::Environment;
use knobs::{Knobs, Source};
use pkgbuild::debian::{self, Mirrors, Proxy};
use std::path::Path;

/// The folder of the machine's apt configuration.
const APT: &str = "/etc/apt";

/// The settings from which mirrors and proxy follow. Reads the apt sources only when a download needs a mirror.
#[derive(Clone, Debug)]
pub struct Origins {
    debian: Option<String>,
    security: Option<String>,
    proxy: Option<String>,
    no_proxy: Option<String>,
}

impl Origins {
    /// The settings in knobs and in the environment's proxy variables.
    #[must_use]
    pub fn new(knobs: &Knobs, environment: &Environment) -> Self {
        // A flag takes precedence over the environment, where the lower-case name takes precedence, as with other tools.
        let either = |lower: &str, source: Source, knob: Option<&str>| {
            if source < Source::Environment { knob } else { environment.get(lower).or(knob) }.map(str::to_owned)
        };
        let host = &knobs.host;
        Self {
            debian: host.debian_mirror.clone(),
            security: host.debian_security_mirror.clone(),
            proxy: either("http_proxy", knobs.http_proxy_source(), host.http_proxy.as_deref()),
            no_proxy: either("no_proxy", knobs.no_proxy_source(), host.no_proxy.as_deref()),
        }
    }

    /// The mirrors; fails with a hint if neither knobs nor apt sources name one.
    pub fn mirrors(&self) -> Result<Mirrors> {
        Mirrors::from_apt_sources(&debian::read_apt_sources(Path::new(APT))?, self.debian.as_deref(), self.security.as_deref())
    }

    /// The proxy for plain HTTP.
    #[must_use]
    pub fn proxy(&self) -> Proxy {
        Proxy { http: self.proxy.clone(), except: self.no_proxy.clone() }
    }
}
