//! `get-alpine-pkg-source`: the sources of Alpine packages that are in an image: the folder of the package's build script at the
//! commit that it was built from, and all files that the script fetches, checked by the digests in it.

use super::{
    apkbuild,
    download::{Downloads, folder},
    installed::{self, Package},
};
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{Tool, curl, curl::Refusal, git::Git};
use clap::{Arg, ArgAction, ArgMatches, Command};
use common::error::usage;
use native::files::write_tree;
use sha2::{Digest as _, Sha512};
use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

/// The history of all build scripts.
const APORTS: &str = "https://git.alpinelinux.org/aports.git";
/// Where one file of it can be read.
const PLAIN: &str = "https://git.alpinelinux.org/aports/plain";
/// The parts of it, in the order in which they are looked through.
const REPOSITORIES: &[&str] = &["main", "community", "testing"];

/// Its arguments.
pub fn arguments(command: Command) -> Command {
    let option =
        |short: char, id: &'static str, value: &'static str, help: &'static str| Arg::new(id).short(short).value_name(value).help(help);
    command
        .arg(Arg::new("tell").short('v').action(ArgAction::SetTrue).help("tell what is done"))
        .arg(Arg::new("quiet").short('q').action(ArgAction::SetTrue).help("do not tell how much it is"))
        .arg(option('s', "out", "DIR", "put the sources into this new folder; a temporary one when unset"))
        .arg(option('u', "urls", "FILE", "add the build scripts' addresses and licenses to this file"))
        .arg(option('t', "tag", "IMAGE", "an image that holds /bits/rootfs.img").action(ArgAction::Append))
        .arg(option('e', "evedir", "DIR", "the folder of a root file system"))
        .arg(option('g', "gitdir", "DIR", "a copy of aports, instead of fetching it"))
        .arg(option('p', "prefix", "NAME", "put the sources into this folder in DIR"))
        .arg(Arg::new("version").value_name("VERSION").help("the same as -t lfedge/eve:VERSION"))
}

/// `get-alpine-pkg-source`: a line of the manifest for each package.
pub fn run(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let text = |name: &str| arguments.get_one::<String>(name).map(String::as_str);
    let mut tags: Vec<String> = arguments.get_many::<String>("tag").into_iter().flatten().cloned().collect();
    if let Some(version) = text("version") {
        tags = vec![format!("lfedge/eve:{version}")];
    }
    let gitdir = text("gitdir").map(Path::new);
    if let Some(gitdir) = gitdir.filter(|dir| !dir.is_dir()) {
        return Err(usage(format!("the folder `{}` does not exist", gitdir.display())));
    }
    let packages = match text("evedir") {
        Some(dir) => installed::in_folder(Path::new(dir))?,
        None if tags.is_empty() => return Err(usage("nothing says whose sources are wanted\nhint: -e DIR, -t IMAGE or a version")),
        None => installed::in_images(ctx, &tags)?,
    };
    let out = folder(text("out"), text("prefix"), ctx.globals.dry_run)?;
    let options = Options {
        gitdir,
        prefix: text("prefix"),
        urls: text("urls").map(PathBuf::from),
        tell: arguments.get_flag("tell"),
        quiet: arguments.get_flag("quiet"),
    };
    print!("{}", collect(ctx, &packages, &out, &options)?);
    Ok(())
}

/// What a person may choose.
#[derive(Default)]
pub struct Options<'o> {
    /// A copy of aports.
    pub gitdir: Option<&'o Path>,
    /// The folder for all.
    pub prefix: Option<&'o str>,
    /// The file for addresses and licenses.
    pub urls: Option<PathBuf>,
    /// Tell what is done.
    pub tell: bool,
    /// Do not tell how much it is.
    pub quiet: bool,
}

/// Collects the sources of `packages` below `top`; the lines of the manifest.
pub fn collect(ctx: &Ctx, packages: &[Package], top: &Path, options: &Options<'_>) -> Result<String> {
    if !options.quiet {
        eprintln!("found {} packages", packages.len());
    }
    let program = ctx.tools.find(Tool::Git)?;
    let temporary = tempfile::Builder::new().prefix("aports").tempdir().context("cannot make a temporary folder")?;
    if ctx.globals.dry_run {
        if options.gitdir.is_none() {
            println!("{}", Git::clone_command(&program, ctx.tools.environment(), APORTS, temporary.path()));
        }
        return Ok(String::new());
    }
    let git = match options.gitdir {
        Some(dir) => Git::new(program, ctx.tools.environment(), dir.to_owned()),
        None if packages.is_empty() => return Ok(String::new()),
        None if ctx.globals.offline => return Err(usage("the history of aports is on the network\nhint: -g DIR names a copy")),
        None => Git::clone_history(program, ctx.tools.environment(), APORTS, temporary.path())?,
    };
    let mut collector = Collector { ctx, git, top, options, bad: Vec::new(), spool: temporary.path().join("spool") };
    std::fs::create_dir_all(&collector.spool).context("cannot make a temporary folder")?;
    let mut manifest = String::new();
    for package in packages {
        if let Some(place) = collector.package(package)? {
            manifest.push_str(&format!("alpine,{}-{},{},{place}\n", package.name, package.version, package.commit));
        }
    }
    if !collector.bad.is_empty() {
        eprintln!("warning: {} files are missing or not what the build scripts say:", collector.bad.len());
        collector.bad.iter().for_each(|bad| eprintln!("  {bad}"));
    }
    Ok(manifest)
}

struct Collector<'c> {
    ctx: &'c Ctx,
    git: Git,
    top: &'c Path,
    options: &'c Options<'c>,
    bad: Vec<String>,
    spool: PathBuf,
}

impl Collector<'_> {
    /// Where the sources of one package are, below the top.
    fn package(&mut self, package: &Package) -> Result<Option<String>> {
        let Package { origin, version, commit, .. } = package;
        if commit.is_empty() {
            eprintln!("warning: {origin} does not say which commit it was built from, and is left out");
            return Ok(None);
        }
        package.check()?;
        let base = format!("{origin}-{version}.{commit}");
        let place = self.options.prefix.map_or_else(|| base.clone(), |prefix| format!("{prefix}/{base}"));
        let folder = self.top.join(&place);
        // Several packages come from one build script.
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
        if self.options.tell {
            eprintln!("{origin} at {commit}: {repository}, to {}", folder.display());
        }
        let archive = self.git.look(["archive", "--format=tar", &format!("{commit}:{repository}/{origin}")])?;
        let mut spool = filetree::Spool::new_in(&self.spool)?;
        let tree = filetree::entries_to_tree(filetree::read_tar_stream(archive.as_slice(), &mut spool)?)?;
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        write_tree(&tree, &folder)?;
        if let Some(urls) = &self.options.urls {
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

    /// Fetches what the build script names, and checks it.
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
        // A name with a digest that no source has: the script made it in a way that is not understood here.
        for (_, name) in sums.iter().filter(|(_, name)| !seen.contains(name)) {
            self.bad.push(format!("missing:{place}:{name}"));
        }
        if !received.is_empty() {
            write(&folder.join("sha512sums.received"), &received)?;
        }
        Ok(())
    }

    /// The digest of one source, or what is wrong with it.
    fn fetch_source(&mut self, folder: &Path, name: &str, url: &str, sums: &[(&str, &str)]) -> Result<Result<String, &'static str>> {
        let path = folder.join(name);
        if curl::fetches(url) {
            if let Err(error) = Downloads::new(self.ctx).fetch(url, &path) {
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
        let bytes = read(&path)?;
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

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
    std::io::BufReader::new(file).read_to_end(&mut bytes).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(bytes)
}
