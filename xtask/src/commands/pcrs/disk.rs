//! The disk of `pcrs` as GRUB and the firmware see it: partitions by number, their files, and the partition table.

use anyhow::{Context as _, Result, bail};
use diskimage::{
    container,
    gpt::{self, Gpt},
    squashfs::EntryKind,
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
    volumes: BTreeMap<u32, Volume>,
}

impl ImageDisk {
    /// Opens the image in `file`.
    pub fn open(file: &Path) -> Result<Self> {
        let shown = file.display();
        let disk = container::open(file)?;
        let Some(table) = gpt::read(disk.as_ref())? else { bail!("`{shown}` is no disk with a GPT, so nothing can boot from it") };
        let mut volumes = BTreeMap::new();
        for number in table.entries.iter().map(|entry| entry.number).filter(|number| READ.contains(number)) {
            // A slot without a system is empty.
            if let Ok(volume) = open_file(file, Some(&number.to_string())) {
                volumes.insert(number, volume);
            }
        }
        Ok(Self { file: file.to_owned(), table, volumes })
    }

    /// Takes `rootfs`, a rootfs.img, for the content of the slot that the disk does not start first.
    pub fn put_into_free_slot(&mut self, rootfs: &Path) -> Result<()> {
        let state = self.read(1, "EFI/BOOT/grubenv")?.unwrap_or_default();
        let free = if String::from_utf8_lossy(&state).contains("\nORDER=B") { 2 } else { 3 };
        let volume = open_file(rootfs, None)?;
        self.volumes.insert(free, volume);
        Ok(())
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

    /// The list that `pkg/measure-config` makes of CONFIG; none without CONFIG.
    pub fn measured_config(&self) -> Result<Option<String>> {
        let Some(volume) = self.volumes.get(&CONFIG) else { return Ok(None) };
        let mut files = BTreeMap::new();
        for entry in volume.entries().iter().filter(|entry| entry.kind == EntryKind::File) {
            let path = String::from_utf8(entry.path.clone()).context("a name in CONFIG is not UTF-8")?;
            if !NOT_MEASURED.contains(&path.rsplit('/').next().unwrap_or_default()) {
                files.insert(format!("./{path}"), common::digest::sha256(&volume.read(entry, MOST)?));
            }
        }
        Ok(Some(files.into_iter().map(|(path, digest)| format!("{digest}  {path}\n")).collect()))
    }

    fn find(&self, partition: u32, path: &str) -> Result<Option<(&Volume, &diskimage::squashfs::Entry)>> {
        let Some(volume) = self.volumes.get(&partition) else { return Ok(None) };
        let found = volume.find(path.as_bytes()).ok().flatten();
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
        let Some(volume) = self.volumes.get(&partition) else { return Ok(None) };
        Ok(Some(match volume.format() {
            "squashfs" => "squash4",
            "ext4" => "ext2",
            "FAT" => "fat",
            other => bail!("GRUB's name of the file system {other} is not known here"),
        }))
    }
}
