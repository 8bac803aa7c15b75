//! Where Debian packages are downloaded from: the knobs, else the machine's own apt sources.

use anyhow::Result;
use child::environment::Environment;
use knobs::{Knobs, Source};
use pkgbuild::debian::{self, Mirrors, Proxy};
use std::path::Path;

/// The machine's apt configuration.
const APT: &str = "/etc/apt";

/// What decides where downloads come from, kept until somebody downloads.
#[derive(Clone, Debug)]
pub struct Origins {
    debian: Option<String>,
    security: Option<String>,
    proxy: Option<String>,
    no_proxy: Option<String>,
}

impl Origins {
    /// From knobs and proxies.
    #[must_use]
    pub fn new(knobs: &Knobs, environment: &Environment) -> Self {
        // A flag is stronger than the environment; in there the lower-case name is stronger, as with other tools.
        let either = |lower: &str, upper: &str, knob: Option<&str>| {
            let typed = knobs.source(upper) < Source::Environment;
            if typed { knob } else { environment.get(lower).or(knob) }.map(str::to_owned)
        };
        let host = &knobs.host;
        Self {
            debian: host.debian_mirror.clone(),
            security: host.debian_security_mirror.clone(),
            proxy: either("http_proxy", "HTTP_PROXY", host.http_proxy.as_deref()),
            no_proxy: either("no_proxy", "NO_PROXY", host.no_proxy.as_deref()),
        }
    }

    /// The mirrors; an error with a hint when nothing names one.
    pub fn mirrors(&self) -> Result<Mirrors> {
        Mirrors::from_apt_sources(&debian::read_apt_sources(Path::new(APT))?, self.debian.as_deref(), self.security.as_deref())
    }

    /// The proxy for plain HTTP.
    #[must_use]
    pub fn proxy(&self) -> Proxy {
        Proxy { http: self.proxy.clone(), except: self.no_proxy.clone() }
    }
}
