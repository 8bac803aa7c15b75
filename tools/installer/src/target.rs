//! Writes EVE to a disk. The partition tables and the ESP come last, so a machine whose installation was interrupted does not boot from the
//! disk as if it were whole, and a second installation starts anew.

use crate::random;
use anyhow::{Context as _, Result, bail};
use diskimage::{
    FileImage, ReadAt, Window, disk,
    extract::fat_tree,
    fat,
    gpt::{self, Gpt, GptEntry},
    recipes::{self, InstalledDisk},
};
use filetree::{Content, Kind, Node, Tree};
use rustix::fs::Advice;
use std::{
    fs::File,
    io::{Read as _, Seek as _},
    os::unix::fs::FileExt as _,
};

const MIB: u64 = 1 << 20;
/// P3 has at least this size in bytes.
const LEAST_PERSIST: u64 = 256 * MIB;
/// Bytes at the start and at the end of a partition that are overwritten with zeros, so that nobody finds an old file system there.
const WIPE: u64 = 5 * MIB;
/// Largest file of a FAT in bytes.
const MOST: u32 = 64 << 20;
/// Numbers of partitions.
const ESP: u32 = 1;
const IMGA: u32 = 2;
const IMGB: u32 = 3;
const CONFIG: u32 = 4;
const P3: u32 = 9;

/// The least size in bytes of a disk, with P3 or without.
#[must_use]
pub fn least_size(persist: bool) -> u64 {
    // ESP, CONFIG, IMGA, IMGB; the tables are in the first and the last MiB.
    (36 + 1 + 300 + 300 + 2) * MIB + if persist { LEAST_PERSIST } else { 0 }
}

/// An open disk.
pub struct Target {
    file: File,
    size: u64,
    sector: u32,
}

impl Target {
    /// Wraps the disk in `file`, open for reading and writing.
    pub fn new(mut file: File, sector: u32) -> Result<Self> {
        let size = file.seek(std::io::SeekFrom::End(0)).context("cannot find the end of the disk")?;
        Ok(Self { file, size: size / u64::from(sector) * u64::from(sector), sector })
    }

    fn image(&self) -> Result<FileImage> {
        FileImage::new(self.file.try_clone()?)
    }

    /// The partition table, if the disk has one that can be read.
    fn table(&self) -> Result<Option<Gpt>> {
        Ok(gpt::read_with(&self.image()?, u64::from(self.sector)).unwrap_or(None))
    }

    /// Whether the disk has a partition of that name.
    pub fn has_partition(&self, name: &str) -> Result<bool> {
        Ok(self.table()?.is_some_and(|table| table.entries.iter().any(|entry| entry.name == name)))
    }

    fn bytes(&self, entry: &GptEntry) -> (u64, u64) {
        let sector = u64::from(self.sector);
        (entry.first_lba.saturating_mul(sector), (entry.last_lba + 1).saturating_sub(entry.first_lba).saturating_mul(sector))
    }

    /// Writes zeros.
    fn wipe(&self, start: u64, len: u64) -> Result<()> {
        let zeros = vec![0; 1 << 20];
        let end = start.saturating_add(len).min(self.size);
        let mut at = start;
        while at < end {
            let part = usize::try_from((end - at).min(MIB))?;
            self.file.write_all_at(&zeros[..part], at).context("cannot write")?;
            at += part as u64;
        }
        Ok(())
    }

    /// Overwrites the start and the end of a partition.
    fn wipe_edges(&self, entry: &GptEntry) -> Result<()> {
        let (start, len) = self.bytes(entry);
        self.wipe(start, len.min(WIPE))?;
        self.wipe(start + len.saturating_sub(WIPE), len.min(WIPE))
    }

    /// Removes the partition tables.
    pub fn nuke(&self) -> Result<()> {
        self.wipe(0, MIB)?;
        self.wipe(self.size.saturating_sub(MIB), MIB)?;
        self.flush()
    }

    /// Writes everything to the disk itself, and forgets what was cached, so that reading asks the disk.
    fn flush(&self) -> Result<()> {
        self.file.sync_all().context("cannot flush the disk")?;
        // Only advice: without it the check may read from memory.
        let _ = rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed);
        Ok(())
    }
}

/// What to install.
pub struct Installation<'a> {
    /// rootfs.img.
    pub rootfs: Content,
    /// Files of CONFIG.
    pub config: Tree,
    /// Whether IMGA and IMGB keep what the disk has.
    pub keep_rootfs: bool,
    /// Whether CONFIG keeps what the disk has.
    pub keep_config: bool,
    /// What to do with P3.
    pub persist: Persist,
    /// Random GUIDs instead of the usual ones.
    pub random_guids: bool,
    /// Unix timestamp of the files.
    pub now: i64,
    /// Tells what is being done.
    pub say: &'a dyn Fn(&str),
}

/// What to do with P3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persist {
    /// Make it anew; the first boot makes a file system.
    New,
    /// Keep that of the disk.
    Keep,
    /// It is on another disk.
    Elsewhere,
}

