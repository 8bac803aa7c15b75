//! `lock TARGET`: builds a target and writes the signed list of the digests of its packages and artifacts, which `--locked` takes.

use super::{attest, build};
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::openssl;
use common::{artifact::write_named, display::short, error::usage};
use oci::Cache;
use plan::{EngineKind, Goal, PackageWork, Plan};
use provenance::{DigestList, Envelope, Listed, ListedArtifact, ListedImage, signed_bytes};
use std::path::PathBuf;

/// The target, and who signs.
#[derive(clap::Args)]
pub struct Lock {
    /// live, rootfs, installer-raw, eve, pkgs, or any other target of `why`
    #[arg(value_name = "TARGET", default_value = "live")]
    target: String,
    /// sign with this private key (PEM, EC or RSA)
    #[arg(long, value_name = "FILE")]
    sign_key: PathBuf,
    /// where the list goes [default: TARGET.digests.jsonl in the folder of the version]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `lock`.
pub fn run(ctx: &Ctx, Lock { target, sign_key, out }: Lock) -> Result<()> {
    if ctx.engine != EngineKind::Native {
        return Err(usage("docker's builds of a package differ each time, so a list could not be checked\nhint: --engine native"));
    }
    let tree = ctx.tree()?;
    let Some(commit) = tree.commit_if_clean() else {
        return Err(usage("tracked files have changed, and a list is of a commit\nhint: git commit"));
    };
    let no_target = || usage(format!("`{target}` is no target\nhint: live, rootfs, installer-raw, eve, pkgs, pkg/NAME, …"));
    let goal = build::goal_of(ctx, &target)?.ok_or_else(no_target)?;
    if ctx.environment.source_date_epoch()?.is_some() {
        return Err(usage("SOURCE_DATE_EPOCH is set, and no list could say so\nhint: unset it; the time of the commit is taken"));
    }
    let plan = build::plan(ctx, &tree, &goal)?;
    // Also the packages that others start from: who builds one of those must be able to compare.
    let names: Vec<String> = plan.nodes.iter().filter_map(|node| node.step.package()).map(|package| package.name.clone()).collect();
    if names.is_empty() {
        return Err(usage(format!("`{target}` is made of no package, so there is nothing to list\nhint: cargo xtask lock live")));
    }
    attest::check_committed(ctx, &tree, &plan)?;
    build::build_with(ctx, &tree, &Goal::PackagesAlone(names, PackageWork::Build), false)?;
    build::build_with(ctx, &tree, &goal, false)?;
    let name = format!("{}.digests.jsonl", target.replace('/', "-"));
    let path = out.unwrap_or_else(|| ctx.layout(&tree).path().join(name));
    if ctx.globals.dry_run {
        println!("sign the list of the digests, and write {}", short(&path, &ctx.root));
        return Ok(());
    }
    let engine = build::engine(ctx, &tree)?;
    let kept = executor::kept_artifacts(&plan, engine.as_ref(), &build::execution(ctx, &tree)?)?;
    let artifacts = kept.into_iter().map(|kept| {
        let files = kept.record.files.into_iter().map(|file| file.digest).collect();
        (kept.key.to_string(), ListedArtifact { name: kept.record.node, files })
    });
    let images = images(ctx, &plan)?;
    if ctx.tree()?.commit_if_clean().as_ref() != Some(&commit) {
        bail!("the tree was changed while it was built, so no list is written\nhint: the same again");
    }
    let listed = Listed { commit, target: target.clone(), artifacts: artifacts.collect() };
    let json = DigestList::new(images, listed)?.to_json()?;
    let signature = openssl::sign(&ctx.tools, &sign_key, &signed_bytes(json.as_bytes()))?;
    let envelope = Envelope::new(json.as_bytes(), &openssl::key_id(&ctx.tools, &sign_key)?, &signature);
    write_named(&path, envelope.to_json()?.as_bytes())?;
    println!("made: {}", short(&path, &ctx.root));
    Ok(())
}

/// The images of the packages of a plan.
fn images(ctx: &Ctx, plan: &Plan) -> Result<Vec<ListedImage>> {
    let cache = Cache::open(&ctx.environment.linuxkit_cache())?;
    let packages = plan.nodes.iter().filter_map(|node| node.step.package());
    let listed = packages.map(|package| {
        let image = cache.find(&package.image.reference, package.image.arch.as_str())?;
        let image = image.with_context(|| format!("{} is not in the image cache", package.image))?;
        Ok(native::listed_image(&package.image.to_string(), &image))
    });
    listed.collect()
}
