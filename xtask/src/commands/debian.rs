//! `pins`: renews the lock files of the Debian archive from the mirror, or moves them to another release, and prints what changed.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::{Tool, ToolNeed};
use common::error::usage;
use helpers::sources::debian;
use native::mirrors::{Gpgv, Origins};
use pkgbuild::debian::{IndexSource, Locks, Pinning, Prefer, Store, Trust, update_locks, update_sources};
use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};

/// The pins to renew.
#[derive(clap::Args)]
pub struct Pins {
    /// move to this Debian release [default: each architecture keeps its own]
    #[arg(long, value_name = "NAME", conflicts_with = "sources")]
    release: Option<String>,
    /// only for this architecture; may be repeated [default: all that are pinned]
    #[arg(long, value_name = "ARCH")]
    arch: Vec<String>,
    /// also take security updates, which mirrors delete sooner
    #[arg(long)]
    security: bool,
    /// only the pins of the sources, of the present locks
    #[arg(long)]
    sources: bool,
}

/// `pins`.
pub fn run(ctx: &Ctx, Pins { release, arch, security, sources }: Pins) -> Result<()> {
    let archive = ctx.profile.packages.archive.as_ref().context("this tree has no archive of Debian packages")?;
    let folder = ctx.profile.packages.folder.join(archive);
    let prefer = if security { Prefer::Latest } else { Prefer::Stable };
    let pinning = Pinning { folder: &folder, arches: &arch, release: release.as_deref(), prefer };
    let wanted = pinning.releases()?;
    // A release that an architecture leaves has fewer sources, or none.
    let before = Locks::read(&folder)?;
    let left = wanted.iter().filter_map(|(arch, _)| before.release_of(arch).ok().map(str::to_owned));
    let releases: BTreeSet<String> = wanted.iter().map(|(_, release)| release.clone()).chain(left).collect();
    if ctx.globals.dry_run {
        for (arch, release) in wanted.iter().filter(|_| !sources) {
            println!("renew the lock of pkg/{archive} for {arch} from Debian's {release}");
        }
        for release in &releases {
            println!("renew {}", debian::sources_lock(&ctx.root, release).display());
        }
        return Ok(());
    }
    if ctx.globals.offline {
        return Err(usage("pins are renewed from a mirror, and --offline forbids the network"));
    }
    super::doctor::ensure(ctx, &[ToolNeed::usual(Tool::Gpgv)])?;
    let origins = Origins::new(&ctx.knobs, &ctx.environment);
    let store = Store::open(&ctx.environment.cache().join("debs"), &origins.network(&ctx.tools))?;
    let mirrors = origins.mirrors()?;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    let trust = Trust { verifier: &Gpgv { tools: &ctx.tools }, now };
    let from = IndexSource { store: &store, mirrors: &mirrors, trust };
    if !sources {
        renew(&pinning, &from)?;
    }
    for release in &releases {
        renew_sources(ctx, &pinning, release, &from)?;
    }
    if !sources {
        println!("then: commit, and `cargo xtask bump {archive}`");
    }
    Ok(())
}

/// Renews the locks of packages.
fn renew(pinning: &Pinning<'_>, from: &IndexSource<'_>) -> Result<()> {
    for updated in update_locks(pinning, from)? {
        let bytes: u64 = updated.lock.pins.values().map(|pin| pin.size).sum();
        println!("{}: {} packages, {}", updated.path.display(), updated.lock.pins.len(), common::display::size(bytes));
        for path in &updated.replaced {
            println!("  instead of {}, which is deleted", path.display());
        }
        for change in &updated.changes {
            println!("  {change}");
        }
    }
    Ok(())
}

/// Renews the lock of a release's sources; deletes it if the release has no packages any more.
fn renew_sources(ctx: &Ctx, pinning: &Pinning<'_>, release: &str, from: &IndexSource<'_>) -> Result<()> {
    let lock = debian::sources_lock(&ctx.root, release);
    if Locks::read(pinning.folder)?.has(release) {
        let (packages, bytes) = update_sources(pinning.folder, release, &lock, from)?;
        println!("{}: the sources, {packages} packages, {}", lock.display(), common::display::size(bytes));
    } else if lock.exists() {
        std::fs::remove_file(&lock).with_context(|| format!("cannot delete `{}`", lock.display()))?;
        println!("{}: deleted, {release} has no lock any more", lock.display());
    }
    Ok(())
}
