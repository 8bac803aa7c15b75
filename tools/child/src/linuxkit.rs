//! linuxkit: packages, root file systems, and what is in its cache. Its options changed twice: until 2022 it read them in Go's way
//! (`-arch`), then in GNU's (`--arch`), and since 1.5.3 `cache export` wants a platform instead of an architecture.

use super::{Cmd, Output, Tool, Tools};
use anyhow::Result;
use common::{Arch, PackageWork};
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// How a version of linuxkit reads its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Go's: one dash.
    Go,
    /// GNU's: two dashes.
    Gnu,
    /// The same, and `cache export --platform`.
    Platforms,
}

impl Dialect {
    /// From what `linuxkit version` prints; a build from source may tell no number, and then the tree says what its pin is.
    #[must_use]
    pub fn of_version(text: &str, pinned: Self) -> Self {
        let number = |part: &str| part.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse::<u32>().ok());
        let version = text.split_whitespace().find_map(|word| {
            let mut parts = word.strip_prefix('v').unwrap_or(word).splitn(3, '.').map(number);
            Some((parts.next()??, parts.next()??, parts.next()??))
        });
        match version {
            None => pinned,
            Some(version) if version >= (1, 5, 3) => Self::Platforms,
            Some(version) if version > (1, 0, 1) => Self::Gnu,
            Some(_) => Self::Go,
        }
    }

    /// The word of a tree's profile for the linuxkit that it pins.
    #[must_use]
    pub fn of_pin(word: &str) -> Self {
        match word {
            "go" => Self::Go,
            "platforms" => Self::Platforms,
            _ => Self::Gnu,
        }
    }

    pub(super) fn dash(self, option: &str) -> String {
        format!("{}{option}", if self == Self::Go { "-" } else { "--" })
    }
}

/// The variable that names the folder of its images.
const CACHE: &str = "LINUXKIT_CACHE";

/// linuxkit, ready to be told things.
#[derive(Clone)]
pub struct Linuxkit {
    tools: Tools,
    dialect: Dialect,
    progress: String,
    arch: Arch,
    verbose: bool,
    builders: Option<String>,
}

/// How linuxkit is called, whatever it is told to do.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'s> {
    /// The dialect of the tree's pin, for a linuxkit that prints no version number.
    pub pinned: Dialect,
    /// BuildKit's word for how it shows a build's progress.
    pub progress: &'s str,
    /// The architecture of the image.
    pub arch: Arch,
    /// Whether linuxkit prints what it does.
    pub verbose: bool,
    /// Remote builders: `PLATFORM=CONTEXT[,PLATFORM=CONTEXT…]`.
    pub builders: Option<&'s str>,
}

/// A call of `linuxkit pkg` for one package.
#[derive(Clone, Copy, Debug)]
pub struct PackageCall<'c> {
    /// The package's name, for errors.
    pub name: &'c str,
    /// The folder with its Dockerfile, absolute.
    pub dir: &'c Path,
    /// `build`, `push` or `manifest`.
    pub work: PackageWork,
    /// The name of the build.yml.
    pub build_yml: &'c str,
    /// The tag instead of linuxkit's own.
    pub hash: Option<&'c str>,
    /// The release's tag that a pushed image gets too.
    pub release: Option<&'c str>,
    /// Options that replace the last two, unless empty.
    pub options: &'c [String],
    /// Build although the image exists.
    pub force: bool,
    /// Load the image into docker too.
    pub docker_load: bool,
    /// The architectures to build for.
    pub platforms: &'c [Arch],
}

/// A call of `linuxkit pkg` for the image that holds every artifact.
#[derive(Clone, Copy, Debug)]
pub struct EveCall<'c> {
    /// The folder with the Dockerfile and all artifacts.
    pub context: &'c Path,
    /// `build`, `push` or `manifest`.
    pub work: PackageWork,
    /// The image's tag.
    pub tag: &'c str,
    /// The release's tag that a pushed image gets too.
    pub release: Option<&'c str>,
    /// The architecture.
    pub arch: Arch,
    /// Build although the image exists.
    pub force: bool,
}

