//! `attest [TARGET]`: builds a target and writes, beside each of its artifacts, a statement from what it was made: `FILE.intoto.json`, or
//! with a key the signed `FILE.intoto.jsonl`. `verify FILE` builds the artifact again from its statement.

use super::{
    build,
    published::{self, SIGNED, STATEMENT, beside},
};
use anyhow::{Context as _, Result, bail};
use checkout::{Checkout, context::Ctx};
use child::openssl;
use common::{artifact::write_to_disk, digest::sha256_of, display::short, eprintln, error::usage};
use oci::Cache;
use plan::{EngineKind, Goal, NodeId, Plan};
use provenance::{Build, Envelope, External, Resource, Statement, signed_bytes};
use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// The target and who speaks.
#[derive(clap::Args)]
pub struct Attest {
    /// live, live-gcp and its like, installer-raw and its like, rootfs, config, sbom or eve
    #[arg(value_name = "TARGET", default_value = "live")]
    target: String,
    /// sign with this private key (PEM, EC or RSA)
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    /// who builds, for readers of the statement
    #[arg(long, value_name = "URI", default_value = "urn:eve-xtask")]
    builder: String,
    /// also send the artifacts to the registry CACHE, each with its statement as a referrer
    #[arg(long)]
    push: bool,
}

/// `attest`.
pub fn run(ctx: &Ctx, args: Attest) -> Result<()> {
    if ctx.engine != EngineKind::Native {
        return Err(usage(
            "docker's builds of a package differ each time, so no statement would lead to the same bytes\nhint: --engine native",
        ));
    }
    if ctx.knobs.image.sign {
        return Err(usage(
            "SIGN=y: only who has db's private key could build this again, so nobody else could check the statement\nhint: attest what is built without SIGN",
        ));
    }
    let registry = if args.push { Some(published::registry(ctx, "attest --push")?) } else { None };
    let tree = ctx.tree()?;
    let commit = tree.commit_if_clean().ok_or_else(|| {
        usage("tracked files have changed, so no commit describes what would be built\nhint: git commit, or git worktree add DIR HEAD")
    })?;
    let no_file =
        || usage(format!("`{}` makes no file that a statement could be about\nhint: live, rootfs, installer-raw, eve, …", args.target));
    let goal = goal(ctx, &args.target)?.ok_or_else(no_file)?;
    if ctx.environment.source_date_epoch()?.is_some() {
        return Err(usage("SOURCE_DATE_EPOCH is set, and no statement could say so\nhint: unset it; the time of the commit is taken"));
    }
    let plan = build::plan(ctx, &tree, &goal)?;
    let folder = ctx.layout(&tree).path().to_owned();
    if artifacts(&plan, &folder).next().is_none() {
        return Err(no_file());
    }
    check_committed(ctx, &tree, &plan)?;
    build::build_with(ctx, &tree, &goal, false)?;
    if ctx.globals.dry_run {
        return Ok(());
    }
    if ctx.tree()?.commit_if_clean().as_ref() != Some(&commit) {
        bail!("the tree was changed while it was built, so no statement is written\nhint: the same again");
    }
    let asked = External { target: args.target.clone(), knobs: knobs(ctx, &tree) };
    let materials = materials(ctx, &plan)?;
    for file in artifacts(&plan, &folder).filter(|file| file.is_file()) {
        let name = file.strip_prefix(&folder).unwrap_or(file).display().to_string();
        let statement = Statement::about(Build {
            artifacts: vec![(name, sha256_of(file)?)],
            asked: asked.clone(),
            commit: commit.clone(),
            materials: materials.clone(),
            builder: args.builder.clone(),
            versions: BTreeMap::from([("xtask".to_owned(), native::code_digest().to_owned())]),
        });
        let written = write(ctx, file, &statement, args.sign_key.as_deref())?;
        println!("made: {}", short(&written, &ctx.root));
        if let Some(registry) = &registry {
            let version = format!("{}-{}-{}", tree.version(), ctx.knobs.image.hv, ctx.knobs.image.arch);
            published::send(registry, file, &written, &version)?;
        }
    }
    Ok(())
}

/// The files that the goals of a plan make in `folder`, that of the version.
fn artifacts<'p>(plan: &'p Plan, folder: &'p Path) -> impl Iterator<Item = &'p PathBuf> {
    let goals = plan.goals.iter().filter(|id| !matches!(id, NodeId::Current | NodeId::LiveImg | NodeId::Firmware));
    goals.filter_map(|id| plan.node(id)).flat_map(|node| &node.outputs).filter(move |path| path.starts_with(folder))
}

/// Refuses what a clone of the commit would lack, though no tracked file has changed: new files of packages and of the configuration.
pub(super) fn check_committed(ctx: &Ctx, tree: &Checkout, plan: &Plan) -> Result<()> {
    if let Some(package) = plan.nodes.iter().filter_map(|node| node.step.package()).find(|package| package.is_dirty) {
        return Err(usage(format!(
            "pkg/{} has files that no commit has, so no commit describes what would be built\nhint: git add {} && git commit",
            package.name,
            short(&package.dir, &ctx.root)
        )));
    }
    let is_own = plan.node(&NodeId::ConfigImg).is_some() && !knobs(ctx, tree).contains_key(CONF_DIR);
    let new = if is_own { tree.first_uncommitted(&ctx.knobs.image.conf_dir)? } else { None };
    new.map_or(Ok(()), |file| {
        Err(usage(format!(
            "no commit has `{}`, a file of the configuration, so no commit describes what would be built\nhint: commit or remove it, or name the folder: CONF_DIR={}",
            short(&file, &ctx.root),
            short(&ctx.knobs.image.conf_dir, &ctx.root)
        )))
    })
}

