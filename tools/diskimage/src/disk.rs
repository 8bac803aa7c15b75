//! A disk with a GUID partition table: one table of rows (MBR, GPT, blobs, partitions, backup GPT), one overlap check, one writer.

#[cfg(test)]
mod tests;

use crate::{
    fat,
    gpt::{self, GptEntry, Guid, MbrEntry, SECTOR},
    sparse::copy_content,
};
use anyhow::{Context as _, Result, bail};
use filetree::Content;
use std::{fs::File, os::unix::fs::FileExt as _};

/// What a partition holds.
#[derive(Clone, Debug)]
pub enum Source {
    /// Nothing: zeros.
    Empty,
    /// A ready image; shorter than the partition is fine, longer is an error with both numbers.
    Image(Content),
    /// A FAT volume, written straight into the disk.
    Fat(fat::Layout),
}

impl Source {
    /// Bytes of the content.
    fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Image(content) => content.len(),
            Self::Fat(layout) => layout.size(),
        }
    }
}

/// How large a partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// So many bytes, rounded up to whole MiB.
    Bytes(u64),
    /// All that is left up to the last usable sector; only the last partition may say so.
    Rest,
}

/// One partition. Partitions lie on the disk in the order of the table; their numbers may have gaps and any order.
#[derive(Clone, Debug)]
pub struct Part {
    /// Number, 1 to 128: the entry's place in the GPT.
    pub number: u32,
    /// Name, at most 36 UTF-16 units.
    pub name: String,
    /// Type.
    pub type_guid: Guid,
    /// Identity.
    pub uuid: Guid,
    /// Attribute bits, as the entry has them: bit 2 is legacy BIOS bootable.
    pub attributes: u64,
    /// Size.
    pub size: Size,
    /// Content.
    pub source: Source,
}

/// One record of a hybrid MBR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MbrRecord {
    /// Number of the partition that it repeats.
    pub number: u32,
    /// MBR type, such as 0x0c.
    pub kind: u8,
    /// Whether it is marked bootable.
    pub bootable: bool,
}

/// Bytes at a fixed place outside all partitions: GRUB's core image for BIOS, a board's boot blob.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Name in errors.
    pub name: String,
    /// Byte offset on the disk.
    pub offset: u64,
    /// Content.
    pub content: Content,
}

/// A disk as it is wanted.
#[derive(Clone, Debug)]
pub struct Table {
    /// Identity of the disk.
    pub disk_guid: Guid,
    /// Size of the whole disk in bytes, a multiple of 512.
    pub size: u64,
    /// Sector of the first partition: 2048.
    pub first_lba: u64,
    /// Partitions in the order in which they lie on the disk.
    pub parts: Vec<Part>,
    /// Records of a hybrid MBR, at most three, before the record of type 0xEE; none for a plain protective MBR.
    pub hybrid: Vec<MbrRecord>,
    /// Boot code for the first 446 bytes of the disk; empty for none.
    pub boot_code: Vec<u8>,
    /// Bytes outside of all partitions.
    pub blobs: Vec<Blob>,
}

/// A validated disk, ready to be written.
#[derive(Clone, Debug)]
pub struct Layout {
    size: u64,
    disk_guid: Guid,
    boot_code: Vec<u8>,
    entries: Vec<GptEntry>,
    records: Vec<MbrEntry>,
    contents: Vec<(String, u64, Source)>,
}

/// What lies on the disk from one byte to another: the overlap check knows nothing else.
#[derive(Clone, Debug)]
struct Row {
    name: String,
    start: u64,
    end: u64,
}

const MIB: u64 = 1 << 20;

/// Places every row and checks all of them: sizes, overlaps, numbers, names, contents that are too large.
pub fn layout(table: Table) -> Result<Layout> {
    let sectors = table.size / SECTOR;
    if !table.size.is_multiple_of(SECTOR) || sectors < 2 * gpt::first_usable() {
        bail!("a disk of {} bytes: it must be a multiple of {SECTOR} and hold two partition tables", table.size);
    }
    if table.boot_code.len() > 446 {
        bail!("the boot code has {} bytes, the MBR has room for 446", table.boot_code.len());
    }
    let entries = place(&table, sectors)?;
    check_identities(&entries)?;
    check_rows(rows(&table, &entries, sectors), table.size)?;
    let records = mbr_records(&table.hybrid, &entries, sectors)?;
    let blobs = table.blobs.into_iter().map(|blob| (blob.name, blob.offset, Source::Image(blob.content)));
    let parts = table.parts.into_iter().zip(&entries).map(|(part, entry)| (label(&part), entry.first_lba * SECTOR, part.source));
    let contents = blobs.chain(parts).collect();
    Ok(Layout { size: table.size, disk_guid: table.disk_guid, boot_code: table.boot_code, entries, records, contents })
}

fn label(part: &Part) -> String {
    format!("partition {} `{}`", part.number, part.name)
}