impl Linuxkit {
    /// Asks the linuxkit of this machine for its version, which decides the dialect.
    #[must_use]
    pub fn new(tools: &Tools, settings: Settings<'_>) -> Self {
        let text = tools.cmd(Tool::Linuxkit).and_then(|cmd| cmd.arg("version").stdout()).unwrap_or_default();
        Self {
            tools: tools.clone(),
            dialect: Dialect::of_version(&text, settings.pinned),
            progress: settings.progress.to_owned(),
            arch: settings.arch,
            verbose: settings.verbose,
            builders: settings.builders.map(str::to_owned),
        }
    }

    /// How the linuxkit that is here reads its options.
    pub(super) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Whether it reads images whose layers are not compressed, which it does since 1.3.
    #[must_use]
    pub fn reads_plain_layers(&self) -> bool {
        self.dialect == Dialect::Platforms
    }

    /// The command that writes an image of the cache to the file `out`, under another name where one is given.
    pub fn export_command(&self, image: &str, name: Option<&str>, out: &Path) -> Result<Cmd> {
        let cmd = self.command(format!("exporting {image}"), &Output::default())?.args(["cache", "export"]);
        let cmd = cmd.args(self.export_arch(self.arch.as_str())).arg(self.dialect.dash("outfile")).arg(out);
        let cmd = name.into_iter().fold(cmd, |cmd, name| cmd.arg(self.dialect.dash("name")).arg(name));
        Ok(cmd.arg(image))
    }

