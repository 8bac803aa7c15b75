//! linuxkit: builds packages and root file systems, and lists and exports its cache. The syntax of its options changed twice: until 2022
//! Go's (`-arch`), then GNU's (`--arch`); since 1.5.3 `cache export` takes a platform instead of an architecture.

use super::{Cmd, Output, Tool, Tools};
use anyhow::Result;
use common::{Arch, PackageWork};
use std::path::{Path, PathBuf};

/// The syntax of linuxkit's options, which depends on its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Go's: one dash.
    Go,
    /// GNU's: two dashes.
    Gnu,
    /// Two dashes, and `cache export --platform`.
    Platforms,
}

impl Dialect {
    /// Parses the output of `linuxkit version`. A build from source may print no number; then it is `pinned`, the dialect of the tree's pin.
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

    /// Parses `options` of a tree's pin of linuxkit.
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

/// The variable that names the folder of linuxkit's cache.
const CACHE: &str = "LINUXKIT_CACHE";

/// Runs linuxkit with one set of settings.
#[derive(Clone)]
pub struct Linuxkit {
    tools: Tools,
    dialect: Dialect,
    settings: Settings,
}

/// Settings of every call of linuxkit.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The dialect of the tree's pin, for a linuxkit that prints no version number.
    pub pinned: Dialect,
    /// How BuildKit shows a build's progress.
    pub progress: String,
    /// The architecture of the image.
    pub arch: Arch,
    /// Whether linuxkit prints what it does.
    pub verbose: bool,
    /// Registry and organization instead of those in build.yml.
    pub organization: Option<String>,
    /// Variables that linuxkit reads: mirrors, its builder.
    pub variables: Vec<(&'static str, String)>,
    /// Remote builders: `PLATFORM=CONTEXT[,PLATFORM=CONTEXT…]`.
    pub builders: Option<String>,
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
    /// A tag that replaces linuxkit's own.
    pub hash: Option<&'c str>,
    /// The release's tag, a second tag of a pushed image.
    pub release: Option<&'c str>,
    /// Options that replace `hash` and `release`, unless empty.
    pub options: &'c [String],
    /// Files with build arguments.
    pub build_args: &'c [PathBuf],
    /// Build although the image exists.
    pub force: bool,
    /// Load the image into docker too.
    pub docker_load: bool,
    /// The architectures to build for.
    pub platforms: &'c [Arch],
}

/// A call of `linuxkit pkg` for an image that is made of artifacts: that of all of them, or that of the collected sources.
#[derive(Clone, Copy, Debug)]
pub struct EveCall<'c> {
    /// What it is called in messages.
    pub name: &'c str,
    /// The folder with the Dockerfile and all artifacts.
    pub context: &'c Path,
    /// `build`, `push` or `manifest`.
    pub work: PackageWork,
    /// The image's tag.
    pub tag: &'c str,
    /// The release's tag, a second tag of a pushed image.
    pub release: Option<&'c str>,
    /// The architecture.
    pub arch: Arch,
    /// Build although the image exists.
    pub force: bool,
}

impl Linuxkit {
    /// Runs `linuxkit version`, which determines the dialect.
    #[must_use]
    pub fn new(tools: &Tools, settings: Settings) -> Self {
        let text = tools.cmd(Tool::Linuxkit).and_then(|cmd| cmd.arg("version").stdout()).unwrap_or_default();
        Self { tools: tools.clone(), dialect: Dialect::of_version(&text, settings.pinned), settings }
    }

    /// The dialect of this machine's linuxkit.
    pub(super) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Whether it reads images with uncompressed layers, which it does since 1.3.
    #[must_use]
    pub fn reads_plain_layers(&self) -> bool {
        self.dialect == Dialect::Platforms
    }

    /// The command that exports an image of the cache to the file `out`, under another `name` if given.
    pub fn export_command(&self, image: &str, name: Option<&str>, out: &Path) -> Result<Cmd> {
        let cmd = self.command(format!("exporting {image}"), &Output::default())?.args(self.verbosity()).args(["cache", "export"]);
        // Without a format it writes an OCI layout, which docker cannot load before its version 25.
        let cmd = if self.dialect == Dialect::Platforms { cmd.args(["--format", "docker"]) } else { cmd };
        let cmd = cmd.args(self.export_arch(self.settings.arch.as_str())).arg(self.dialect.dash("outfile")).arg(out);
        let cmd = name.into_iter().fold(cmd, |cmd, name| cmd.arg(self.dialect.dash("name")).arg(name));
        Ok(cmd.arg(image))
    }

    /// The output of `linuxkit cache ls`, of both streams: versions differ.
    pub fn list_cache(&self) -> Result<String> {
        let (lines, ended) = self.command("listing the cache".to_owned(), &Output::default())?.args(["cache", "ls"]).lines();
        ended?;
        Ok(lines.into_iter().map(|line| line + "\n").collect())
    }

    fn command(&self, step: String, output: &Output) -> Result<Cmd> {
        Ok(self.complete(self.tools.cmd(Tool::Linuxkit)?, step, output))
    }

    /// A command even if linuxkit is missing: `--dry-run` prints it.
    pub(super) fn command_unchecked(&self, step: String, output: &Output) -> Cmd {
        self.complete(self.tools.cmd_unchecked(Tool::Linuxkit), step, output)
    }

