//! `get-alpine-pkg-source`: collects the sources of an image's Alpine packages. For each package these are the folder of its build
//! script at the commit of the package, and all files that the script fetches, checked against the digests in the script.

use super::{
    apkbuild,
    download::{fetch, make_folder},
    installed::{self, Package},
};
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{Tool, curl, curl::Refusal, git::Git};
use common::error::usage;
use native::files::write_tree;
use sha2::{Digest as _, Sha512};
use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

/// aports, the git repository of all build scripts.
const APORTS: &str = "https://git.alpinelinux.org/aports.git";
/// The address of a single file of that repository.
const PLAIN: &str = "https://git.alpinelinux.org/aports/plain";
/// Its folders of packages, in search order.
const REPOSITORIES: &[&str] = &["main", "community", "testing"];

/// The root file systems whose packages to collect.
pub enum Installed {
    /// One in a folder.
    InFolder(PathBuf),
    /// Those in /bits/rootfs.img of docker images.
    InImages(Vec<String>),
}

/// How to fetch the sources.
#[derive(Default)]
pub struct Fetching {
    /// A clone of aports; if none, makes one.
    pub aports: Option<PathBuf>,
    /// The name of a folder in the output folder, for the sources.
    pub prefix: Option<String>,
    /// A file to which to append the build scripts' addresses and licenses.
    pub urls: Option<PathBuf>,
    /// Print each package while it is collected.
    pub tell: bool,
    /// Do not print the number of packages.
    pub quiet: bool,
}

/// Collects the sources into the new folder `out` (default: a temporary one), and prints a line of the manifest for each package.
pub fn collect_alpine_sources(ctx: &Ctx, installed: &Installed, out: Option<&Path>, fetching: &Fetching) -> Result<()> {
    if let Some(aports) = fetching.aports.as_deref().filter(|dir| !dir.is_dir()) {
        return Err(usage(format!("the folder `{}` does not exist", aports.display())));
    }
    let packages = match installed {
        Installed::InFolder(folder) => installed::in_folder(folder)?,
        Installed::InImages(images) => installed::in_images(ctx, images)?,
    };
    let top = make_folder(out, fetching.prefix.as_deref(), ctx.globals.dry_run)?;
    print!("{}", collect(ctx, &packages, &top, fetching)?);
    Ok(())
}

/// Collects the sources of `packages` below `top`, and returns the lines of the manifest.
pub(super) fn collect(ctx: &Ctx, packages: &[Package], top: &Path, fetching: &Fetching) -> Result<String> {
    if !fetching.quiet {
        eprintln!("found {} packages", packages.len());
    }
    let program = ctx.tools.find(Tool::Git)?;
    let temporary = tempfile::Builder::new().prefix("aports").tempdir().context("cannot make a temporary folder")?;
    if ctx.globals.dry_run {
        if fetching.aports.is_none() {
            println!("{}", Git::clone_command(&program, ctx.tools.environment(), &ctx.environment, APORTS, temporary.path()));
        }
        return Ok(String::new());
    }
    let git = match &fetching.aports {
        Some(dir) => Git::new(program, ctx.tools.environment(), &ctx.environment, dir.clone()),
        None if packages.is_empty() => return Ok(String::new()),
        None if ctx.globals.offline => return Err(usage("--offline forbids to clone aports\nhint: -g DIR names a clone")),
        None => Git::clone_history(program, ctx.tools.environment(), &ctx.environment, APORTS, temporary.path())?,
    };
    let mut collector = Collector { ctx, git, top, fetching, bad: Vec::new(), spool: temporary.path().join("spool") };
    std::fs::create_dir_all(&collector.spool).context("cannot make a temporary folder")?;
    let mut manifest = String::new();
    for package in packages {
        if let Some(place) = collector.package(package)? {
            manifest.push_str(&format!("alpine,{}-{},{},{place}\n", package.name, package.version, package.commit));
        }
    }
    if !collector.bad.is_empty() {
        eprintln!("warning: {} files are missing or differ from the build scripts' digests:", collector.bad.len());
        collector.bad.iter().for_each(|bad| eprintln!("  {bad}"));
    }
    Ok(manifest)
}

struct Collector<'c> {
    ctx: &'c Ctx,
    git: Git,
    top: &'c Path,
    fetching: &'c Fetching,
    bad: Vec<String>,
    spool: PathBuf,
}