    /// What is in the cache, as linuxkit lists it on either stream.
    pub fn list_cache(&self) -> Result<String> {
        let lines = Arc::new(Mutex::new(String::new()));
        let seen = Arc::clone(&lines);
        let sink = Output::to(move |line| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push_str(line);
            seen.push('\n');
        });
        self.command("listing the cache".to_owned(), &sink)?.args(["cache", "ls"]).run()?;
        let listed = lines.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(listed.clone())
    }

    pub(super) fn command(&self, step: String, output: &Output) -> Result<Cmd> {
        Ok(self
            .tools
            .cmd(Tool::Linuxkit)?
            .step(step)
            .env("BUILDKIT_PROGRESS", &self.progress)
            .env("CGO_ENABLED", "1")
            .env("GOOS", "linux")
            .env("ZARCH", self.arch.as_str())
            .output(output))
    }

    /// Builds, pushes or lists a package of the tree at `root`, with images in `cache`.
    pub fn package(&self, call: &PackageCall<'_>, root: &Path, cache: &Path, output: &Output) -> Result<()> {
        let mut words: Vec<String> = Vec::new();
        words.extend(self.verbose.then(|| "-v".to_owned()));
        words.extend(["pkg".to_owned(), call.work.to_string()]);
        if call.options.is_empty() {
            words.extend(call.hash.iter().flat_map(|hash| ["--hash", hash]).map(str::to_owned));
            words.extend(call.release.iter().flat_map(|release| ["--release", release]).map(str::to_owned));
        } else {
            words.extend(call.options.iter().cloned());
        }
        if call.work != PackageWork::Manifest {
            words.extend(call.force.then(|| "--force".to_owned()));
            words.extend(call.docker_load.then(|| "--docker".to_owned()));
            words.extend(["--platforms".to_owned(), platforms(call.platforms)]);
            words.extend(self.builders.iter().flat_map(|builders| ["--builders".to_owned(), builders.clone()]));
        }
        words.extend([self.dialect.dash("build-yml"), call.build_yml.to_owned()]);
        let dir = call.dir.strip_prefix(root).unwrap_or(call.dir);
        let step = format!("{} pkg/{}", gerund(call.work), call.name);
        self.command(step, output)?.env(CACHE, cache).args(words).arg(dir).dir(root).run()
    }

    /// Sees to it that the image of a package is in `cache`: fetched when the registry has it, else built.
    pub fn fetch_package(&self, dir: &Path, arch: Arch, root: &Path, cache: &Path, output: &Output) -> Result<()> {
        let dir = dir.strip_prefix(root).unwrap_or(dir);
        let cmd = self.command(format!("fetching or building {}", dir.display()), output)?;
        cmd.env(CACHE, cache).args(["pkg", "build", "--pull", "--platforms", &platforms(&[arch])]).arg(dir).dir(root).run()
    }

    /// Builds or pushes the image that holds every artifact.
    pub fn eve(&self, call: &EveCall<'_>, root: &Path, output: &Output) -> Result<()> {
        let mut words: Vec<String> = Vec::new();
        words.extend(self.verbose.then(|| "-v".to_owned()));
        words.extend(["pkg".to_owned(), call.work.to_string(), "--platforms".to_owned(), platforms(&[call.arch])]);
        words.extend([
            "--hash-path".to_owned(),
            root.display().to_string(),
            "--hash".to_owned(),
            call.tag.to_owned(),
            "--docker".to_owned(),
        ]);
        words.extend(call.release.iter().flat_map(|release| ["--release", release]).map(str::to_owned));
        words.extend(call.force.then(|| "--force".to_owned()));
        self.command(format!("{} eve as {}", gerund(call.work), call.tag), output)?.args(words).arg(call.context).dir(root).run()
    }

    /// yml → tar. `yml` is told relative to `dir`, when it lies there. What is in the tar `old` need not be looked up again.
    pub fn build(&self, yml: &Path, arch: Arch, dir: &Path, old: Option<&Path>, out: &Path, output: &Output) -> Result<()> {
        let words = ["build".to_owned(), self.dialect.dash("docker"), self.dialect.dash("arch"), arch.to_string()];
        let name = yml.strip_prefix(dir).unwrap_or(yml);
        // `-o` is an option of one letter's length in both dialects, but GNU's way of reading calls it `--o`.
        let out_option = if self.dialect == Dialect::Go { "-o" } else { "--o" };
        let cmd = self.command(format!("composing {}", name.display()), output)?.args(words).arg(out_option).arg(out);
        let cmd = old.into_iter().fold(cmd, |cmd, old| cmd.arg(self.dialect.dash("input-tar")).arg(old));
        cmd.arg(name).dir(dir).run()
    }

    /// The command that prints the files of an image of the cache as a tar.
    pub fn export_filesystem(&self, reference: &str, arch_tag: &str, dir: &Path, output: &Output) -> Result<Cmd> {
        let words = [self.dialect.dash("format"), "filesystem".to_owned(), self.dialect.dash("outfile"), "-".to_owned()];
        let cmd = self.command(format!("taking files out of {reference}"), output)?.args(["cache", "export"]);
        Ok(cmd.args(self.export_arch(arch_tag)).args(words).arg(reference).dir(dir))
    }

    fn export_arch(&self, arch: &str) -> [String; 2] {
        match self.dialect {
            Dialect::Platforms => ["--platform".to_owned(), format!("linux/{arch}")],
            dialect => [dialect.dash("arch"), arch.to_owned()],
        }
    }

    /// Removes what its builder keeps.
    pub fn prune(&self, output: &Output) -> Result<()> {
        self.command("pruning the builder".to_owned(), output)?.args(["pkg", "builder", "prune"]).run()
    }
}

const fn gerund(work: PackageWork) -> &'static str {
    match work {
        PackageWork::Build => "building",
        PackageWork::Push => "pushing",
        PackageWork::Manifest => "listing the architectures of",
    }
}

fn platforms(arches: &[Arch]) -> String {
    arches.iter().map(|arch| format!("linux/{arch}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_decides_how_options_are_spelled() {
        for (text, dialect) in [
            ("linuxkit version v1.0.1\ncommit: 5d6bd47", Dialect::Go),
            ("linuxkit version v1.2.0", Dialect::Gnu),
            ("linuxkit version v1.5.3", Dialect::Platforms),
            ("linuxkit version v1.8.2", Dialect::Platforms),
            ("linuxkit version unknown", Dialect::Go),
            ("", Dialect::Go),
        ] {
            assert_eq!(Dialect::of_version(text, Dialect::Go), dialect, "{text}");
        }
    }
}
