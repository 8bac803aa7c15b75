//! `generate-sources-manifests`: writes the manifest of already collected sources from the names of their files.

use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::{artifact::write_atomically, error::usage};
use std::path::Path;

/// The manifest's file name.
pub const MANIFEST: &str = "collected_sources_manifest.csv";

/// Writes the manifest of `dir`, a folder with some of alpine/, go/ (or golang/) and kernel/, into it; with `--dry-run` prints it.
pub fn write_manifest(ctx: &Ctx, dir: &Path) -> Result<()> {
    let mut manifest = String::new();
    let mut found = false;
    for (folder, row) in [("alpine", alpine as Row), ("go", go), ("golang", go), ("kernel", kernel)] {
        let path = dir.join(folder);
        if path.is_dir() {
            found = true;
            for name in names(&path)? {
                manifest.push_str(&format!("{},{folder}/{name}\n", row(&name)));
            }
        }
    }
    if !found {
        return Err(usage(format!("`{}` has no collected sources: neither alpine/ nor go/ nor kernel/", dir.display())));
    }
    if ctx.globals.dry_run {
        print!("{manifest}");
        return Ok(());
    }
    write_atomically(&dir.join(MANIFEST), manifest.as_bytes())
}

/// Makes a row, without the file's path, from a file's name.
type Row = fn(&str) -> String;

fn names(folder: &Path) -> Result<Vec<String>> {
    let read = || format!("cannot read the folder `{}`", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(read)? {
        names.push(entry.with_context(read)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// `busybox-1.35.0-r17.<commit>`.
fn alpine(name: &str) -> String {
    let (version, commit) = name.rsplit_once('.').unwrap_or((name, ""));
    format!("alpine,{version},{commit}")
}

/// `module@v1.2.3.tgz`, `module@v0.0.0-<date>-<commit>.tgz`.
fn go(name: &str) -> String {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let (module, version) = stem.split_once('@').unwrap_or((stem, ""));
    let mut parts = version.splitn(3, '-');
    let (first, second, commit) = (parts.next().unwrap_or_default(), parts.next(), parts.next().unwrap_or_default());
    let version = second.map_or_else(|| first.to_owned(), |second| format!("{first}-{second}"));
    format!("go,{module},{version},{commit}")
}

/// `www.kernel.org_…_linux-5.10.121.tar.xz`: the version follows the last `-`.
fn kernel(name: &str) -> String {
    let archive = [".tar.xz", ".tar.gz", ".tar.sign", ".tgz", ".asc"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let version = archive.rsplit_once('-').map(|(_, version)| version).filter(|version| version.starts_with(|c: char| c.is_ascii_digit()));
    format!("kernel,{archive},{},", version.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_versions_and_commits() {
        assert_eq!(alpine("busybox-1.35.0-r17.0a1b"), "alpine,busybox-1.35.0-r17,0a1b");
        assert_eq!(go("cobra@v1.6.1.tgz"), "go,cobra,v1.6.1,");
        assert_eq!(go("sys@v0.0.0-20230101000000-0123456789ab.tgz"), "go,sys,v0.0.0-20230101000000,0123456789ab");
        assert_eq!(kernel("k_linux-5.10.121.tar.xz"), "kernel,k_linux-5.10.121,5.10.121,");
        assert_eq!(kernel("k_sha256sums.asc"), "kernel,k_sha256sums,,");
    }
}