    fn complete(&self, cmd: Cmd, step: String, output: &Output) -> Cmd {
        let cmd = cmd.step(step).output(output).env("BUILDKIT_PROGRESS", &self.settings.progress);
        let cmd = cmd.env("CGO_ENABLED", "1").env("GOOS", "linux").env("ZARCH", self.settings.arch.as_str());
        self.settings.variables.iter().fold(cmd, |cmd, (name, value)| cmd.env(name, value))
    }

    /// Builds, pushes or lists a package of the tree at `root`, with images in `cache`.
    pub fn package(&self, call: &PackageCall<'_>, root: &Path, cache: &Path, output: &Output) -> Result<()> {
        let mut words: Vec<String> = self.pkg(call.work);
        if call.options.is_empty() {
            words.extend(call.hash.iter().flat_map(|hash| ["--hash", hash]).map(str::to_owned));
            words.extend(call.release.iter().flat_map(|release| ["--release", release]).map(str::to_owned));
        } else {
            words.extend(call.options.iter().cloned());
        }
        if call.work != PackageWork::Manifest {
            let option = self.dialect.dash("build-arg-file");
            words.extend(call.build_args.iter().flat_map(|file| [option.clone(), file.display().to_string()]));
            words.extend(call.force.then(|| "--force".to_owned()));
            words.extend(call.docker_load.then(|| "--docker".to_owned()));
            words.extend(["--platforms".to_owned(), platforms(call.platforms)]);
            words.extend(self.settings.builders.iter().flat_map(|builders| ["--builders".to_owned(), builders.clone()]));
        }
        words.extend([self.dialect.dash("build-yml"), call.build_yml.to_owned()]);
        let dir = call.dir.strip_prefix(root).unwrap_or(call.dir);
        let step = format!("{} pkg/{}", gerund(call.work), call.name);
        self.command(step, output)?.env(CACHE, cache).args(words).arg(dir).dir(root).run()
    }

    /// Puts the image of a package into `cache`: fetches it if the registry has it, otherwise builds it.
    pub fn fetch_package(&self, dir: &Path, arch: Arch, root: &Path, cache: &Path, output: &Output) -> Result<()> {
        let dir = dir.strip_prefix(root).unwrap_or(dir);
        let cmd = self.command(format!("fetching or building {}", dir.display()), output)?;
        let words = ["--pull".to_owned(), "--platforms".to_owned(), platforms(&[arch])];
        cmd.env(CACHE, cache).args(["pkg", "build"]).args(self.organization()).args(words).arg(dir).dir(root).run()
    }

    /// The first arguments of a call of `linuxkit pkg`.
    fn pkg(&self, work: PackageWork) -> Vec<String> {
        let verbosity = self.verbosity().iter().map(|word| (*word).to_owned());
        verbosity.chain(["pkg".to_owned(), work.to_string()]).chain(self.organization()).collect()
    }

    /// The option for more output: a switch, and since 1.5.3 a number.
    const fn verbosity(&self) -> &'static [&'static str] {
        match (self.settings.verbose, self.dialect) {
            (false, _) => &[],
            (true, Dialect::Platforms) => &["-v", "2"],
            (true, _) => &["-v"],
        }
    }

    /// The option for another organization. An old linuxkit does not read its variable.
    fn organization(&self) -> impl Iterator<Item = String> + use<'_> {
        self.settings.organization.iter().flat_map(|org| ["--org".to_owned(), org.clone()])
    }

    /// Builds or pushes an image that is made of artifacts.
    pub fn eve(&self, call: &EveCall<'_>, root: &Path, output: &Output) -> Result<()> {
        let mut words = self.pkg(call.work);
        words.extend(["--platforms".to_owned(), platforms(&[call.arch]), "--hash-path".to_owned(), root.display().to_string()]);
        words.extend(["--hash", call.tag, "--docker"].map(str::to_owned));
        words.extend(call.release.iter().flat_map(|release| ["--release", release]).map(str::to_owned));
        words.extend(call.force.then(|| "--force".to_owned()));
        self.command(format!("{} {} as {}", gerund(call.work), call.name, call.tag), output)?.args(words).arg(call.context).dir(root).run()
    }

    /// Composes `yml` into the tar `out`. linuxkit runs in `dir` and gets a relative path of `yml` if possible; it reuses files of the tar `old`.
    pub fn build(&self, yml: &Path, arch: Arch, dir: &Path, old: Option<&Path>, out: &Path, output: &Output) -> Result<()> {
        let words = ["build".to_owned(), self.dialect.dash("docker"), self.dialect.dash("arch"), arch.to_string()];
        let name = yml.strip_prefix(dir).unwrap_or(yml);
        // linuxkit has no short option `-o` in GNU syntax: the option's long name is `o`.
        let out_option = if self.dialect == Dialect::Go { "-o" } else { "--o" };
        let cmd = self.command(format!("composing {}", name.display()), output)?.args(words).arg(out_option).arg(out);
        let cmd = old.into_iter().fold(cmd, |cmd, old| cmd.arg(self.dialect.dash("input-tar")).arg(old));
        cmd.arg(name).dir(dir).run()
    }

    /// The command that writes the files of an image of the cache to standard output, as a tar.
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

    /// Removes the cache of linuxkit's builder.
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
