//! Builds an artifact again from its statement: in a clone of the commit that it names, without the image cache and the store, and compares
//! the bytes.

use crate::commands::{attest, diff};
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{Tool, cargo::Cargo, git::Git, itself::Itself};
use common::{Arch, digest::sha256_of, display, eprintln, error::usage};
use oci::Cache;
use plan::Dist;
use provenance::{External, Resource, Statement};
use std::{
    path::{Component, Path, PathBuf},
    time::Instant,
};

/// Builds `file` again and compares. `key` is the public key that must have signed its statement.
pub(super) fn verify(ctx: &Ctx, file: &Path, key: Option<&Path>) -> Result<()> {
    let since = Instant::now();
    let statement = attest::statement_of(ctx, file, key)?;
    let digest = sha256_of(file)?;
    let about = statement.subject.iter().find(|subject| subject.sha256() == Some(&digest)).and_then(|subject| subject.name.as_deref());
    let Some(name) = about else {
        bail!(
            "`{}` is not what its statement describes: its SHA-256 is {digest}\nhint: it was changed, or built again; cargo xtask attest makes a statement about what is there now",
            file.display()
        );
    };
    let commit = statement.commit()?;
    if !ctx.git(&ctx.root)?.finds(["cat-file", "-e", &format!("{commit}^{{commit}}")])? {
        bail!("this repository has no commit {commit}, from which `{}` was built\nhint: git fetch", file.display());
    }
    let asked = asked(ctx, &statement)?;
    let name = inside(name)?;
    if ctx.globals.dry_run {
        println!("would build in a clone of {commit}: cargo xtask {}", asked.words());
        return Ok(());
    }
    let scratch = scratch(ctx)?;
    let rebuilt = Rebuild { ctx, statement: &statement, asked, folder: scratch.path() }.run(commit, name)?;
    if sha256_of(&rebuilt)? == digest {
        let took = display::seconds(since.elapsed());
        println!("{}: the bytes that commit {commit} gives for {} (built again in {took})", file.display(), asked.words());
        return Ok(());
    }
    if let Some(package) = first_other_package(&statement, &Cache::open(&cache_of(scratch.path()))?)? {
        println!("{package}: the first package that differs");
    }
    diff::show(ctx, file, &rebuilt);
    bail!("`{}` differs from what commit {commit} gives\nhint: who built it has other sources, or other programs", file.display())
}

/// What the statement says was asked for. It becomes a command line, so only a target that makes files and knobs that decide about bytes are
/// taken from it.
fn asked<'s>(ctx: &Ctx, statement: &'s Statement) -> Result<&'s External> {
    let asked = &statement.predicate.build_definition.external_parameters;
    if attest::goal(ctx, &asked.target)?.is_none() {
        bail!("the statement cannot be trusted: its target `{}` makes no artifact", asked.target);
    }
    // Somebody else's words must not sign anything with the keys of this machine.
    if asked.knobs.contains_key("SIGN") {
        bail!(
            "the statement cannot be trusted: its `SIGN` would sign with a key of this machine, and only who signed can build that again"
        );
    }
    match asked.knobs.keys().find(|name| !knobs::decides_bytes(name)) {
        Some(name) => bail!("the statement cannot be trusted: its `{name}` decides about no artifact's bytes"),
        None => Ok(asked),
    }
}

/// `name`, if it is a path below the folder of a build.
fn inside(name: &str) -> Result<&Path> {
    let path = Path::new(name);
    if name.is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
        bail!("the statement cannot be trusted: its subject `{name}` is no path below dist/<arch>/<version>");
    }
    Ok(path)
}

/// A folder for a clone and its caches, removed when it is dropped.
fn scratch(ctx: &Ctx) -> Result<tempfile::TempDir> {
    let spool = ctx.dist().spool();
    std::fs::create_dir_all(&spool).with_context(|| format!("cannot create `{}`", spool.display()))?;
    tempfile::Builder::new()
        .prefix("verify-")
        .tempdir_in(&spool)
        .with_context(|| format!("cannot create a folder in `{}`", spool.display()))
}

fn cache_of(folder: &Path) -> PathBuf {
    folder.join("images")
}

/// A build in a clone.
struct Rebuild<'a> {
    ctx: &'a Ctx,
    statement: &'a Statement,
    asked: &'a External,
    folder: &'a Path,
}

