//! `extract-persist` and `extract-verification-info`: what a machine left on its disk, read without mounting anything.

use super::{absolute, needed_path, word};
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use clap::{Arg, ArgMatches, Command};
use common::{artifact::Pending, artifact::write_atomically, error::usage};
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

const VERIFICATION: &str = "extract-verification-info DISK, for example: cargo xtask extract-verification-info verification.raw";
/// Most bytes of a file that is taken out of a volume.
const MOST: u32 = 64 << 20;

/// The arguments of `extract-persist`.
pub fn persist_arguments(command: Command) -> Command {
    command
        .arg(word("disk", "DISK", "live, installer (the disk that it installed on), or a disk image or device [default: live]"))
        .arg(word("arch", "ARCH", "for which machine; else what ZARCH says"))
        .arg(Arg::new("out").short('o').value_name("OUT").help("the archive to write [default: tmp/persist.tgz]"))
}

/// The arguments of `extract-verification-info`.
pub fn verification_arguments(command: Command) -> Command {
    command.arg(word("disk", "DISK", "the disk image or device that a machine was verified with"))
}

/// `extract-persist`: P3 as an archive of its files.
pub fn persist(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let text = |name: &str| arguments.get_one::<String>(name).map(String::as_str);
    let (path, base) = find(ctx, text("disk").unwrap_or("live"), text("arch").unwrap_or(ctx.knobs.arch.as_str()))?;
    let out = absolute(text("out").unwrap_or("tmp/persist.tgz"))?;
    let disk = base.map_or_else(|| Disk::open(&path), |base| Disk::open_over(&path, &base))?;
    let persist = partition(&disk, "P3", &path, "EVE makes it on its first boot")?;
    if ctx.globals.dry_run {
        println!("take P3 out of {}: {}", path.display(), out.display());
        return Ok(());
    }
    let tree = if ext4::Reader::fits(&persist) {
        files_of_ext4(&persist, &out).with_context(|| format!("cannot read P3 of `{}`", path.display()))?
    } else {
        let volume = fat::Reader::open(&persist).ok().with_context(|| {
            format!(
                "P3 of `{}` is neither an ext4 nor a FAT, and others are not read here\nhint: cargo xtask inspect {0} tells what it is",
                path.display()
            )
        })?;
        extract::fat_tree(&volume, MOST, 0)?
    };
    archive(&tree, &out)
}

/// The files of an ext4. Their contents wait beside `out`, where there is room for them anyway.
fn files_of_ext4(persist: &Window<'_>, out: &Path) -> Result<filetree::Tree> {
    let reader = ext4::Reader::open(persist)?;
    if !reader.is_whole() {
        eprintln!("warning: P3 was not unmounted, and its journal is not understood: what was written last may be missing");
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

/// The disk that a short name stands for, or the file. A machine that `run` started wrote to a file of its own beside the image, which is
/// then the second.
fn find(ctx: &Ctx, name: &str, arch: &str) -> Result<(PathBuf, Option<PathBuf>)> {
    let file = absolute(name)?;
    if file.exists() && !file.is_dir() {
        return Ok((file, None));
    }
    let stem = if name == "installer" { "target" } else { name };
    let current = ctx.dist().current(arch.parse().map_err(|error: String| usage(error))?);
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

/// `extract-verification-info`: prints the summaries in the inventory, and (but for a dry run) leaves them in the current folder.
pub fn verification(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let path = needed_path(arguments, "disk", VERIFICATION)?;
    let disk = Disk::open(&path)?;
    let inventory = partition(&disk, "INVENTORY", &path, "is this the disk of an installer or a verification?")?;
    let summaries = summaries(&inventory).with_context(|| format!("cannot read the inventory of `{}`", path.display()))?;
    if summaries.is_empty() {
        bail!("the inventory of `{}` has no */summary.log: no machine has left one there", path.display());
    }
    for (machine, text) in &summaries {
        // One alone has the name that it always had.
        let name = if summaries.len() == 1 { "summary.log".to_owned() } else { format!("{machine}-summary.log") };
        if !ctx.globals.dry_run {
            write_atomically(&absolute(&name)?, text)?;
        }
        std::io::stdout().write_all(text)?;
    }
    Ok(())
}

/// Each machine's folder in the inventory, with its summary.
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