/// All that can be known before anything is written.
pub struct Prepared {
    old: Option<Gpt>,
    contents: InstalledDisk,
    layout: disk::Layout,
    kept: Vec<u32>,
}

impl Prepared {
    /// Whether a partition of the disk is kept.
    #[must_use]
    pub fn keeps(&self) -> bool {
        !self.kept.is_empty()
    }
}

/// Lays out the disk and finds what is kept; writes nothing.
pub fn prepare(target: &Target, job: &Installation<'_>) -> Result<Prepared> {
    let old = target.table()?;
    let with_p3 = job.persist != Persist::Elsewhere;
    let slots: Vec<&GptEntry> = match (job.keep_rootfs, &old) {
        (true, Some(old)) => old.entries.iter().filter(|entry| [IMGA, IMGB].contains(&entry.number)).collect(),
        _ => Vec::new(),
    };
    let mut esp = recipes::esp_of_rootfs(open(&job.rootfs)?)?;
    if let Some(state) = grubenv(&slots) {
        esp.insert("EFI/BOOT/grubenv", Node::file(0o644, job.now, Content::from(state.as_str())))?;
    }
    let contents = InstalledDisk {
        esp,
        config: (!job.keep_config).then(|| job.config.clone()),
        rootfs: (!job.keep_rootfs).then(|| job.rootfs.clone()),
    };
    let mut table = recipes::installed(&contents, with_p3, target.size, target.sector, job.now)?;
    if job.random_guids {
        make_random(&mut table)?;
    }
    for part in &mut table.parts {
        if let Some(slot) = slots.iter().find(|slot| slot.number == part.number) {
            part.attributes = slot.attributes;
        }
    }
    let layout = disk::layout(table)?;
    let kept = check_kept(job, old.as_ref(), layout.entries())?;
    Ok(Prepared { old, contents, layout, kept })
}

/// Installs EVE on the disk, and checks it by reading it back.
pub fn install(target: &Target, job: &Installation<'_>, prepared: Prepared) -> Result<()> {
    let Prepared { old, contents, layout, kept } = prepared;
    invalidate(target, old.as_ref(), &kept)?;
    for entry in layout.entries().iter().filter(|entry| !kept.contains(&entry.number)) {
        (job.say)(&format!("writing {}", entry.name));
        let (start, len) = target.bytes(entry);
        match entry.number {
            // The whole partition is a file system, which wants zeros below its files.
            ESP | CONFIG => target.wipe(start, len),
            _ => target.wipe_edges(entry),
        }?;
        if entry.number != ESP {
            layout.write_partition(entry.number, &target.file)?;
        }
    }
    target.flush()?;
    (job.say)("reading back");
    check(target, &layout, job, &contents, &kept)?;
    // From here on the disk boots.
    layout.write_partition(ESP, &target.file)?;
    target.flush()?;
    let entry = entry(layout.entries(), ESP)?;
    check_volume(target, entry, &contents.esp)?;
    layout.write_tables(&target.file)?;
    target.flush()?;
    check_table(target, layout.entries())
}

/// GRUB's environment block for slots that are kept, by the state in the attributes of their partitions, which `zboot` keeps in step
/// (pkg/gpt-tools): bits 48 to 51 priority, 52 to 55 tries, 56 success. None if no slot has a state.
fn grubenv(slots: &[&GptEntry]) -> Option<String> {
    let mut order: Vec<(u64, &str)> = Vec::new();
    let mut lines = String::new();
    for (number, name) in [(IMGA, "A"), (IMGB, "B")] {
        let bits = slots.iter().find(|slot| slot.number == number).map_or(0, |slot| slot.attributes >> 48);
        if bits & 0xf > 0 {
            order.push((bits & 0xf, name));
        }
        lines += &format!("{name}_OK={}\n{name}_TRY={}\n", bits >> 8 & 1, bits >> 4 & 0xf);
    }
    order.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
    let order: Vec<&str> = order.into_iter().map(|(_, name)| name).collect();
    let block = format!("# GRUB Environment Block\nORDER={}\n{lines}", order.join(" "));
    (!order.is_empty()).then(|| format!("{block:#<1024}"))
}

/// Gives the disk and its partitions random GUIDs.
fn make_random(table: &mut disk::Table) -> Result<()> {
    table.disk_guid.0 = random::guid()?;
    for part in &mut table.parts {
        part.uuid.0 = random::guid()?;
    }
    Ok(())
}