impl Rebuild<'_> {
    /// Builds and returns the file `name` of the build's folder.
    fn run(&self, commit: &str, name: &Path) -> Result<PathBuf> {
        let (ctx, asked) = (self.ctx, self.asked);
        let (arch, version) = (asked.knobs.get("ZARCH"), asked.knobs.get("ROOTFS_VERSION"));
        let (arch, version) = arch.zip(version).context("the statement names no ZARCH and ROOTFS_VERSION")?;
        let arch: Arch = arch.parse().map_err(usage)?;
        inside(version)?;
        let clone = self.folder.join("tree");
        std::fs::create_dir(&clone).with_context(|| format!("cannot create `{}`", clone.display()))?;
        let git = Git::new(ctx.tools.find(Tool::Git)?, ctx.tools.environment(), &ctx.environment, clone.clone());
        let root = ctx.root.to_str().context("the path of the tree is no UTF-8")?;
        git.fetch_commit(root, commit)?;
        let mut words = vec![asked.target.clone()];
        for (knob, value) in &asked.knobs {
            words.push(format!("{knob}={}", self.value(knob, value)?));
        }
        self.compare_configuration(&clone)?;
        words.extend(["STORE=off".to_owned(), "CACHE_MODE=off".to_owned()]);
        let cache = cache_of(self.folder);
        let cache = cache.to_str().context("the path of the tree is no UTF-8")?;
        let builder = self.statement.predicate.run_details.builder.version.get("xtask");
        if builder.map(String::as_str) == Some(native::code_digest()) {
            eprintln!("building in a clone, {}", clone.display());
            Itself::new(&ctx.tools, &clone)?.run(&words, [("LINUXKIT_CACHE", cache)])?;
        } else {
            eprintln!("note: another xtask built it, which is compiled first");
            let args: Vec<&str> = std::iter::once("xtask").chain(words.iter().map(String::as_str)).collect();
            Cargo::new(&ctx.tools, &clone)?.run(&args, &[("LINUXKIT_CACHE", cache.to_owned())])?;
        }
        let built = Dist::of(&clone).version(arch, version).path().join(name);
        let real = |path: &Path| path.canonicalize().with_context(|| format!("cannot find `{}`", path.display()));
        if !built.is_file() || !real(&built)?.starts_with(real(&clone)?) {
            bail!("`{}` of the clone made no {}", asked.target, name.display());
        }
        Ok(built)
    }

    /// The value of a knob in the clone. A file or folder from outside of the commit is that of this machine, if its content is the one that
    /// the statement names.
    fn value(&self, knob: &str, value: &str) -> Result<String> {
        if !attest::PATHS.contains(&knob) {
            return Ok(value.to_owned());
        }
        let here = self.ctx.root.join(value);
        if !here.exists() {
            bail!("it was built with {knob}={value}, and `{}` is not here", here.display());
        }
        if self.digest_of(knob) != Some(attest::digest(&here)?.as_str()) {
            bail!("it was built with {knob}={value}, whose content was another than that of `{}`", here.display());
        }
        Ok(here.display().to_string())
    }

    /// Fails if the commit's configuration, which the build took, is not the one that the statement names.
    fn compare_configuration(&self, clone: &Path) -> Result<()> {
        let Some(digest) = self.digest_of(attest::CONF_DIR) else { return Ok(()) };
        if self.asked.knobs.contains_key(attest::CONF_DIR) || attest::digest(&clone.join("conf"))? == digest {
            return Ok(());
        }
        bail!("it was built with other files in conf/ than those of the commit")
    }

    /// The SHA-256 of one of the materials.
    fn digest_of(&self, name: &str) -> Option<&str> {
        let materials = &self.statement.predicate.build_definition.resolved_dependencies;
        materials.iter().find(|material| material.name.as_deref() == Some(name)).and_then(Resource::sha256)
    }
}

/// The first package of the statement whose layers are others than those in `cache`.
fn first_other_package(statement: &Statement, cache: &Cache) -> Result<Option<String>> {
    for material in &statement.predicate.build_definition.resolved_dependencies {
        let (Some(name), Some(layers)) = (material.name.as_deref(), material.layers()) else { continue };
        let Some((reference, arch)) = name.rsplit_once('-') else { continue };
        let Some(image) = cache.find(reference, arch)? else { continue };
        if image.layers.iter().map(oci::Layer::diff_id).ne(layers) {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}
