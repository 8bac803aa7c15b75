//! The container in which lf-edge/eve builds, tests and generates Go code: builds its image and runs commands in it.

use super::{Cmd, Output, Tool, Tools};
use anyhow::{Context as _, Result};
use common::Arch;
use std::path::{Path, PathBuf};

/// The user in the container: the same as outside, so that this user owns the files that the container writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: String,
    group: String,
    uid: u32,
    gid: u32,
}

impl User {
    /// The user that runs xtask. On macOS, where docker maps owners itself, the Makefile's fixed names.
    #[must_use]
    pub fn current() -> Self {
        if cfg!(target_os = "macos") {
            return Self { name: "eve".into(), group: "eve".into(), uid: 1001, gid: 1001 };
        }
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let name = name_of(&read("/etc/passwd"), uid).unwrap_or_else(|| uid.to_string());
        let group = name_of(&read("/etc/group"), gid).unwrap_or_else(|| gid.to_string());
        Self { name, group, uid, gid }
    }

    /// The name of this user's builder image.
    #[must_use]
    pub fn image(&self) -> String {
        format!("eve-build-{}", self.name.to_lowercase())
    }
}

/// The name with the id `number` in a file with the format of passwd(5) or group(5).
fn name_of(text: &str, number: u32) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then(|| name.to_owned())
    })
}

/// A script to run in the container, and its sources.
#[derive(Clone, Debug)]
pub struct InBuilder<'r> {
    /// What it does; errors print it after "while".
    pub step: &'r str,
    /// The script, for bash.
    pub script: &'r str,
    /// The folder of the sources.
    pub sources: PathBuf,
    /// Where the container sees them, below `/go/src`.
    pub module: &'r str,
    /// Where programs are installed; the default is `.go/bin` of the tree.
    pub bin: Option<PathBuf>,
    /// Whether it gets a terminal.
    pub interactive: bool,
}

/// The builder of the tree at `root`.
pub struct GoBuilder<'c> {
    tools: &'c Tools,
    root: &'c Path,
    user: User,
    settings: Settings,
}

/// Settings of the builder's image and of its containers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The user's home folder, which the container mounts for its caches.
    pub home: PathBuf,
    /// The architecture to build for.
    pub arch: Arch,
    /// Whether Go in the container builds for `arch` unless a script says otherwise; if not, for its own.
    pub for_target: bool,
    /// The version of Go.
    pub go_version: String,
    /// Do not build the image: it exists.
    pub image_exists: bool,
    /// Variables and URIs of the proxies.
    pub proxies: Vec<(&'static str, String)>,
}

impl<'c> GoBuilder<'c> {
    /// For the tree at `root`.
    #[must_use]
    pub fn new(tools: &'c Tools, root: &'c Path, settings: Settings) -> Self {
        Self { tools, root, user: User::current(), settings }
    }

    /// The command that builds the image; none if the settings say that it exists.
    pub fn image_command(&self) -> Result<Option<Cmd>> {
        if self.settings.image_exists {
            return Ok(None);
        }
        let mut cmd = self.tools.cmd(Tool::Docker)?.step("building the Go builder's image").dir(self.root).arg("build");
        let User { name, group, uid, gid } = &self.user;
        for argument in [
            format!("GOVER={}", self.settings.go_version),
            format!("USER={name}"),
            format!("GROUP={group}"),
            format!("UID={uid}"),
            format!("GID={gid}"),
        ] {
            cmd = cmd.arg("--build-arg").arg(argument);
        }
        for (inside, value) in &self.settings.proxies {
            // A proxy's URI may contain a password, so docker reads the value from its environment.
            cmd = cmd.args(["--build-arg", inside]).secret_env(inside, value);
        }
        Ok(Some(cmd.arg("-t").arg(self.user.image()).arg("build-tools/src/scripts").output(&Output::default())))
    }

    /// The command that runs `run`.
    pub fn command(&self, run: &InBuilder<'_>) -> Result<Cmd> {
        let volume = |outside: &Path, inside: &str| format!("{}:{inside}:z", outside.display());
        let sources = format!("/go/src/{}", run.module);
        let bin = run.bin.clone().unwrap_or_else(|| self.root.join(".go/bin"));
        let mut cmd = self.tools.cmd(Tool::Docker)?.step(run.step).dir(self.root).arg("run");
        if run.interactive {
            cmd = cmd.arg("-t");
        }
        cmd = cmd.args(["-i", "--rm", "-u", &self.user.name, "-w", &sources]);
        for volume in [
            volume(&self.root.join(".go"), "/go"),
            volume(&run.sources, &sources),
            volume(&bin, "/go/bin"),
            volume(self.root, "/eve"),
            volume(&self.settings.home, &format!("/home/{}", self.user.name)),
        ] {
            cmd = cmd.arg("-v").arg(volume);
        }
        let (arch, for_target) = (self.settings.arch.as_str(), self.settings.for_target);
        match for_target {
            true => cmd = cmd.args(["-e", "GOOS=linux", "-e", &format!("GOARCH={arch}")]),
            false => cmd = cmd.args(["-e", "GOOS", "-e", "GOARCH"]).env("GOOS", "linux").env("GOARCH", ""),
        }
        cmd = cmd.args(["-e", "CGO_ENABLED", "-e", "BUILD=local"]).arg(self.user.image());
        cmd = cmd.args(["bash", "--noprofile", "--norc", "-c", run.script]);
        cmd = cmd.env("CGO_ENABLED", "1").env("ZARCH", arch);
        Ok(cmd.foreground())
    }

    /// Builds the image unless it exists, creates the folders that docker would create as root, and runs `run`.
    pub fn run(&self, run: &InBuilder<'_>) -> Result<()> {
        if let Some(cmd) = self.image_command()? {
            cmd.run()?;
        }
        for folder in [self.root.join(".go/src").join(run.module), self.root.join(".go/bin")] {
            std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        }
        self.command(run)?.run()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_their_numbers() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nda:x:1000:1000::/home/da:/bin/sh\n";
        assert_eq!(name_of(passwd, 1000).as_deref(), Some("da"));
        assert_eq!(name_of(passwd, 7), None);
        let user = User { name: "Da".into(), group: "da".into(), uid: 1000, gid: 1000 };
        assert_eq!(user.image(), "eve-build-da");
    }
}
