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
        // The knob is what a person says, and the environment's upper-case names; tools of old read the lower-case ones first.
        let either = |lower: &str, upper: &str| {
            let said = knobs.shown().any(|(name, _, source)| name == upper && source < Source::Environment);
            let (environment, knob) = (environment.get(lower), knobs.optional(upper));
            if said { knob } else { environment.or(knob) }.map(str::to_owned)
        };
        Self {
            debian: knobs.debian_mirror.clone(),
            security: knobs.debian_security_mirror.clone(),
            proxy: either("http_proxy", "HTTP_PROXY"),
            no_proxy: either("no_proxy", "NO_PROXY"),
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
