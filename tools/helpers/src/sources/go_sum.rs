//! `go-sum-to-src`: collects the sources and licenses of the modules in go.sum lines, as one archive for each module.

use super::download::make_folder;
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::go;
use common::{artifact::Pending, error::usage};
use flate2::{Compression, write::GzEncoder};
use std::{
    collections::BTreeSet,
    io::{BufWriter, Write as _},
    path::Path,
};

/// The names of license files, and the ending of the copy's name.
const LICENSES: &[(&str, &str)] = &[
    ("LICENSE", ".LICENSE"),
    ("LICENSE.txt", ".LICENSE"),
    ("LICENSE.md", ".LICENSE"),
    ("LICENSE.rst", ".LICENSE"),
    ("License", ".LICENSE"),
    ("COPYING", ".LICENSE-COPYING"),
];

/// Collects the archives and licenses of the modules in `lines` into the new folder `out` (default: a temporary one), and prints their
/// number. With `tell`, prints each module and archive.
pub fn collect_go_sources(ctx: &Ctx, lines: &str, out: Option<&Path>, tell: bool) -> Result<()> {
    let modules = modules(lines)?;
    if ctx.globals.dry_run {
        for (module, version) in &modules {
            println!("{}", go::download_command(&ctx.tools, &ctx.environment, ctx.globals.offline, &format!("{module}@{version}"))?);
        }
        return Ok(());
    }
    let out = make_folder(out, None, false)?;
    println!("outdir: {}", out.display());
    let (mut bytes, mut licensed) = (0, 0);
    for (module, version) in &modules {
        let reference = format!("{module}@{version}");
        if tell {
            println!("pkgref: {reference}");
        }
        let found = go::download(&ctx.tools, &ctx.environment, ctx.globals.offline, &reference)?;
        let name = format!("go/pkg/mod/{}@{}", escape(module), escape(version));
        let archive = out.join(format!("{name}.tgz"));
        if tell {
            println!("Creating {}", archive.display());
        }
        bytes += pack(&found.dir, &name, &archive)?;
        licensed += usize::from(copy_license(&found.dir, &out, &name)?);
    }
    println!("Saved {} files {} Mbytes in {}", modules.len(), bytes.div_ceil(1 << 20), out.display());
    println!("Saved {licensed} LICENSE files in {}", out.display());
    println!("{} packages without LICENSE file in {}", modules.len() - licensed, out.display());
    Ok(())
}

/// Modules and versions, each once, without the lines that give only the hash of a go.mod file.
fn modules(text: &str) -> Result<BTreeSet<(String, String)>> {
    let mut modules = BTreeSet::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let (Some(module), Some(version)) = (words.next(), words.next()) else {
            return Err(usage(format!("line {} is not a line of go.sum: `{line}`", number + 1)));
        };
        let plain = |word: &str| !word.starts_with(['-', '/', '.']) && !word.split('/').any(|part| part == "..");
        if !plain(module) || !plain(version) {
            return Err(usage(format!("line {} names no module: `{line}`", number + 1)));
        }
        if !version.ends_with("/go.mod") {
            modules.insert((module.to_owned(), version.to_owned()));
        }
    }
    Ok(modules)
}

/// A path as Go's cache spells it: `!` and the small letter for a capital.
fn escape(path: &str) -> String {
    path.chars().flat_map(|c| if c.is_ascii_uppercase() { vec!['!', c.to_ascii_lowercase()] } else { vec![c] }).collect()
}

/// Packs the module's files below `name` (the same bytes on every machine), and returns the archive's size.
fn pack(dir: &Path, name: &str, archive: &Path) -> Result<u64> {
    let tree = filetree::read_dir(dir, &mut |_, meta| {
        (meta.uid, meta.gid, meta.mtime) = (0, 0, 0);
        // Files in Go's cache are read-only; unpacked files shall be writable.
        meta.mode |= 0o200;
        true
    })?;
    let mut outer = filetree::Tree::new();
    outer.insert(name, tree.root)?;
    let pending = Pending::new(archive)?;
    let gzip = GzEncoder::new(BufWriter::new(pending.create()?), Compression::default());
    let write = || format!("cannot write `{}`", archive.display());
    let mut file = filetree::write_tar(&outer, gzip)?.finish().with_context(write)?;
    file.flush().with_context(write)?;
    drop(file);
    let size = pending.part().metadata().with_context(write)?.len();
    pending.commit()?;
    Ok(size)
}

/// Copies the module's license beside its archive, and returns true; without a license writes an empty file NO-LICENSE.
fn copy_license(dir: &Path, out: &Path, name: &str) -> Result<bool> {
    for (file, suffix) in LICENSES {
        let from = dir.join(file);
        if from.is_file() {
            let to = out.join(format!("{name}{suffix}"));
            let text = std::fs::read(&from).with_context(|| format!("cannot read `{}`", from.display()))?;
            std::fs::write(&to, text).with_context(|| format!("cannot write `{}`", to.display()))?;
            return Ok(true);
        }
    }
    let none = out.join(format!("{name}.NO-LICENSE"));
    std::fs::write(&none, "").with_context(|| format!("cannot write `{}`", none.display()))?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_modules_once() {
        let text = "a.org/B v1.0.0 h1:x=\na.org/B v1.0.0/go.mod h1:y=\n\na.org/B v1.0.0 h1:x=\nc.org/d v2 h1:z=\n";
        let found: Vec<_> = modules(text).expect("read").into_iter().collect();
        assert_eq!(found, [("a.org/B".to_owned(), "v1.0.0".to_owned()), ("c.org/d".to_owned(), "v2".to_owned())]);
        assert_eq!(escape("a.org/BcD"), "a.org/!bc!d");
        assert_eq!(modules("x").expect_err("one word").to_string(), "line 1 is not a line of go.sum: `x`");
        for line in ["../x v1", "a/../../x v1", "-json v1", "a ../v1", "/a v1"] {
            assert_eq!(modules(line).expect_err(line).to_string(), format!("line 1 names no module: `{line}`"));
        }
    }

    #[test]
    fn an_archive_and_a_license_are_kept() {
        let folder = tempfile::tempdir().expect("folder");
        let (dir, out) = (folder.path().join("m"), folder.path().join("out"));
        std::fs::create_dir_all(dir.join("sub")).expect("make");
        std::fs::write(dir.join("sub/a.go"), "package a").expect("write");
        let name = "go/pkg/mod/m@v1";
        assert!(pack(&dir, name, &out.join(format!("{name}.tgz"))).expect("packed") > 0);
        assert!(!copy_license(&dir, &out, name).expect("copied"));
        std::fs::write(dir.join("COPYING"), "free").expect("write");
        assert!(copy_license(&dir, &out, name).expect("copied"));
        assert_eq!(std::fs::read(out.join(format!("{name}.LICENSE-COPYING"))).expect("read"), b"free");
    }
}
