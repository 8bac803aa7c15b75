//! A disk with a GUID partition table: MBR, GPT, blobs, partitions and backup GPT are rows of one table with one overlap check.

mod parted;
#[cfg(test)]
mod tests;

pub use parted::PartedDisk;

use crate::{
    fat,
    gpt::{self, GptEntry, Guid, MbrEntry},
    sparse::{Meter, copy_content},
};
use anyhow::{Context as _, Result, bail};
use filetree::Content;
use std::{fs::File, os::unix::fs::FileExt as _, path::Path};

/// Content of a partition.
#[derive(Clone, Debug)]
pub enum Source {
    /// Zeros.
    Empty,
    /// An image file; it may be smaller than the partition.
    Image(Content),
    /// A FAT volume, written directly to the disk.
    Fat(fat::Layout),
}

impl Source {
    /// Size of the content in bytes.
    fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Image(content) => content.len(),
            Self::Fat(layout) => layout.size(),
        }
    }
}

/// Size of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Bytes, rounded up to whole MiB.
    Bytes(u64),
    /// Up to the last usable sector; only for the last partition.
    Rest,
}

/// A partition. Partitions are placed in table order; numbers may have gaps and any order.
#[derive(Clone, Debug)]
pub struct Part {
    /// Number, 1 to 128: its entry in the GPT.
    pub number: u32,
    /// Name, at most 36 UTF-16 code units.
    pub name: String,
    /// Partition type GUID.
    pub type_guid: Guid,
    /// Unique partition GUID (PARTUUID).
    pub uuid: Guid,
    /// Attribute bits; bit 2 is legacy BIOS bootable.
    pub attributes: u64,
    /// Size.
    pub size: Size,
    /// Content.
    pub source: Source,
}

/// A record of a hybrid MBR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MbrRecord {
    /// Number of the GPT partition.
    pub number: u32,
    /// MBR type, such as 0x0c.
    pub kind: u8,
    /// Whether its boot flag is set.
    pub bootable: bool,
}

/// Bytes at a fixed offset outside all partitions: GRUB's core image for BIOS, or a board's boot blob.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Name in error messages.
    pub name: String,
    /// Byte offset on the disk.
    pub offset: u64,
    /// Content.
    pub content: Content,
}

/// Description of a disk.
#[derive(Clone, Debug)]
pub struct Table {
    /// GUID of the disk.
    pub disk_guid: Guid,
    /// Size of a sector in bytes: 512 or 4096.
    pub sector: u64,
    /// Size of the whole disk in bytes, a multiple of the sector's.
    pub size: u64,
    /// First sector of the first partition; usually 1 MiB.
    pub first_lba: u64,
    /// Partitions in disk order.
    pub parts: Vec<Part>,
    /// Records of a hybrid MBR, at most three, placed before the record of type 0xEE; empty for a protective MBR.
    pub hybrid: Vec<MbrRecord>,
    /// Boot code of the MBR, at most 446 bytes; may be empty.
    pub boot_code: Vec<u8>,
    /// Blobs outside all partitions.
    pub blobs: Vec<Blob>,
}

impl Table {
    /// The same partitions on a disk with sectors of `sector` bytes.
    #[must_use]
    pub fn with_sector(self, sector: u64) -> Self {
        let first_lba = self.first_lba * self.sector / sector.max(1);
        Self { sector, first_lba, ..self }
    }
}

/// A validated disk.
#[derive(Clone, Debug)]
pub struct Layout {
    sector: u64,
    size: u64,
    disk_guid: Guid,
    boot_code: Vec<u8>,
    entries: Vec<GptEntry>,
    records: Vec<MbrEntry>,
    contents: Vec<Piece>,
}

/// Content at its place on the disk.
#[derive(Clone, Debug)]
struct Piece {
    name: String,
    /// The partition's number, 0 for a blob.
    number: u32,
    offset: u64,
    source: Source,
}

/// An area of the disk, for the overlap check.
#[derive(Clone, Debug)]
struct Row {
    name: String,
    start: u64,
    end: u64,
}

const MIB: u64 = 1 << 20;

/// Places all rows and checks sizes, overlaps, numbers, names and content sizes.
pub fn layout(table: Table) -> Result<Layout> {
    let sector = table.sector;
    if !gpt::SECTORS.contains(&sector) {
        bail!("invalid sectors of {sector} bytes: a disk's have 512 or 4096");
    }
    let sectors = table.size / sector;
    if !table.size.is_multiple_of(sector) || sectors < 2 * gpt::first_usable(sector) {
        bail!("invalid disk size of {} bytes: it must be a multiple of {sector} with room for two partition tables", table.size);
    }
    if table.boot_code.len() > 446 {
        bail!("the boot code has {} bytes, more than the 446 of an MBR", table.boot_code.len());
    }
    let entries = place(&table, sectors)?;
    check_identities(&entries)?;
    check_rows(rows(&table, &entries, sectors), &table)?;
    let records = mbr_records(&table.hybrid, &entries, sectors)?;
    let blobs =
        table.blobs.into_iter().map(|blob| Piece { name: blob.name, number: 0, offset: blob.offset, source: Source::Image(blob.content) });
    let parts = table.parts.into_iter().zip(&entries).map(|(part, entry)| Piece {
        name: label(&part),
        number: part.number,
        offset: entry.first_lba * sector,
        source: part.source,
    });
    let contents = blobs.chain(parts).collect();
    Ok(Layout { sector, size: table.size, disk_guid: table.disk_guid, boot_code: table.boot_code, entries, records, contents })
}

