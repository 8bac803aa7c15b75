//! A report as text: a summary line, then aligned tables. Text from the image is escaped for the terminal.

use super::{Contents, Folder, Partition, Report, Top};
use crate::{
    eve, fat,
    gpt::{GptEntry, MbrEntry, PROTECTIVE},
    verity::RootStatement,
};
use std::fmt;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.summary())?;
        if let Contents::Squashfs { verity: Some(RootStatement { version, verity, .. }), .. } = &self.contents {
            let (blocks, root) = (verity.data_blocks, verity.root_hash());
            writeln!(f, "root hash {root} of {blocks} blocks, signed as {} (the signature is not checked here)", version.escape_debug())?;
        }
        match &self.contents {
            Contents::Gpt { partitions, mbr, problems, notes, .. } => {
                write!(f, "\n{}\n{}", table(&partition_rows(partitions)), table(&mbr_rows(mbr)))?;
                notes.iter().try_for_each(|note| writeln!(f, "\nnote: {}", note.escape_debug()))?;
                problems.iter().try_for_each(|problem| writeln!(f, "\nproblem: {}", problem.escape_debug()))
            }
            Contents::Mbr { mbr } => write!(f, "\n{}", table(&mbr_rows(mbr))),
            Contents::Qcow2 { disk, .. } | Contents::Container { disk, .. } => write!(f, "{disk}"),
            Contents::Squashfs { folders, .. } if !folders.is_empty() => write!(f, "\n{}", table(&folder_rows(folders))),
            Contents::Ext { entries, .. } | Contents::Iso { entries, .. } if !entries.is_empty() => {
                write!(f, "\n{}", table(&top_rows(entries)))
            }
            Contents::Fat { entries, .. } if !entries.is_empty() => write!(f, "\n{}", table(&file_rows(entries))),
            _ => Ok(()),
        }
    }
}

impl Report {
    /// One line: format, size and the most important properties.
    #[must_use]
    pub fn summary(&self) -> String {
        let size = human(self.size);
        match &self.contents {
            Contents::Gpt { disk_guid, partitions, .. } => format!("GPT disk, {size}, {} partitions, {disk_guid}", partitions.len()),
            Contents::Mbr { mbr } => format!("MBR disk, {size}, {} partitions", mbr.len()),
            Contents::Qcow2 { version, cluster_size, compression, backing, disk } => {
                let compression = format!("{compression:?}").to_lowercase();
                let over = backing.as_ref().map(|name| format!(", on top of `{}`", name.escape_debug())).unwrap_or_default();
                let (clusters, holds) = (human(*cluster_size), human(disk.size));
                format!("qcow2 version {version}, {size}, clusters of {clusters}, {compression}, holds {holds}{over}")
            }
            Contents::Container { format, disk } => format!("{format}, {size}, holds {}", human(disk.size)),
            Contents::Unread { format, reason } => format!("{format}, {size}, not read: {reason}"),
            Contents::Fat { bits, label, volume_id, files, bytes, .. } => {
                let (bits, label) = (format!("{bits:?}").to_uppercase(), label.escape_debug());
                format!("{bits} `{label}` {volume_id}, {size}, {files} files, {}", human(*bytes))
            }
            Contents::Squashfs { compression, inodes, block_size, used, verity, .. } => {
                let verity = if verity.is_some() { ", dm-verity" } else { "" };
                format!("squashfs, {}, {compression}, blocks of {}, {inodes} inodes{verity}", human(*used), human(u64::from(*block_size)))
            }
            Contents::Ext { label, uuid, bytes, free, .. } => {
                format!("ext2/3/4 `{}` {uuid}, {}, {} free", label.escape_debug(), human(*bytes), human(*free))
            }
            Contents::Iso { label, bytes, uefi, .. } => {
                format!("ISO 9660 `{}`, {}{}", label.escape_debug(), human(*bytes), if *uefi { ", boots by UEFI" } else { "" })
            }
            Contents::Tar { entries, bytes } => format!("tar, {size}, {entries} entries, {}", human(*bytes)),
            Contents::Compressed { format } => format!("{format} compressed, {size}"),
            Contents::Broken { format, problem } => format!("broken {format}, {size}: {}", problem.escape_debug()),
            Contents::Blank => format!("blank, {size}"),
            Contents::Unknown => format!("unknown, {size}"),
        }
    }
}