impl Collector<'_> {
    /// Collects one package and returns its folder below the output folder; none for a package of unknown commit.
    fn package(&mut self, package: &Package) -> Result<Option<String>> {
        let Package { origin, version, commit, .. } = package;
        if commit.is_empty() {
            eprintln!("warning: {origin} is left out: the commit of its build script is unknown");
            return Ok(None);
        }
        package.check()?;
        let base = format!("{origin}-{version}.{commit}");
        let place = self.fetching.prefix.as_ref().map_or_else(|| base.clone(), |prefix| format!("{prefix}/{base}"));
        let folder = self.top.join(&place);
        // One build script may make several packages, so its folder may already exist.
        if folder.is_dir() {
            return Ok(Some(place));
        }
        let mut found = None;
        for repository in REPOSITORIES {
            if self.git.finds(["cat-file", "-e", &format!("{commit}:{repository}/{origin}/APKBUILD")])? {
                found = Some(*repository);
                break;
            }
        }
        let Some(repository) = found else { bail!("aports has no build script of {origin} at commit {commit}") };
        if self.fetching.tell {
            eprintln!("{origin} at {commit}: {repository}, to {}", folder.display());
        }
        let archive = self.git.look(["archive", "--format=tar", &format!("{commit}:{repository}/{origin}")])?;
        let mut spool = filetree::Spool::new_in(&self.spool)?;
        let tree = filetree::entries_to_tree(filetree::read_tar_stream(archive.as_slice(), &mut spool)?)?;
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        write_tree(&tree, &folder)?;
        if let Some(urls) = &self.fetching.urls {
            let line = format!("{origin} {PLAIN}/{repository}/{origin}/APKBUILD?id={commit} {}\n", package.license);
            let mut file = std::fs::File::options()
                .append(true)
                .create(true)
                .open(urls)
                .with_context(|| format!("cannot write `{}`", urls.display()))?;
            file.write_all(line.as_bytes()).with_context(|| format!("cannot write `{}`", urls.display()))?;
        }
        self.fetch_sources(&folder, &place)?;
        Ok(Some(place))
    }

    /// Fetches the sources that the build script names, and checks them.
    fn fetch_sources(&mut self, folder: &Path, place: &str) -> Result<()> {
        let script = std::fs::read(folder.join("APKBUILD")).with_context(|| format!("cannot read `{}/APKBUILD`", folder.display()))?;
        let variables = apkbuild::variables(&String::from_utf8_lossy(&script));
        let text = |name: &str| variables.get(name).map_or("", String::as_str);
        let sums: Vec<(&str, &str)> = text("sha512sums")
            .lines()
            .filter_map(|line| line.trim().split_once(char::is_whitespace))
            .map(|(sum, name)| (sum, name.trim()))
            .collect();
        if !sums.is_empty() {
            write(&folder.join("sha512sums.APKBUILD"), text("sha512sums").trim_start())?;
        }
        let mut received = String::new();
        let mut seen = Vec::new();
        for source in text("source").split_whitespace() {
            let (name, url) = source.split_once("::").unwrap_or_else(|| (source.rsplit('/').next().unwrap_or(source), source));
            if name.is_empty() || name.contains('/') || name.starts_with('.') {
                self.bad.push(format!("unsafe-name:{place}:{name}"));
                continue;
            }
            seen.push(name);
            match self.fetch_source(folder, name, url, &sums)? {
                Ok(sum) => received.push_str(&format!("{sum} {name}\n")),
                Err(what) => self.bad.push(format!("{what}:{place}:{name}")),
            }
        }
        // A digest without a source: `apkbuild` did not understand how the script names that source.
        for (_, name) in sums.iter().filter(|(_, name)| !seen.contains(name)) {
            self.bad.push(format!("missing:{place}:{name}"));
        }
        if !received.is_empty() {
            write(&folder.join("sha512sums.received"), &received)?;
        }
        Ok(())
    }

    /// Fetches one source. The inner result is its digest, or the word for its fault.
    fn fetch_source(&mut self, folder: &Path, name: &str, url: &str, sums: &[(&str, &str)]) -> Result<Result<String, &'static str>> {
        let path = folder.join(name);
        if curl::fetches(url) {
            if let Err(error) = fetch(self.ctx, url, &path) {
                if error.chain().all(|cause| !cause.is::<child::Failure>()) {
                    return Err(error);
                }
                eprintln!("warning: cannot fetch {url}");
                return Ok(Err(match curl::refusal(&error) {
                    Refusal::NotFound => "404-not-found",
                    Refusal::TooManyRequests => "too-many-requests",
                    Refusal::Other => "missing",
                }));
            }
        } else if !path.is_file() {
            return Ok(Err("missing"));
        }
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let sum = common::digest::hex(&Sha512::digest(&bytes));
        match sums.iter().find(|(_, known)| *known == name) {
            Some((wanted, _)) if *wanted == sum => Ok(Ok(sum)),
            None if sums.is_empty() => Ok(Ok(sum)),
            _ if bytes.trim_ascii_start().to_ascii_lowercase().starts_with(b"<!doctype html") => {
                std::fs::remove_file(&path).with_context(|| format!("cannot remove `{}`", path.display()))?;
                Ok(Err("bad-content"))
            }
            _ => Ok(Err("mismatched-sha512")),
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}