fn label(part: &Part) -> String {
    format!("partition {} `{}`", part.number, part.name)
}

/// Assigns sectors to the partitions, in table order.
fn place(table: &Table, sectors: u64) -> Result<Vec<GptEntry>> {
    let mut next = table.first_lba;
    let mut entries = Vec::new();
    for (index, part) in table.parts.iter().enumerate() {
        let units = part.name.encode_utf16().count();
        if !(1..=gpt::ENTRIES).contains(&part.number) || units > 36 || part.type_guid == Guid::default() {
            bail!(
                "invalid {}: the number must be 1 to {}, the name at most 36 UTF-16 code units, the type not zero",
                label(part),
                gpt::ENTRIES
            );
        }
        let end = match part.size {
            Size::Bytes(bytes) => bytes
                .checked_next_multiple_of(MIB)
                .filter(|bytes| *bytes > 0)
                .and_then(|bytes| next.checked_add(bytes / table.sector))
                .with_context(|| format!("invalid size of {}: {bytes} bytes", label(part)))?,
            Size::Rest if index + 1 == table.parts.len() => gpt::last_usable(table.sector, sectors) + 1,
            Size::Rest => bail!("{} takes the rest of the disk, but is not the last partition", label(part)),
        };
        if end <= next {
            bail!("no space is left for {} on the disk of {} bytes", label(part), table.size);
        }
        let (room, len) = ((end - next) * table.sector, part.source.len());
        if len > room {
            bail!("the image for {} has {len} bytes, more than the partition's {room}", label(part));
        }
        entries.push(GptEntry {
            number: part.number,
            name: part.name.clone(),
            type_guid: part.type_guid,
            uuid: part.uuid,
            first_lba: next,
            last_lba: end - 1,
            attributes: part.attributes,
        });
        next = end;
    }
    Ok(entries)
}

fn check_identities(entries: &[GptEntry]) -> Result<()> {
    for (index, entry) in entries.iter().enumerate() {
        for other in &entries[..index] {
            if entry.number == other.number || entry.uuid == other.uuid {
                bail!("two partitions have the number {} or the GUID {}: `{}` and `{}`", entry.number, entry.uuid, other.name, entry.name);
            }
        }
    }
    Ok(())
}

/// All areas in use.
fn rows(table: &Table, entries: &[GptEntry], sectors: u64) -> Vec<Row> {
    let row = |name: &str, start: u64, end: u64| Row { name: name.to_owned(), start, end };
    let sector = table.sector;
    let usable = gpt::last_usable(sector, sectors) + 1;
    let mut rows = vec![
        row("the MBR", 0, sector),
        row("the GPT", sector, gpt::first_usable(sector) * sector),
        row("the backup GPT", usable * sector, sectors * sector),
    ];
    rows.extend(table.blobs.iter().map(|blob| row(&blob.name, blob.offset, blob.offset.saturating_add(blob.content.len()))));
    let parts = table.parts.iter().zip(entries);
    rows.extend(
        parts.map(|(part, entry)| row(&label(part), entry.first_lba.saturating_mul(sector), (entry.last_lba + 1).saturating_mul(sector))),
    );
    rows
}

fn check_rows(mut rows: Vec<Row>, table: &Table) -> Result<()> {
    let size = table.size;
    rows.sort_by_key(|row| (row.start, row.end));
    let needed = rows.iter().map(|row| row.end).max().unwrap_or(0);
    if needed > size {
        // The backup GPT follows the last partition.
        bail!(
            "the disk is too small: it has {size} bytes and needs {}",
            needed.saturating_add((gpt::entries_sectors(table.sector) + 1) * table.sector)
        );
    }
    for pair in rows.windows(2) {
        if pair[0].end > pair[1].start {
            let (a, b) = (&pair[0], &pair[1]);
            bail!(
                "{} (bytes {} to {}) and {} (bytes {} to {}) overlap on a disk of {size} bytes",
                a.name,
                a.start,
                a.end,
                b.name,
                b.start,
                b.end
            );
        }
    }
    Ok(())
}

