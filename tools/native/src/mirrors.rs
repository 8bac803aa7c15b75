//! The mirrors for Debian packages: those of the knobs, else of the machine's apt sources. The programs of others on the way to them: curl
//! for https, gpgv for signatures.

use anyhow::Result;
use child::{Tools, curl, curl_request, environment::Environment, gpgv};
use knobs::{Knobs, Source};
use pkgbuild::debian::{self, Limits, Mirrors, Network, Proxy, Tls, Verified, Verifier};
use std::{io::Read, path::Path, sync::Arc, time::Duration};

/// The folder of the machine's apt configuration.
const APT: &str = "/etc/apt";

/// The settings from which mirrors and proxy follow. Reads the apt sources only when a download needs a mirror.
#[derive(Clone, Debug)]
pub struct Origins {
    debian: Option<String>,
    security: Option<String>,
    proxy: Option<String>,
    https_proxy: Option<String>,
    no_proxy: Option<String>,
}

impl Origins {
    /// The settings in knobs and in the environment's proxy variables.
    #[must_use]
    pub fn new(knobs: &Knobs, environment: &Environment) -> Self {
        // A flag takes precedence over the environment, where the lower-case name takes precedence, as with other tools.
        let either = |lower: &str, source: Source, knob: Option<&str>| {
            if source.rank() < Source::Environment.rank() { knob } else { environment.get(lower).or(knob) }.map(str::to_owned)
        };
        let host = &knobs.host;
        Self {
            debian: host.debian_mirror.clone(),
            security: host.debian_security_mirror.clone(),
            proxy: either("http_proxy", knobs.http_proxy_source(), host.http_proxy.as_deref()),
            https_proxy: either("https_proxy", knobs.https_proxy_source(), host.https_proxy.as_deref()),
            no_proxy: either("no_proxy", knobs.no_proxy_source(), host.no_proxy.as_deref()),
        }
    }

    /// The mirrors; fails with a hint if neither knobs nor apt sources name one.
    pub fn mirrors(&self) -> Result<Mirrors> {
        Mirrors::from_apt_sources(&debian::read_apt_sources(Path::new(APT))?, self.debian.as_deref(), self.security.as_deref())
    }

    /// The proxy for requests that curl makes alone.
    pub(crate) fn for_curl(&self) -> curl_request::HttpProxy {
        curl_request::HttpProxy { https: self.https_proxy.clone(), except: self.no_proxy.clone() }
    }

    /// The way to mirrors.
    #[must_use]
    pub fn network(&self, tools: &Tools) -> Network {
        let proxy = Proxy { http: self.proxy.clone(), https: self.https_proxy.clone(), except: self.no_proxy.clone() };
        Network { proxy, tls: Some(Arc::new(Curl { tools: tools.clone() })), limits: Limits::default() }
    }
}

/// curl as the one who speaks https.
#[derive(Debug)]
struct Curl {
    tools: Tools,
}

impl Tls for Curl {
    fn get(&self, url: &str, fields: &[(&str, String)], proxy: Option<&str>, limit: Duration) -> Result<Box<dyn Read>> {
        Ok(Box::new(curl::exchange(&self.tools, url, fields, proxy, limit)?))
    }
}

/// gpgv as the one who checks signatures.
#[derive(Debug)]
pub struct Gpgv<'t> {
    /// Finds the program.
    pub tools: &'t Tools,
}

impl Verifier for Gpgv<'_> {
    fn verify(&self, keyring: &Path, signed: &Path, signature: Option<&Path>) -> Result<Verified> {
        let gpgv::Checked { text, signers } = gpgv::verify(self.tools, keyring, signed, signature)?;
        Ok(Verified { text, signers })
    }
}
