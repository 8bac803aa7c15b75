//! `extract-persist` and `extract-verification-info`: read files from a machine's disk without mounting it.

use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use common::{Arch, artifact::Pending, artifact::write_atomically, error::usage};
use diskimage::{
    Window, ext4,
    extract::{self, Disk},
    fat,
};
use filetree::{Content, Kind, Spool};
use flate2::{Compression, GzBuilder};
use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

/// The largest file of a FAT that is read, in bytes.
const MOST: u32 = 64 << 20;

/// The disk of a machine.
pub enum Source {
    /// A disk image or device.
    File(PathBuf),
    /// A disk of the tree's last build by its name: `live`, or `installer` for the disk that the installer wrote.
    Built(String),
}

/// Writes the files of partition P3, which EVE mounts at /persist, as the archive `out`. `arch` chooses the last build for
/// [`Source::Built`].
pub fn extract_persist(ctx: &Ctx, disk: &Source, arch: Arch, out: &Path) -> Result<()> {
    let (path, base) = match disk {
        Source::File(path) => (path.clone(), None),
        Source::Built(name) => find_built(ctx, name, arch)?,
    };
    let disk = base.map_or_else(|| Disk::open(&path), |base| Disk::open_over(&path, &base))?;
    let persist = partition(&disk, "P3", &path, "EVE makes it on its first boot")?;
    if ctx.globals.dry_run {
        println!("take P3 out of {}: {}", path.display(), out.display());
        return Ok(());
    }
    let tree = if ext4::Reader::fits(&persist) {
        files_of_ext4(&persist, out).with_context(|| format!("cannot read P3 of `{}`", path.display()))?
    } else {
        let volume = fat::Reader::open(&persist).ok().with_context(|| {
            format!(
                "P3 of `{}` is neither ext4 nor FAT, and no other file system can be read\nhint: cargo xtask inspect {0} shows its type",
                path.display()
            )
        })?;
        extract::fat_tree(&volume, MOST, 0)?
    };
    archive(&tree, out)
}

/// The files of an ext4. Keeps their contents in a temporary file beside `out`, where the archive needs space anyway.
fn files_of_ext4(persist: &Window<'_>, out: &Path) -> Result<filetree::Tree> {
    let reader = ext4::Reader::open(persist)?;
    if !reader.is_whole() {
        eprintln!("warning: P3 was not unmounted, and its journal cannot be read: the latest changes may be missing");
    }
    let folder = out.parent().context("an archive lies in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    let mut spool = Spool::new_in(folder)?;
    let (tree, left_out) = reader.tree(&mut |_, _, bytes| spool.add_sparse(bytes).map(Some))?;
    for file in left_out {
        eprintln!("warning: left out: {file}");
    }
    Ok(tree)
}

/// The built disk and, if it is an overlay, the image below it: a machine that `run` starts writes to an overlay.
fn find_built(ctx: &Ctx, name: &str, arch: Arch) -> Result<(PathBuf, Option<PathBuf>)> {
    let stem = if name == "installer" { "target" } else { name };
    let current = ctx.dist().current(arch);
    let folder = current.path();
    let places = ["qcow2", "raw", "img"].map(|format| folder.join(format!("{stem}.{format}")));
    let written =
        ["qcow2", "raw"].map(|format| (current.run().join(format!("{stem}-{format}.qcow2")), folder.join(format!("{stem}.{format}"))));
    if let Some((overlay, base)) = written.into_iter().find(|(overlay, base)| overlay.exists() && base.exists()) {
        return Ok((overlay, Some(base)));
    }
    places.iter().find(|path| path.exists()).map(|path| (path.clone(), None)).ok_or_else(|| {
        usage(format!(
            "there is neither a disk `{name}` nor `{}`\nhint: cargo xtask live makes one; then: cargo xtask extract-persist live {arch}",
            places[0].display()
        ))
    })
}

fn partition<'d>(disk: &'d Disk, name: &str, path: &Path, why: &str) -> Result<Window<'d>> {
    disk.partition(name)?.with_context(|| format!("`{}` has no partition {name}, only {}: {why}", path.display(), disk.names().join(", ")))
}

fn archive(tree: &filetree::Tree, out: &Path) -> Result<()> {
    let pending = Pending::new(out)?;
    let gzip = GzBuilder::new().write(pending.create()?, Compression::default());
    let mut file = filetree::write_tar(tree, gzip)?.finish().with_context(|| format!("cannot write `{}`", out.display()))?;
    file.flush()?;
    pending.commit()?;
    println!("made: {}", out.display());
    Ok(())
}

/// Prints the summaries in the inventory of the disk or device `path`, and writes each to a file in `out`; with `--dry-run` only prints.
pub fn extract_verification_info(ctx: &Ctx, path: &Path, out: &Path) -> Result<()> {
    let disk = Disk::open(path)?;
    let inventory = partition(&disk, "INVENTORY", path, "is this the disk of an installer or a verification?")?;
    let summaries = summaries(&inventory).with_context(|| format!("cannot read the inventory of `{}`", path.display()))?;
    if summaries.is_empty() {
        bail!("the inventory of `{}` has no */summary.log: no machine has written one yet", path.display());
    }
    for (machine, text) in &summaries {
        // Callers of the script expect the name summary.log when there is only one.
        let name = if summaries.len() == 1 { "summary.log".to_owned() } else { format!("{machine}-summary.log") };
        if !ctx.globals.dry_run {
            write_atomically(&out.join(&name), text)?;
        }
        std::io::stdout().write_all(text)?;
    }
    Ok(())
}

/// The name of each machine's folder in the inventory, and the summary in it.
fn summaries(inventory: &Window<'_>) -> Result<Vec<(String, Vec<u8>)>> {
    let tree = extract::fat_tree(&fat::Reader::open(inventory)?, MOST, 0)?;
    let mut found = Vec::new();
    for (name, node) in tree.root.children().into_iter().flatten() {
        let summary = node.children().and_then(|files| files.get(&b"summary.log"[..]));
        if let Some(Kind::File { content, .. }) = summary.map(|node| &node.kind) {
            found.push((String::from_utf8_lossy(name).into_owned(), Content::read_all(content)?));
        }
    }
    Ok(found)
}
