//! `pins`: renews the lock files of the Debian archive from the mirror, and prints what changed.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::error::usage;
use helpers::sources::debian;
use native::mirrors::Origins;
use pkgbuild::debian::{Prefer, Store, update_locks, update_sources};

/// The pins to renew.
#[derive(clap::Args)]
pub struct Pins {
    /// Debian release
    #[arg(long, value_name = "NAME", default_value = "bookworm")]
    release: String,
    /// only for this architecture; may be repeated
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
    let arches = if arch.is_empty() { vec!["amd64", "arm64"] } else { arch.iter().map(String::as_str).collect() };
    let prefer = if security { Prefer::Latest } else { Prefer::Stable };
    if ctx.globals.dry_run {
        if !sources {
            println!("renew the locks of pkg/{archive} for {} from Debian's {release}", arches.join(", "));
        }
        println!("renew {}", debian::sources_lock(&ctx.root, &release).display());
        return Ok(());
    }
    if ctx.globals.offline {
        return Err(usage("pins are renewed from a mirror, and --offline forbids the network"));
    }
    let origins = Origins::new(&ctx.knobs, &ctx.environment);
    let store = Store::open(&ctx.environment.cache().join("debs"), &origins.proxy())?;
    let (folder, mirrors) = (ctx.profile.packages.folder.join(archive), origins.mirrors()?);
    let updated = if sources { vec![] } else { update_locks(&folder, &release, &arches, prefer, &store, &mirrors)? };
    for updated in updated {
        let bytes: u64 = updated.lock.pins.values().map(|pin| pin.size).sum();
        println!("{}: {} packages, {}", updated.path.display(), updated.lock.pins.len(), common::display::size(bytes));
        for change in &updated.changes {
            println!("  {change}");
        }
    }
    let lock = debian::sources_lock(&ctx.root, &release);
    let (packages, bytes) = update_sources(&folder, &release, &lock, &store, &mirrors)?;
    println!("{}: the sources, {packages} packages, {}", lock.display(), common::display::size(bytes));
    if !sources {
        println!("then: commit, and `cargo xtask bump {archive}`");
    }
    Ok(())
}
