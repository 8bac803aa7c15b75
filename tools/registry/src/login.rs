//! The logins of registries, from docker's configuration: `auths`, `credHelpers` and `credsStore` of `~/.docker/config.json`.

use anyhow::{Context as _, Result};
use child::{Tools, docker_credential, docker_credential::Login};
use common::base64;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// The user that a credential helper names when the secret is an identity token.
const TOKEN: &str = "<token>";

/// docker's name of its own registry in `auths`.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Where logins are looked up.
#[derive(Clone, Debug)]
pub struct Logins {
    /// Starts credential helpers.
    pub tools: Tools,
    /// docker's folder of configuration.
    pub folder: PathBuf,
}

/// The parts of docker's `config.json` that say who one is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: String,
}

#[derive(Debug, Default, Deserialize)]
struct Auth {
    /// Base64 of `user:password`.
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
}

/// How one says who one is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// A user and a password.
    Password(String, String),
    /// A token that a token server exchanges for others (OAuth 2's refresh token).
    Token(String),
}

impl Logins {
    /// The login for the registry `host`; none if docker's configuration has none.
    pub(crate) fn find(&self, host: &str) -> Result<Option<Identity>> {
        let path = self.folder.join("config.json");
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("cannot read `{}`", path.display()))?,
        };
        // serde's message could show a part of a password, so only the place is named.
        let config: Config = serde_json::from_str(&text).map_err(|error| {
            anyhow::anyhow!("`{}` is not docker's configuration: line {}, column {}", path.display(), error.line(), error.column())
        })?;
        let known = names(host);
        let helper = known.iter().find_map(|name| config.cred_helpers.get(name)).filter(|helper| !helper.is_empty());
        if let Some(helper) = helper.or(Some(&config.creds_store).filter(|store| !store.is_empty())) {
            for name in &known {
                if let Some(login) = docker_credential::get(&self.tools, helper, name)? {
                    return Ok(Some(identity(login)));
                }
            }
        }
        let Some(auth) = known.iter().find_map(|name| config.auths.get(name)) else { return Ok(None) };
        auth.identity().with_context(|| format!("the login for {host} in `{}` cannot be read\nhint: docker login {host}", path.display()))
    }

    /// docker's folder of configuration: DOCKER_CONFIG, else `.docker` at home.
    #[must_use]
    pub fn usual_folder(docker_config: Option<&str>, home: &Path) -> PathBuf {
        docker_config.map_or_else(|| home.join(".docker"), PathBuf::from)
    }
}

fn identity(login: Login) -> Identity {
    if login.user == TOKEN { Identity::Token(login.secret) } else { Identity::Password(login.user, login.secret) }
}

impl Auth {
    fn identity(&self) -> Result<Option<Identity>> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Identity::Token(self.identitytoken.clone())));
        }
        if !self.username.is_empty() {
            return Ok(Some(Identity::Password(self.username.clone(), self.password.clone())));
        }
        if self.auth.is_empty() {
            return Ok(None);
        }
        let bytes = base64::decode(&self.auth).context("it is not base64")?;
        let text = String::from_utf8(bytes).ok().context("it is not text")?;
        let (user, password) = text.split_once(':').context("it has no colon")?;
        Ok(Some(Identity::Password(user.to_owned(), password.trim_end_matches('\0').to_owned())))
    }
}

/// The names under which docker's configuration may have the registry `host`.
fn names(host: &str) -> Vec<String> {
    let mut names = vec![host.to_owned(), format!("https://{host}"), format!("https://{host}/v2/"), format!("https://{host}/v1/")];
    if host == "docker.io" {
        names.insert(0, DOCKER_HUB.to_owned());
    }
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use child::fake;

    fn find(folder: &Path, host: &str) -> Result<Option<(String, String)>> {
        let logins = Logins { tools: fake::tools(folder), folder: folder.to_owned() };
        let pair = |identity| match identity {
            Identity::Password(user, password) => (user, password),
            Identity::Token(token) => (TOKEN.to_owned(), token),
        };
        Ok(logins.find(host)?.map(pair))
    }

    #[test]
    fn the_login_is_where_docker_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        assert_eq!(find(dir, "a.org").unwrap(), None);
        let config = r#"{"auths": {"a.org": {"auth": "bWU6cDp3"}, "https://index.docker.io/v1/": {"username": "hub", "password": "x"},
            "t.org": {"auth": "bWU6", "identitytoken": "long"}, "bad.org": {"auth": "???"}, "s.org": {}},
            "credHelpers": {"h.org": "one"}, "HttpHeaders": {}}"#;
        std::fs::write(dir.join("config.json"), config).unwrap();
        fake::program(dir, "docker-credential-one", "read -r s; echo '{\"Username\":\"<token>\",\"Secret\":\"'$s'\"}'");
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        for (host, login) in [
            ("a.org", pair("me", "p:w")),
            ("docker.io", pair("hub", "x")),
            ("t.org", pair(TOKEN, "long")),
            ("h.org", pair(TOKEN, "h.org")),
            ("s.org", None),
            ("other.org", None),
        ] {
            assert_eq!(find(dir, host).unwrap(), login, "{host}");
        }
        let error = format!("{:#}", find(dir, "bad.org").unwrap_err());
        assert!(error.contains("hint: docker login bad.org") && !error.contains("???"), "{error}");
        std::fs::write(dir.join("config.json"), "{\"auths\": {\"a\": \"secret\"}}").unwrap();
        let error = format!("{:#}", find(dir, "a").unwrap_err());
        assert!(error.contains("line 1, column") && !error.contains("secret"), "{error}");
    }
}
