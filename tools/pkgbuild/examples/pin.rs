//! `cargo run -p pkgbuild --example pin -- pkg/debian [--security] [--release NAME] [--arch ARCH]…`: rewrites the locks of an
//! archive package from apt's mirrors of this machine, or moves them to another release, and prints the changes.

use anyhow::{Context as _, Result, bail};
use pkgbuild::debian::{Mirrors, Pinning, Prefer, Proxy, Store, read_apt_sources, update_locks};
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    let mut folder = None;
    let mut prefer = Prefer::Stable;
    let mut release = None;
    let mut arches = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--security" => prefer = Prefer::Latest,
            "--release" => release = Some(args.next().context("--release needs a name")?),
            "--arch" => arches.push(args.next().context("--arch needs a name")?),
            other if folder.is_none() && !other.starts_with('-') => folder = Some(PathBuf::from(other)),
            other => bail!("unknown argument `{other}`\nhint: pin FOLDER [--security] [--release NAME] [--arch ARCH]…"),
        }
    }
    let folder = folder.unwrap_or_else(|| "pkg/debian".into());
    let get = |name: &str| std::env::var(name).ok();
    let (debian, security) = (get("DEBIAN_MIRROR"), get("DEBIAN_SECURITY_MIRROR"));
    let mirrors = Mirrors::from_apt_sources(&read_apt_sources(Path::new("/etc/apt"))?, debian.as_deref(), security.as_deref())?;
    let store = Store::open(&std::env::temp_dir().join("eve-pin"), &Proxy { http: get("http_proxy"), except: get("no_proxy") })?;
    let pinning = Pinning { folder: &folder, arches: &arches, release: release.as_deref(), prefer };
    for updated in update_locks(&pinning, &store, &mirrors)? {
        let bytes: u64 = updated.lock.pins.values().map(|pin| pin.size).sum();
        println!("{}: {} packages, {} MB", updated.path.display(), updated.lock.pins.len(), bytes / 1_000_000);
        updated.changes.iter().for_each(|change| println!("  {change}"));
    }
    Ok(())
}
