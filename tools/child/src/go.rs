//! go: downloads modules, and installs and builds programs from their sources. It never uses a go.mod of the current folder.

use super::{Cmd, Tool, Tools, environment::Environment, known_tools::Version, version, version::Found};
use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Variables of the caller that say where Go gets modules and where it keeps them.
const SETTINGS: &[&[&str]] = &[
    &["GOPATH", "GOMODCACHE", "GOCACHE", "GOFLAGS", "GOTOOLCHAIN"],
    &["GOPROXY", "GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOSUMDB", "GOINSECURE"],
];

/// A module in Go's module cache.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Module {
    /// Its import path: `github.com/spf13/cobra`.
    pub path: String,
    /// Its version.
    pub version: String,
    /// The folder of its files.
    pub dir: PathBuf,
}

fn go(tools: &Tools, environment: &Environment, offline: bool) -> Result<Cmd> {
    let set = SETTINGS.iter().copied().flatten().filter_map(|name| Some((name, environment.get(name)?)));
    let cmd = set.fold(tools.cmd(Tool::Go)?, |cmd, (name, value)| cmd.env(name, value));
    // Offline, Go still reads its module cache.
    Ok(if offline { cmd.env("GOPROXY", "off") } else { cmd })
}

/// The command that downloads `module@version` into the module cache and prints its place.
pub fn download_command(tools: &Tools, environment: &Environment, offline: bool, module: &str) -> Result<Cmd> {
    let cmd = go(tools, environment, offline)?.step(format!("fetching the module {module}"));
    // In `/` no go.mod can replace the module or be changed.
    Ok(cmd.dir("/").args(["mod", "download", "-json", module]))
}

/// Downloads `module@version` into the module cache.
pub fn download(tools: &Tools, environment: &Environment, offline: bool, module: &str) -> Result<Module> {
    let text = download_command(tools, environment, offline, module)?.stdout()?;
    serde_json::from_str(&text).with_context(|| format!("`go mod download -json {module}` printed something unexpected"))
}

/// The command that installs the program `package@version` into the folder `bin`.
pub fn install_command(tools: &Tools, environment: &Environment, offline: bool, package: &str, bin: &Path) -> Result<Cmd> {
    let cmd = go(tools, environment, offline)?.step(format!("installing {package}")).args(["install", package]);
    Ok(cmd.env("GOBIN", bin).env("GO111MODULE", "on").env("CGO_ENABLED", "0"))
}

/// A program to be built from a checkout of its repository.
#[derive(Clone, Copy, Debug)]
pub struct GoProgram<'p> {
    /// Its name in messages.
    pub name: &'p str,
    /// The checkout.
    pub checkout: &'p Path,
    /// The program's folder below it.
    pub package: &'p str,
}

impl GoProgram<'_> {
    /// The folder of its sources.
    #[must_use]
    pub fn sources(&self) -> PathBuf {
        self.checkout.join(self.package)
    }

    /// The folder of its module: the nearest one with a go.mod, inside the checkout.
    #[must_use]
    pub fn module(&self) -> Option<PathBuf> {
        let sources = self.sources();
        let found =
            sources.ancestors().take_while(|folder| folder.starts_with(self.checkout)).find(|folder| folder.join("go.mod").is_file());
        found.map(Path::to_owned)
    }

    /// `-mod=vendor` if the repository contains the modules that it needs; otherwise Go downloads exactly those of go.sum.
    #[must_use]
    pub fn modules_option(&self) -> &'static str {
        let vendored = self.module().is_some_and(|module| module.join("vendor/modules.txt").is_file());
        if vendored { "-mod=vendor" } else { "-mod=readonly" }
    }

    /// An error if this machine's Go is older than the program's go.mod requires. Skipped if GOTOOLCHAIN is set: Go may fetch a newer one.
    pub fn check_version(&self, tools: &Tools, environment: &Environment) -> Result<()> {
        let Some(path) = self.module().map(|module| module.join("go.mod")) else { return Ok(()) };
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let Some(needed) = parse_go_line(&text) else { return Ok(()) };
        match version::find(tools, Tool::Go) {
            Found::Version(here) if here < needed && environment.get("GOTOOLCHAIN").is_none() => bail!(
                "{} needs Go {} or later, but Go {} is here\nhint: XTASK_TOOL_GO=/path/to/a/newer/go, or since Go 1.21 GOTOOLCHAIN=auto to let Go download one",
                self.name,
                version::show(needed),
                version::show(here)
            ),
            _ => Ok(()),
        }
    }

    /// The command that builds it as `out`: reproducible in every folder, with this machine's toolchain only.
    pub fn build_command(&self, tools: &Tools, environment: &Environment, offline: bool, out: &Path) -> Result<Cmd> {
        let cmd = go(tools, environment, offline)?.step(format!("building {}", self.name)).dir(self.sources()).env_remove("GOFLAGS");
        let cmd = if environment.get("GOTOOLCHAIN").is_none() { cmd.env("GOTOOLCHAIN", "local") } else { cmd };
        let cmd = cmd.env("GO111MODULE", "on").env("CGO_ENABLED", "0").args(["build", "-trimpath", self.modules_option(), "-o"]);
        Ok(cmd.arg(out).arg("."))
    }
}

/// The version of Go that the text of a go.mod requires.
fn parse_go_line(text: &str) -> Option<Version> {
    text.lines().find_map(|line| version::parse(line.strip_prefix("go ")?.trim()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::fake, *};

    #[test]
    fn a_program_belongs_to_the_nearest_module() {
        let folder = tempfile::tempdir().unwrap();
        let checkout = folder.path().join("checkout");
        std::fs::create_dir_all(checkout.join("v2/cmd/a")).unwrap();
        std::fs::create_dir_all(checkout.join("v2/vendor")).unwrap();
        std::fs::write(folder.path().join("go.mod"), "go 9.9\n").unwrap();
        let program = GoProgram { name: "a", checkout: &checkout, package: "v2/cmd/a" };
        assert_eq!((program.module(), program.modules_option()), (None, "-mod=readonly"));
        std::fs::write(checkout.join("v2/go.mod"), "module a\n\ngo 1.23.4 // so\ntoolchain go1.24.6\n").unwrap();
        std::fs::write(checkout.join("v2/vendor/modules.txt"), "").unwrap();
        assert_eq!((program.module(), program.modules_option()), (Some(checkout.join("v2")), "-mod=vendor"));
        fake::tool(folder.path(), Tool::Go, "echo go version go1.23.3 linux/amd64");
        let tools = fake::tools(folder.path());
        let error = program.check_version(&tools, &Environment::default()).unwrap_err().to_string();
        assert!(error.starts_with("a needs Go 1.23.4 or later, but Go 1.23.3 is here\nhint: "), "{error}");
        fake::tool(folder.path(), Tool::Go, "echo go version go1.30 linux/amd64");
        program.check_version(&tools, &Environment::default()).unwrap();
    }

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
