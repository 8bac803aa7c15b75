//! go: fetches the source of modules and installs programs from them. Nothing of the current folder's own module is touched.

use super::{Cmd, Tool, Tools};
use crate::environment::Environment;
use anyhow::{Context as _, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Settings of a person's Go that say where modules come from and where they are kept.
const SETTINGS: &[&str] = &[
    "GOPATH",
    "GOMODCACHE",
    "GOCACHE",
    "GOPROXY",
    "GOPRIVATE",
    "GONOPROXY",
    "GONOSUMDB",
    "GOSUMDB",
    "GOINSECURE",
    "GOFLAGS",
    "GOTOOLCHAIN",
];

/// A module in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Module {
    /// Its path: `github.com/spf13/cobra`.
    pub path: String,
    /// Its version.
    pub version: String,
    /// The folder of its files.
    pub dir: PathBuf,
}

fn go(tools: &Tools, environment: &Environment, offline: bool) -> Result<Cmd> {
    let cmd = tools.cmd(Tool::Go)?;
    let cmd = SETTINGS.iter().fold(cmd, |cmd, name| match environment.get(name) {
        Some(value) => cmd.env(name, value),
        None => cmd,
    });
    // What is in the module cache can be had without the network.
    Ok(if offline { cmd.env("GOPROXY", "off") } else { cmd })
}

/// The command that fetches `module@version` into the cache, and tells where it is.
pub fn download_command(tools: &Tools, environment: &Environment, offline: bool, module: &str) -> Result<Cmd> {
    let cmd = go(tools, environment, offline)?.step(format!("fetching the module {module}"));
    // In the root folder there is no go.mod that could change, or that could replace the module.
    Ok(cmd.dir("/").args(["mod", "download", "-json", module]))
}

/// Fetches a module.
pub fn download(tools: &Tools, environment: &Environment, offline: bool, module: &str) -> Result<Module> {
    let text = download_command(tools, environment, offline, module)?.stdout()?;
    serde_json::from_str(&text).with_context(|| format!("`go mod download -json {module}` printed something unexpected"))
}

/// The command that installs the program `package@version` into the folder `bin`.
pub fn install_command(tools: &Tools, environment: &Environment, offline: bool, package: &str, bin: &Path) -> Result<Cmd> {
    let cmd = go(tools, environment, offline)?.step(format!("installing {package}")).args(["install", package]);
    Ok(cmd.env("GOBIN", bin).env("GO111MODULE", "on").env("CGO_ENABLED", "0"))
}

/// The command that builds the vendored program in the folder `sources` as `out`.
pub fn build_command(tools: &Tools, environment: &Environment, sources: &Path, out: &Path) -> Result<Cmd> {
    let cmd = go(tools, environment, false)?.step("building linuxkit").dir(sources).env_remove("GOFLAGS");
    Ok(cmd.env("GO111MODULE", "on").env("CGO_ENABLED", "0").args(["build", "-mod=vendor", "-o"]).arg(out).arg("."))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::fake, *};

    #[test]
    fn a_module_is_where_go_says() {
        let folder = tempfile::tempdir().unwrap();
        let json = r#"{"Path": "a.org/b", "Version": "v1.2.3", "Info": "i", "Dir": "/m/a.org/b@v1.2.3", "Sum": "h1:x"}"#;
        fake::tool(folder.path(), Tool::Go, &format!("[ \"$*\" = 'mod download -json a.org/b@v1.2.3' ] && echo '{json}'"));
        let tools = fake::tools(folder.path());
        let module = download(&tools, &Environment::default(), false, "a.org/b@v1.2.3").unwrap();
        assert_eq!(module, Module { path: "a.org/b".into(), version: "v1.2.3".into(), dir: "/m/a.org/b@v1.2.3".into() });
        let error = download(&tools, &Environment::default(), false, "a.org/b@v9").unwrap_err().to_string();
        assert!(error.starts_with("`go` failed while fetching the module a.org/b@v9"), "{error}");
    }
}