/// The numbers of the partitions that are kept; fails if the disk has not got them at the places of the new table.
fn check_kept(job: &Installation<'_>, old: Option<&Gpt>, new: &[GptEntry]) -> Result<Vec<u32>> {
    let p3 = job.persist == Persist::Keep;
    let wanted = [
        (job.keep_rootfs, IMGA, "eve_install_skip_rootfs"),
        (job.keep_rootfs, IMGB, "eve_install_skip_rootfs"),
        (job.keep_config, CONFIG, "eve_install_skip_config"),
        (p3, P3, "eve_install_skip_persist"),
    ];
    let mut kept = Vec::new();
    for (_, number, word) in wanted.into_iter().filter(|(keep, ..)| *keep) {
        let new = entry(new, number)?;
        let Some(old) = old.and_then(|old| old.entries.iter().find(|entry| entry.number == number)) else {
            bail!("{word}: the disk has no partition {number} ({}) to keep", new.name);
        };
        if (old.first_lba, old.last_lba) != (new.first_lba, new.last_lba) {
            bail!(
                "{word}: partition {number} ({}) of the disk is in sectors {} to {}, and not in {} to {} as in this version",
                new.name,
                old.first_lba,
                old.last_lba,
                new.first_lba,
                new.last_lba
            );
        }
        kept.push(number);
    }
    Ok(kept)
}

fn entry(entries: &[GptEntry], number: u32) -> Result<&GptEntry> {
    entries.iter().find(|entry| entry.number == number).with_context(|| format!("internal error: no partition {number}"))
}

/// Makes the disk one that nobody boots from: removes the tables, or if they are needed to find what is kept, the start of each partition
/// that is not kept.
fn invalidate(target: &Target, old: Option<&Gpt>, kept: &[u32]) -> Result<()> {
    if kept.is_empty() {
        return target.nuke();
    }
    for entry in old.iter().flat_map(|old| &old.entries).filter(|entry| !kept.contains(&entry.number)) {
        let (start, len) = target.bytes(entry);
        target.wipe(start, len.min(MIB))?;
    }
    target.flush()
}

/// Reads back what was written.
fn check(target: &Target, layout: &disk::Layout, job: &Installation<'_>, contents: &InstalledDisk, kept: &[u32]) -> Result<()> {
    for entry in layout.entries().iter().filter(|entry| !kept.contains(&entry.number)) {
        match entry.number {
            IMGA => check_image(target, entry, &job.rootfs)?,
            CONFIG => check_volume(target, entry, contents.config.as_ref().context("internal error: CONFIG is kept")?)?,
            _ => {}
        }
    }
    Ok(())
}

fn check_image(target: &Target, entry: &GptEntry, image: &Content) -> Result<()> {
    let (mut at, _) = target.bytes(entry);
    let mut from = image.open()?;
    let (mut wanted, mut found) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = from.read(&mut wanted).context("cannot read rootfs.img")?;
        if count == 0 {
            return Ok(());
        }
        target.file.read_exact_at(&mut found[..count], at).context("cannot read the disk")?;
        if wanted[..count] != found[..count] {
            bail!("{}: the disk does not hold what was written to it at byte {at}", entry.name);
        }
        at += count as u64;
    }
}

fn check_volume(target: &Target, entry: &GptEntry, files: &Tree) -> Result<()> {
    let (start, len) = target.bytes(entry);
    let image = target.image()?;
    let window = Window::new(&image, start, len)?;
    let found = read_volume(&window).with_context(|| format!("{}: cannot read what was written", entry.name))?;
    if !same(&found.root, &files.root)? {
        bail!("{}: the disk does not hold the files that were written to it", entry.name);
    }
    Ok(())
}

/// Whether two folders hold the same files.
fn same(left: &Node, right: &Node) -> Result<bool> {
    Ok(match (&left.kind, &right.kind) {
        (Kind::Dir(left), Kind::Dir(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            for ((name, node), (other_name, other)) in left.iter().zip(right) {
                if name != other_name || !same(node, other)? {
                    return Ok(false);
                }
            }
            true
        }
        (Kind::File { content: left, .. }, Kind::File { content: right, .. }) => {
            left.len() == right.len() && left.read_all()? == right.read_all()?
        }
        _ => false,
    })
}

fn check_table(target: &Target, entries: &[GptEntry]) -> Result<()> {
    let table = target.table()?.context("the disk does not hold the partition table that was written to it")?;
    let mut wanted = entries.to_vec();
    wanted.sort_by_key(|entry| entry.number);
    if table.entries != wanted || !table.problems.is_empty() {
        bail!("the disk does not hold the partition table that was written to it: {}", table.problems.join("; "));
    }
    Ok(())
}

/// Makes the disk one that has P3 alone.
pub fn install_persist(target: &Target, random_guids: bool) -> Result<()> {
    let mut table = recipes::persist_disk(target.size, target.sector)?;
    if random_guids {
        make_random(&mut table)?;
    }
    let layout = disk::layout(table)?;
    target.nuke()?;
    target.wipe_edges(entry(layout.entries(), P3)?)?;
    target.flush()?;
    layout.write_tables(&target.file)?;
    target.flush()?;
    check_table(target, layout.entries())
}

/// The files of a FAT volume.
pub fn read_volume(volume: &dyn ReadAt) -> Result<Tree> {
    fat_tree(&fat::Reader::open(volume)?, MOST, 0)
}

fn open(content: &Content) -> Result<File> {
    match content {
        Content::Path { path, .. } => File::open(path).with_context(|| format!("cannot open {}", path.display())),
        _ => bail!("internal error: rootfs.img is no file"),
    }
}

#[cfg(test)]
mod tests;
