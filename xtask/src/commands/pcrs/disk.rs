//! The disk of `pcrs` as GRUB and the firmware see it: partitions by number, their files, and the partition table.

use anyhow::{Context as _, Result, bail};
use diskimage::{
    ReadAt, container,
    gpt::{self, Gpt, GptEntry},
    squashfs::{Entry, EntryKind},
};
use imagefs::{Volume, open_file};
use measured_boot::{ExpectedEvent, grub::GrubDisk};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The largest file that is read: a kernel or an initrd.
const MOST: u64 = 512 << 20;
/// Partitions of EVE's disks that a boot reads: ESP, IMGA, IMGB, CONFIG.
const READ: [u32; 4] = [1, 2, 3, 4];
/// The slots.
const IMGA: u32 = 2;
const IMGB: u32 = 3;
/// CONFIG.
const CONFIG: u32 = 4;
/// Files of CONFIG that `pkg/measure-config` leaves out, because they differ from machine to machine.
const NOT_MEASURED: [&str; 6] =
    ["tpm_credential", "device.cert.pem", "device.key.pem", "onboard.cert.pem", "onboard.key.pem", "soft_serial"];

/// A disk image.
pub struct ImageDisk {
    file: PathBuf,
    table: Gpt,
    /// The partitions that are read, or why one cannot be.
    volumes: BTreeMap<u32, Result<Volume, String>>,
}

impl ImageDisk {
    /// Opens the image in `file`.
    pub fn open(file: &Path) -> Result<Self> {
        let shown = file.display();
        let disk = container::open(file)?;
        let Some(table) = gpt::read(disk.as_ref())? else { bail!("`{shown}` is no disk with a GPT, so nothing can boot from it") };
        let mut volumes = BTreeMap::new();
        for entry in table.entries.iter().filter(|entry| READ.contains(&entry.number)) {
            let number = entry.number;
            match open_file(file, Some(&number.to_string())) {
                // A slot without a system is empty. Of another one that is not read here nobody knows what GRUB finds in it.
                Err(_) if matches!(number, IMGA | IMGB) && is_empty(disk.as_ref(), entry, table.sector)? => {}
                volume => _ = volumes.insert(number, volume.map_err(|error| format!("{error:#}"))),
            }
        }
        Ok(Self { file: file.to_owned(), table, volumes })
    }

    /// Takes `rootfs`, a rootfs.img, for the content of the slot that the disk does not start first: `A` or `B`.
    pub fn put_into_free_slot(&mut self, rootfs: &Path) -> Result<char> {
        let state = self.read(1, "EFI/BOOT/grubenv")?.unwrap_or_default();
        let (slot, free) = if String::from_utf8_lossy(&state).contains("\nORDER=B") { ('A', IMGA) } else { ('B', IMGB) };
        let volume = open_file(rootfs, None)?;
        self.volumes.insert(free, Ok(volume));
        Ok(slot)
    }

    /// What PCR 5 gets of the partition table.
    pub fn table(&self) -> Result<ExpectedEvent> {
        let disk = container::open(&self.file)?;
        let read = |at: u64, size: usize| -> Result<Vec<u8>> {
            let mut bytes = vec![0; size];
            disk.read_at(&mut bytes, at)?;
            Ok(bytes)
        };
        measured_boot::gpt::table(&read).with_context(|| format!("`{}`", self.file.display()))
    }

    /// The list that `pkg/measure-config` makes of CONFIG.
    pub fn measured_config(&self) -> Result<String> {
        let volume = self.volume(CONFIG)?.context("the disk has no CONFIG, whose files are measured")?;
        let mut files = BTreeMap::new();
        for entry in volume.entries().iter().filter(|entry| entry.kind == EntryKind::File) {
            let path = String::from_utf8_lossy(&entry.path);
            check_name(&path)?;
            if !NOT_MEASURED.contains(&path.rsplit('/').next().unwrap_or_default()) {
                files.insert(format!("./{path}"), common::digest::sha256(&volume.read(entry, MOST)?));
            }
        }
        Ok(files.into_iter().map(|(path, digest)| format!("{digest}  {path}\n")).collect())
    }

    /// The file system of a partition; none if the disk has no such partition, or nothing is in it.
    fn volume(&self, partition: u32) -> Result<Option<&Volume>> {
        match self.volumes.get(&partition) {
            None => Ok(None),
            Some(Ok(volume)) => Ok(Some(volume)),
            Some(Err(error)) => bail!("partition {partition} cannot be read here, so nobody knows what GRUB reads in it: {error}"),
        }
    }

    fn find(&self, partition: u32, path: &str) -> Result<Option<(&Volume, &Entry)>> {
        let Some(volume) = self.volume(partition)? else { return Ok(None) };
        let found = if volume.format() == "FAT" {
            // Firmware and GRUB do not tell upper from lower case there.
            volume.entries().iter().find(|entry| entry.path.eq_ignore_ascii_case(path.as_bytes()))
        } else {
            volume.find(path.as_bytes())?
        };
        Ok(found.filter(|entry| entry.kind == EntryKind::File).map(|entry| (volume, entry)))
    }
}

impl GrubDisk for ImageDisk {
    fn read(&self, partition: u32, path: &str) -> Result<Option<Vec<u8>>> {
        self.find(partition, path)?.map(|(volume, entry)| volume.read(entry, MOST)).transpose()
    }

    fn has(&self, partition: u32, path: &str) -> Result<bool> {
        Ok(self.find(partition, path)?.is_some())
    }

    fn partition_guid(&self, partition: u32) -> Option<String> {
        let guid = |number: u32| self.table.entries.iter().find(|entry| entry.number == number).map(|entry| entry.uuid.to_string());
        // The first start makes IMGB. On our disks it has the GUID behind that of IMGA.
        let made = || guid(IMGA).and_then(|imga| imga.strip_suffix("52").map(|start| format!("{start}53"))).filter(|_| partition == IMGB);
        guid(partition).or_else(made)
    }

    fn file_system(&self, partition: u32) -> Result<Option<&'static str>> {
        let Some(volume) = self.volume(partition)? else { return Ok(None) };
        Ok(Some(match volume.format() {
            "squashfs" => "squash4",
            "ext4" => "ext2",
            "FAT" => "fat",
            other => bail!("GRUB's name of the file system {other} is not known here"),
        }))
    }
}

/// Refuses the name of a file in CONFIG of which the guest may make another one: `pkg/measure-config` hashes the names, too.
fn check_name(path: &str) -> Result<()> {
    // CONFIG is mounted with iocharset=iso8859-1.
    if !path.is_ascii() {
        bail!("CONFIG has the file `{}`: which bytes the running system makes of its name is not known here", path.escape_debug());
    }
    // `read -r` of a shell takes blanks from both ends; `./` stands before the first one.
    if path.ends_with([' ', '\t']) || path.contains(|letter: char| letter.is_ascii_control() || letter == '\\') {
        bail!("CONFIG has the file `{}`: its name is changed when pkg/measure-config reads it", path.escape_debug());
    }
    Ok(())
}

/// Whether all bytes of a partition are zero.
fn is_empty(disk: &dyn ReadAt, entry: &GptEntry, sector: u64) -> Result<bool> {
    let (mut at, end) = (entry.first_lba.saturating_mul(sector), entry.last_lba.saturating_add(1).saturating_mul(sector));
    let mut bytes = vec![0; 1 << 20];
    while at < end {
        let part = &mut bytes[..usize::try_from((end - at).min(1 << 20))?];
        disk.read_at(part, at)?;
        if part.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += part.len() as u64;
    }
    Ok(true)
}