/// The attributes' bits, and what they say of a slot.
fn attributes(entry: &GptEntry) -> String {
    let bits: Vec<String> = (0..64).filter(|bit| entry.attributes >> bit & 1 == 1).map(|bit| bit.to_string()).collect();
    let bits = if bits.is_empty() { "-".to_owned() } else { bits.join(",") };
    match eve::slot_state(entry.type_guid, entry.attributes) {
        Some(state) => format!("{bits} {state}"),
        None => bits,
    }
}

fn partition_rows(partitions: &[Partition]) -> Vec<Vec<String>> {
    let mut rows = vec![["no", "name", "start", "sectors", "size", "attributes", "type", "uuid", "content"].map(str::to_owned).to_vec()];
    rows.extend(partitions.iter().map(|Partition { entry, content }| {
        vec![
            entry.number.to_string(),
            entry.name.escape_debug().to_string(),
            entry.first_lba.to_string(),
            entry.last_lba.saturating_sub(entry.first_lba).saturating_add(1).to_string(),
            human(content.size),
            attributes(entry),
            entry.type_guid.to_string(),
            entry.uuid.to_string(),
            content.summary(),
        ]
    }));
    rows
}

fn mbr_rows(mbr: &[MbrEntry]) -> Vec<Vec<String>> {
    let mut rows = vec![["MBR", "boot", "start", "sectors", "type"].map(str::to_owned).to_vec()];
    rows.extend(mbr.iter().map(|record| {
        let kind = if record.kind == PROTECTIVE { " GPT" } else { "" };
        vec![
            record.number.to_string(),
            if record.bootable { "*" } else { "-" }.into(),
            record.first_lba.to_string(),
            record.sectors.to_string(),
            format!("0x{:02x}{kind}", record.kind),
        ]
    }));
    rows
}

fn file_rows(entries: &[fat::Entry]) -> Vec<Vec<String>> {
    rows_of_files(entries.iter().map(|entry| (&entry.path[..], entry.directory, u64::from(entry.size))))
}

fn top_rows(entries: &[Top]) -> Vec<Vec<String>> {
    rows_of_files(entries.iter().map(|entry| (&entry.name[..], entry.directory, entry.size)))
}

fn rows_of_files<'e>(entries: impl Iterator<Item = (&'e str, bool, u64)>) -> Vec<Vec<String>> {
    let row = |(path, directory, size): (&str, bool, u64)| {
        let path = path.escape_debug();
        if directory { vec!["-".into(), format!("{path}/")] } else { vec![size.to_string(), path.to_string()] }
    };
    std::iter::once(vec!["bytes".to_owned(), "file".to_owned()]).chain(entries.map(row)).collect()
}

fn folder_rows(folders: &[Folder]) -> Vec<Vec<String>> {
    let row = |folder: &Folder| vec![folder.bytes.to_string(), folder.files.to_string(), format!("/{}", folder.path.escape_debug())];
    std::iter::once(["bytes", "files", "folder"].map(str::to_owned).to_vec()).chain(folders.iter().map(row)).collect()
}

/// Aligned columns, numbers right-aligned. The first row is the header.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let is_number = |column: usize| {
        rows.iter().skip(1).all(|row| {
            row[column] == "-" || row[column].starts_with(|c: char| c.is_ascii_digit()) && !row[column].contains(['-', ',', 'x'])
        })
    };
    let numbers: Vec<bool> = (0..columns).map(is_number).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(
                |(column, cell)| {
                    if numbers[column] { format!("{cell:>0$}", widths[column]) } else { format!("{cell:<0$}", widths[column]) }
                },
            )
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Bytes in the largest unit that divides them, so that no digit is lost; otherwise rounded from 10 MiB on.
pub(super) fn human(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let whole = UNITS.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    match whole {
        Some((unit, name)) if bytes / unit < 10_000 => format!("{} {name}", bytes / unit),
        _ if bytes >= 10 << 20 => format!("{}.{} MiB", bytes >> 20, ((bytes % (1 << 20)) * 10) >> 20),
        _ => format!("{bytes} B"),
    }
}