/// Records of the MBR: those of the hybrid MBR, and a protective one that hides the disk from old tools. In a hybrid MBR the
/// protective record covers only the GPT, as in sgdisk, because records must not overlap.
fn mbr_records(hybrid: &[MbrRecord], entries: &[GptEntry], sectors: u64) -> Result<Vec<MbrEntry>> {
    if hybrid.len() > 3 {
        bail!("{} partitions for a hybrid MBR, which has room for 3", hybrid.len());
    }
    let mut records = Vec::new();
    for (number, record) in (1..).zip(hybrid) {
        let entry = entries.iter().find(|entry| entry.number == record.number);
        let entry = entry.with_context(|| format!("the hybrid MBR refers to partition {}, which does not exist", record.number))?;
        let (Ok(first_lba), Ok(sectors)) = (u32::try_from(entry.first_lba), u32::try_from(entry.last_lba + 1 - entry.first_lba)) else {
            bail!("partition {} exceeds the 2 TiB limit of an MBR", record.number);
        };
        records.push(MbrEntry { number, kind: record.kind, bootable: record.bootable, first_lba, sectors });
    }
    let covered = if hybrid.is_empty() { sectors } else { entries.iter().map(|entry| entry.first_lba).min().unwrap_or(sectors) };
    let sectors = u32::try_from(covered - 1).unwrap_or(u32::MAX);
    let number = u32::try_from(records.len() + 1)?;
    records.push(MbrEntry { number, kind: gpt::PROTECTIVE, bootable: false, first_lba: 1, sectors });
    Ok(records)
}

impl Piece {
    /// The file that it is, and its number of bytes.
    fn file(&self) -> Option<(&Path, u64)> {
        match &self.source {
            Source::Image(Content::Path { path, len }) => Some((path, *len)),
            _ => None,
        }
    }

    fn write(&self, out: &File, meter: &Meter<'_>) -> Result<()> {
        match &self.source {
            Source::Empty => Ok(()),
            Source::Image(content) => copy_content(content, out, self.offset, meter),
            Source::Fat(layout) => layout.write_at(out, self.offset).map(|()| meter.add(layout.size())),
        }
        .with_context(|| format!("cannot write {}", self.name))
    }
}

impl Layout {
    /// Size of the disk in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Partitions with their sectors, in disk order.
    #[must_use]
    pub fn entries(&self) -> &[GptEntry] {
        &self.entries
    }

    /// Size of a sector in bytes.
    #[must_use]
    pub fn sector(&self) -> u64 {
        self.sector
    }

    /// The files that become parts of the disk as they are: path, number of bytes, and offset on the disk.
    pub fn files(&self) -> impl Iterator<Item = (&Path, u64, u64)> {
        self.contents.iter().filter_map(|piece| piece.file().map(|(path, len)| (path, len, piece.offset)))
    }

    /// Writes the disk to the regular file `out`, sparse; overwrites all old content.
    pub fn write(&self, out: &File) -> Result<()> {
        self.write_with(&|_, _| {}, out)
    }

    /// The same; `progress` gets the bytes of contents that are written, and those of all contents.
    pub fn write_with(&self, progress: &dyn Fn(u64, u64), out: &File) -> Result<()> {
        self.write_some(&|_| true, progress, out)
    }

    /// The same disk without a copy of its [`files`](Self::files). `rest`, an empty file, gets everything else.
    pub fn write_parted(&self, rest: File) -> Result<PartedDisk> {
        self.write_some(&|piece| piece.file().is_none(), &|_, _| {}, &rest)?;
        PartedDisk::new(rest, self.size, self.files())
    }

    fn write_some(&self, is_written: &dyn Fn(&Piece) -> bool, progress: &dyn Fn(u64, u64), out: &File) -> Result<()> {
        out.set_len(0).context("cannot empty the disk image")?;
        out.set_len(self.size).with_context(|| format!("cannot set the size of the disk image to {} bytes", self.size))?;
        let meter = Meter::new(self.contents.iter().map(|piece| piece.source.len()).sum(), progress);
        self.contents.iter().filter(|piece| is_written(piece)).try_for_each(|piece| piece.write(out, &meter))?;
        self.write_tables(out)
    }

    /// Writes the content of the partition with this number. Where an image has holes and a volume has no files, zeros must be there.
    pub fn write_partition(&self, number: u32, out: &File) -> Result<()> {
        let nobody = Meter::new(0, &|_, _| {});
        self.contents.iter().filter(|piece| piece.number == number).try_for_each(|piece| piece.write(out, &nobody))
    }

    /// Writes the partition tables: the backup first and the MBR last.
    pub fn write_tables(&self, out: &File) -> Result<()> {
        let sectors = self.size / self.sector;
        let table = gpt::encode_entries(&self.entries);
        let crc = gpt::crc32(&table);
        let header = |backup| gpt::encode_header(self.disk_guid, self.sector, sectors, backup, crc);
        // In the backup, the entries come before the header, which is in the last sector.
        let pieces: [(u64, &[u8]); 5] = [
            (gpt::last_usable(self.sector, sectors) + 1, &table),
            (sectors - 1, &header(true)),
            (2, &table),
            (1, &header(false)),
            (0, &gpt::encode_mbr(&self.boot_code, &self.records)),
        ];
        for (lba, bytes) in pieces {
            out.write_all_at(bytes, lba * self.sector).context("cannot write the partition table")?;
        }
        Ok(())
    }
}
