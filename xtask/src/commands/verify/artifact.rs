//! Builds an artifact again from its statement: in a clone of the commit that it names, without the image cache and the store, and compares
//! the bytes.

use crate::commands::{attest, diff};
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{Tool, cargo::Cargo, git::Git, itself::Itself};
use common::{Arch, digest::sha256_of, display, eprintln, error::usage};
use oci::Cache;
use plan::{Dist, Facts as _};
use provenance::{Resource, Statement};
use std::{path::Path, time::Instant};

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
    let asked = &statement.predicate.build_definition.external_parameters;
    if ctx.globals.dry_run {
        let knobs: Vec<String> = asked.knobs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        println!("would build in a clone of {commit}: cargo xtask {} {}", asked.target, knobs.join(" "));
        return Ok(());
    }
    let scratch = scratch(ctx)?;
    let rebuilt = Rebuild { ctx, statement: &statement, folder: scratch.path() }.run(commit, name)?;
    if sha256_of(&rebuilt)? == digest {
        let took = display::seconds(since.elapsed());
        println!("{}: the bytes that commit {commit} gives (built again in {took})", file.display());
        return Ok(());
    }
    if let Some(package) = first_other_package(&statement, &Cache::open(&cache_of(scratch.path()))?)? {
        println!("{package}: the first package that differs");
    }
    diff::show(ctx, file, &rebuilt);
    bail!("`{}` differs from what commit {commit} gives\nhint: who built it has other sources, or other programs", file.display())
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

fn cache_of(folder: &Path) -> std::path::PathBuf {
    folder.join("images")
}

/// A build in a clone.
struct Rebuild<'a> {
    ctx: &'a Ctx,
    statement: &'a Statement,
    folder: &'a Path,
}

impl Rebuild<'_> {
    /// Builds and returns the file `name` of the build's folder.
    fn run(&self, commit: &str, name: &str) -> Result<std::path::PathBuf> {
        let (ctx, asked) = (self.ctx, &self.statement.predicate.build_definition.external_parameters);
        let (arch, version) = (asked.knobs.get("ZARCH"), asked.knobs.get("ROOTFS_VERSION"));
        let (arch, version) = arch.zip(version).context("the statement names no ZARCH and ROOTFS_VERSION")?;
        let clone = self.folder.join("tree");
        std::fs::create_dir(&clone).with_context(|| format!("cannot create `{}`", clone.display()))?;
        let git = Git::new(ctx.tools.find(Tool::Git)?, ctx.tools.environment(), &ctx.environment, clone.clone());
        let root = ctx.root.to_str().context("the path of the tree is no UTF-8")?;
        git.fetch_commit(root, commit)?;
        let mut words = vec![asked.target.clone()];
        words.extend(asked.knobs.iter().filter(|(name, _)| *name != attest::CONFIGURATION).map(|(name, value)| format!("{name}={value}")));
        words.extend(self.configuration()?);
        words.extend(["STORE=off".to_owned(), "CACHE_MODE=off".to_owned()]);
        let cache = cache_of(self.folder);
        let cache = cache.to_str().context("the path of the tree is no UTF-8")?;
        let builder = self.statement.predicate.run_details.builder.version.get("xtask");
        if builder.map(String::as_str) == Some(native::code_digest()) {
            Itself::new(&ctx.tools, &clone)?.run(&words, [("LINUXKIT_CACHE", cache)])?;
        } else {
            eprintln!("note: another xtask built it, which is compiled first");
            let args: Vec<&str> = std::iter::once("xtask").chain(words.iter().map(String::as_str)).collect();
            Cargo::new(&ctx.tools, &clone)?.run(&args, &[("LINUXKIT_CACHE", cache.to_owned())])?;
        }
        let built = Dist::of(&clone).version(arch.parse::<Arch>().map_err(usage)?, version).path().join(name);
        if !built.is_file() {
            bail!("`{}` of the clone made no {name}", asked.target);
        }
        Ok(built)
    }

    /// The knob for the configuration folder: that of the clone, or the folder of this machine with the same content.
    fn configuration(&self) -> Result<Option<String>> {
        let definition = &self.statement.predicate.build_definition;
        let Some(folder) = definition.external_parameters.knobs.get(attest::CONFIGURATION) else { return Ok(None) };
        let known = definition.resolved_dependencies.iter().find(|material| material.name.as_deref() == Some(attest::CONFIGURATION));
        let here = self.ctx.root.join(folder);
        if !here.is_dir() {
            bail!("it was built with CONF_DIR={folder}, and `{}` is not here", here.display());
        }
        if known.and_then(Resource::sha256) != Some(&self.ctx.tree()?.folder_digest(&here)?) {
            bail!("it was built with CONF_DIR={folder}, whose files were others than those in `{}`", here.display());
        }
        Ok(Some(format!("CONF_DIR={}", here.display())))
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
