//! docker's credential helpers, `docker-credential-NAME`: the programs that keep the passwords of registries. Their protocol is that of
//! github.com/docker/docker-credential-helpers: `get` reads a server's name and prints a JSON object.

use super::Tools;
use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use std::time::Duration;

/// What a helper knows about a server.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Login {
    /// The user; `<token>` if the secret is an identity token.
    #[serde(rename = "Username")]
    pub user: String,
    /// The password or token.
    #[serde(rename = "Secret")]
    pub secret: String,
}

/// What the helper `name` knows about `server`; none if it does not know the server.
pub fn get(tools: &Tools, name: &str, server: &str) -> Result<Option<Login>> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        bail!("`{name}` is not the name of a credential helper");
    }
    let program = format!("docker-credential-{name}");
    let cmd = tools.helper(&program).context("docker's configuration names this credential helper")?;
    let cmd = cmd.arg("get").stdin_bytes(server).step(format!("asking for the login of {server}")).timeout(Duration::from_secs(30));
    // A helper that does not know the server says so on standard output and fails. The output has a secret, so no error may show it.
    let mut text = String::new();
    let ended = cmd.read_with(|output| Ok(output.read_to_string(&mut text).map(drop)?));
    match ended {
        Err(_) if text.contains("credentials not found") => Ok(None),
        Err(error) => Err(error),
        Ok(()) => serde_json::from_str(&text).map(Some).map_err(|_| anyhow::anyhow!("`{program}` printed no login")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_helper_knows_a_server_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let script = "read -r server\ncase $1-$server in get-a) echo '{\"ServerURL\":\"a\",\"Username\":\"u\",\"Secret\":\"s\"}';;\n\
             get-b) echo 'credentials not found in native keychain'; exit 1;; *) echo broken >&2; exit 2;; esac";
        crate::fake::program(folder.path(), "docker-credential-x", script);
        let mut path = folder.path().as_os_str().to_owned();
        path.push(":/usr/bin:/bin");
        let tools = Tools::only_in(path);
        assert_eq!(get(&tools, "x", "a").unwrap(), Some(Login { user: "u".into(), secret: "s".into() }));
        assert_eq!(get(&tools, "x", "b").unwrap(), None);
        assert!(format!("{:#}", get(&tools, "x", "c").unwrap_err()).contains("broken"));
        assert!(format!("{:#}", get(&tools, "y", "a").unwrap_err()).contains("docker-credential-y"));
        assert_eq!(get(&tools, "../x", "a").unwrap_err().to_string(), "`../x` is not the name of a credential helper");
    }
}