/// The knobs that decide about bytes and are not at their defaults, and those without which nobody can build the same: the version, whose
/// default names the branch, the architecture, whose default is the machine's, and the hypervisor.
fn knobs(ctx: &Ctx, tree: &Checkout) -> BTreeMap<String, String> {
    let origins = ctx.knobs.origins.iter().filter(|origin| knobs::decides_bytes(&origin.name) && !origin.value.is_empty());
    let set = origins.filter(|origin| origin.source != knobs::Source::Default);
    let mut all: BTreeMap<String, String> = set.map(|origin| (origin.name.clone(), origin.value.clone())).collect();
    all.insert("ROOTFS_VERSION".to_owned(), tree.version().to_owned());
    all.insert("ZARCH".to_owned(), ctx.knobs.image.arch.as_str().to_owned());
    all.insert("HV".to_owned(), ctx.knobs.image.hv.clone());
    all
}

/// The goal of a target that makes files.
pub(super) fn goal(ctx: &Ctx, target: &str) -> Result<Option<Goal>> {
    let goal = build::goal_of(ctx, target)?;
    Ok(goal.filter(|goal| !matches!(goal, Goal::Packages(..) | Goal::PackagesAlone(..) | Goal::AllPackages(..))))
}

/// What went in besides the commit: the images of packages, and what the knobs name outside of the commit.
fn materials(ctx: &Ctx, plan: &Plan) -> Result<Vec<Resource>> {
    let cache = Cache::open(&ctx.environment.linuxkit_cache())?;
    let mut all = Vec::new();
    for package in plan.nodes.iter().filter_map(|node| node.step.package()) {
        let image = cache.find(&package.image.reference, package.image.arch.as_str())?;
        let image = image.with_context(|| format!("{} is not in the image cache", package.image))?;
        let layers: Vec<String> = image.layers.iter().map(|layer| layer.diff_id().to_owned()).collect();
        all.push(Resource::image(&package.image.to_string(), &image.digest, &layers));
    }
    let image = &ctx.knobs.image;
    if plan.node(&NodeId::ConfigImg).is_some() {
        all.push(Resource::of(CONF_DIR, &digest(&image.conf_dir)?));
    }
    for (name, file) in [(ACRN_BIN, &image.acrn_bin), (KERNEL_IMAGE, &image.kernel_image)] {
        if let Some(file) = file {
            all.push(Resource::of(name, &digest(&ctx.root.join(file))?));
        }
    }
    Ok(all)
}

/// The knobs that name files or folders which decide about bytes; each is a material of its own.
pub(super) const PATHS: &[&str] = &[CONF_DIR, ACRN_BIN, KERNEL_IMAGE];
pub(super) const CONF_DIR: &str = "CONF_DIR";
const ACRN_BIN: &str = "ACRN_BIN";
const KERNEL_IMAGE: &str = "KERNEL_IMAGE";

/// The digest of a file, or of a folder's names and contents, in hexadecimal.
pub(super) fn digest(path: &Path) -> Result<String> {
    if path.is_dir() {
        checkout::folder_digest(path).map(|digest| digest.trim_start_matches("sha256:").to_owned())
    } else {
        sha256_of(path)
    }
}

fn write(ctx: &Ctx, file: &Path, statement: &Statement, key: Option<&Path>) -> Result<PathBuf> {
    let json = statement.to_json()?;
    let (path, other, text) = match key {
        None => (beside(file, STATEMENT), beside(file, SIGNED), json),
        Some(key) => {
            let signature = openssl::sign(&ctx.tools, key, &signed_bytes(json.as_bytes()))?;
            let envelope = Envelope::new(json.as_bytes(), &openssl::key_id(&ctx.tools, key)?, &signature);
            (beside(file, SIGNED), beside(file, STATEMENT), envelope.to_json()?)
        }
    };
    write_to_disk(&path, text.as_bytes())?;
    // A statement of an earlier build, in the other form, would be about other bytes.
    match std::fs::remove_file(&other) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(|| format!("cannot remove `{}`", other.display())),
        _ => Ok(path),
    }
}

/// Whether `file` has a statement beside it.
pub(super) fn is_artifact(file: &Path) -> bool {
    [STATEMENT, SIGNED].iter().any(|ending| beside(file, ending).is_file())
}

/// The statement beside `file`. With a public key, one that its owner signed.
pub(super) fn statement_of(ctx: &Ctx, file: &Path, key: Option<&Path>) -> Result<Statement> {
    let signed = beside(file, SIGNED);
    let path = if signed.is_file() { signed } else { beside(file, STATEMENT) };
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let read = || -> Result<Statement> {
        if path.extension().is_none_or(|ending| ending != "jsonl") {
            return match key {
                Some(_) => Err(usage("it is not signed\nhint: cargo xtask attest TARGET --sign-key KEY.pem, by who built it")),
                None => Statement::parse(&bytes),
            };
        }
        let envelope = Envelope::parse(&bytes)?;
        let payload = envelope.payload()?;
        match key {
            None => eprintln!("note: nobody has checked the signature of `{}`\nhint: --key PUBLIC.pem", path.display()),
            Some(key) => drop(native::open_envelope(&ctx.tools, &envelope, key)?),
        }
        Statement::parse(&payload)
    };
    read().with_context(|| format!("`{}` cannot be trusted", path.display()))
}