/// Gives every partition its sectors, in the order of the table.
fn place(table: &Table, sectors: u64) -> Result<Vec<GptEntry>> {
    let mut next = table.first_lba;
    let mut entries = Vec::new();
    for (index, part) in table.parts.iter().enumerate() {
        let units = part.name.encode_utf16().count();
        if !(1..=gpt::ENTRIES).contains(&part.number) || units > 36 || part.type_guid == Guid::default() {
            bail!("{}: its number must be 1 to {}, its name at most 36 units, its type not zero", label(part), gpt::ENTRIES);
        }
        let end = match part.size {
            Size::Bytes(bytes) => bytes
                .checked_next_multiple_of(MIB)
                .filter(|bytes| *bytes > 0)
                .and_then(|bytes| next.checked_add(bytes / SECTOR))
                .with_context(|| format!("{} cannot have {bytes} bytes", label(part)))?,
            Size::Rest if index + 1 == table.parts.len() => gpt::last_usable(sectors) + 1,
            Size::Rest => bail!("{} takes the rest of the disk, and is not the last", label(part)),
        };
        if end <= next {
            bail!("{} takes the rest of a disk of {} bytes, and nothing is left", label(part), table.size);
        }
        let (room, len) = ((end - next) * SECTOR, part.source.len());
        if len > room {
            bail!("the image for {} has {len} bytes, the partition {room}", label(part));
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
                bail!("two partitions cannot both be number {} or {}: `{}` and `{}`", entry.number, entry.uuid, other.name, entry.name);
            }
        }
    }
    Ok(())
}

/// Everything that takes place on the disk.
fn rows(table: &Table, entries: &[GptEntry], sectors: u64) -> Vec<Row> {
    let row = |name: &str, start: u64, end: u64| Row { name: name.to_owned(), start, end };
    let usable = gpt::last_usable(sectors) + 1;
    let mut rows = vec![
        row("the MBR", 0, SECTOR),
        row("the GPT", SECTOR, gpt::first_usable() * SECTOR),
        row("the backup GPT", usable * SECTOR, sectors * SECTOR),
    ];
    rows.extend(table.blobs.iter().map(|blob| row(&blob.name, blob.offset, blob.offset.saturating_add(blob.content.len()))));
    let parts = table.parts.iter().zip(entries);
    rows.extend(
        parts.map(|(part, entry)| row(&label(part), entry.first_lba.saturating_mul(SECTOR), (entry.last_lba + 1).saturating_mul(SECTOR))),
    );
    rows
}

fn check_rows(mut rows: Vec<Row>, size: u64) -> Result<()> {
    rows.sort_by_key(|row| (row.start, row.end));
    let needed = rows.iter().map(|row| row.end).max().unwrap_or(0);
    if needed > size {
        // The last partition has the backup table behind it.
        bail!("the disk is too small: its parts need {} bytes, it has {size}", needed.saturating_add((gpt::ENTRIES_SECTORS + 1) * SECTOR));
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

/// The MBR's records: those of the hybrid, and the one that keeps old tools from seeing free space. In a hybrid that one
/// covers only the GPT itself, as sgdisk makes it, because the records may not overlap.
fn mbr_records(hybrid: &[MbrRecord], entries: &[GptEntry], sectors: u64) -> Result<Vec<MbrEntry>> {
    if hybrid.len() > 3 {
        bail!("{} partitions for a hybrid MBR, it has room for 3", hybrid.len());
    }
    let mut records = Vec::new();
    for record in hybrid {
        let entry = entries.iter().find(|entry| entry.number == record.number);
        let entry = entry.with_context(|| format!("the hybrid MBR names partition {}, which the disk has not", record.number))?;
        let (Ok(first_lba), Ok(sectors)) = (u32::try_from(entry.first_lba), u32::try_from(entry.last_lba + 1 - entry.first_lba)) else {
            bail!("partition {} lies beyond the 2 TiB that an MBR can name", record.number);
        };
        records.push(MbrEntry { kind: record.kind, bootable: record.bootable, first_lba, sectors });
    }
    let covered = if hybrid.is_empty() { sectors } else { entries.iter().map(|entry| entry.first_lba).min().unwrap_or(sectors) };
    let sectors = u32::try_from(covered - 1).unwrap_or(u32::MAX);
    records.push(MbrEntry { kind: gpt::PROTECTIVE, bootable: false, first_lba: 1, sectors });
    Ok(records)
}

impl Layout {
    /// Bytes of the whole disk.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The partitions with their sectors, in the order in which they lie on the disk.
    #[must_use]
    pub fn entries(&self) -> &[GptEntry] {
        &self.entries
    }

    /// Writes the disk as the whole of `out`, sparse: what was there is cut away first. `out` is a regular file.
    pub fn write(&self, out: &File) -> Result<()> {
        out.set_len(0).context("cannot empty the disk image")?;
        out.set_len(self.size).with_context(|| format!("cannot make the disk image {} bytes long", self.size))?;
        let sectors = self.size / SECTOR;
        let table = gpt::encode_entries(&self.entries);
        let crc = gpt::crc32(&table);
        // The backup stands the other way round: entries, then the header in the last sector.
        let pieces: [(u64, &[u8]); 5] = [
            (0, &gpt::encode_mbr(&self.boot_code, &self.records)),
            (1, &gpt::encode_header(self.disk_guid, sectors, false, crc)),
            (2, &table),
            (gpt::last_usable(sectors) + 1, &table),
            (sectors - 1, &gpt::encode_header(self.disk_guid, sectors, true, crc)),
        ];
        for (lba, bytes) in pieces {
            out.write_all_at(bytes, lba * SECTOR).context("cannot write the partition table")?;
        }
        for (name, offset, source) in &self.contents {
            match source {
                Source::Empty => Ok(()),
                Source::Image(content) => copy_content(content, out, *offset),
                Source::Fat(layout) => layout.write_at(out, *offset),
            }
            .with_context(|| format!("cannot write {name}"))?;
        }
        Ok(())
    }
}
