//! `cargo run -p pkgbuild --example pin -- pkg/debian [--security] [--release bookworm] [--arch ARCH]…`: makes the locks of an archive
//! package again, from this machine's own mirrors.

use anyhow::{Context as _, Result, bail};
use pkgbuild::debian::{Index, Mirrors, Prefer, Proxy, Store, Suite, Wanted, pin};
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    let mut folder = None;
    let mut prefer = Prefer::Stable;
    let mut release = "bookworm".to_owned();
    let mut arches = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--security" => prefer = Prefer::Latest,
            "--release" => release = args.next().context("--release needs a name")?,
            "--arch" => arches.push(args.next().context("--arch needs a name")?),
            other if folder.is_none() && !other.starts_with('-') => folder = Some(PathBuf::from(other)),
            other => bail!("`{other}` is not understood\nhint: pin FOLDER [--security] [--release NAME] [--arch ARCH]…"),
        }
    }
    if arches.is_empty() {
        arches = vec!["amd64".to_owned(), "arm64".to_owned()];
    }
    let folder = folder.unwrap_or_else(|| "pkg/debian".into()).join("mirrors").join(&release);
    let get = |name: &str| std::env::var(name).ok();
    let proxy = Proxy { http: get("http_proxy"), except: get("no_proxy") };
    let mirrors = Mirrors::from_apt_sources(&apt_sources()?, get("DEBIAN_MIRROR").as_deref(), get("DEBIAN_SECURITY_MIRROR").as_deref())?;
    let store = Store::open(&std::env::temp_dir().join("eve-pin"), &proxy)?;
    let list = folder.join("packages");
    let text = std::fs::read_to_string(&list).with_context(|| format!("cannot read `{}`", list.display()))?;
    let wanted = Wanted::parse(&text, &list.display().to_string())?;
    for arch in arches {
        let indexes: Vec<Index> =
            Suite::ALL.iter().map(|suite| store.fetch_index(*suite, &release, &arch, &mirrors)).collect::<Result<_>>()?;
        let lock = pin(&wanted, &arch, &indexes, prefer)?;
        let file = folder.join(format!("{arch}.lock"));
        std::fs::write(&file, lock.to_text("# Made from `packages` by `cargo xtask pins`: not edited by hand.\n"))?;
        let bytes: u64 = lock.pins.values().map(|pin| pin.size).sum();
        println!("{}: {} packages, {} MB", file.display(), lock.pins.len(), bytes / 1_000_000);
    }
    Ok(())
}

fn apt_sources() -> Result<Vec<(String, String)>> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(folder) = std::fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(folder.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let read = |path: &Path| Some((path.display().to_string(), std::fs::read_to_string(path).ok()?));
    Ok(files.iter().filter_map(|path| read(path)).collect())
}
