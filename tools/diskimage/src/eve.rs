//! EVE's disks as data: the partition kinds of lf-edge/eve's make-raw, and the partition lists of live and installer images.
//!
//! ```text
//! live.raw (efi conf imga), 350 MiB             installer.raw (conf_win installer inventory_win), 350 MiB
//! sector                                        sector
//!      0  MBR   1 ESP 0x0c boot · 2 EE               0  MBR   1 ESP 0x0c boot · 4, 5 0x07 · EE
//!      1  GPT                                        1  GPT
//!     34  (GRUB's core for BIOS, if any)            34  (GRUB's core for BIOS, if any)
//!   2048  1 EFI System    36 MiB FAT32            2048  4 CONFIG         1 MiB FAT12
//!  75776  4 CONFIG         1 MiB FAT12            4096  1 EFI System   300 MiB FAT32
//!  77824  2 IMGA         300 MiB squashfs       618496  5 INVENTORY     40 MiB FAT32
//! 692224  free                                  700416  free
//! 716767  backup GPT                            716767  backup GPT
//!
//! installer.raw of a composed installer         a disk that it installed, as a live disk after its first boot
//! (efi imga conf_win inventory_win), 380 MiB    MiB
//! MiB                                              0  MBR, GPT
//!   0  MBR, GPT                                    1  1 EFI System    36 MiB FAT
//!   1  1 EFI System    36 MiB FAT32               37  4 CONFIG         1 MiB FAT12
//!  37  2 IMGA         300 MiB squashfs            38  2 IMGA         300 MiB
//! 337  4 CONFIG         1 MiB FAT12              338  3 IMGB         300 MiB
//! 338  5 INVENTORY     40 MiB FAT32              638  9 P3           up to the end
//! ```
//! The guest of a live disk creates the others (3 IMGB, 9 P3) at first boot.

use crate::{
    disk::{Blob, MbrRecord, Part, Size, Source, Table},
    gpt::{self, Guid, SECTOR},
};
use anyhow::{Context as _, Result, bail};
use filetree::Content;
use std::str::FromStr;

/// Partition kinds, with make-raw's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `efi`: EFI system partition.
    Efi,
    /// `imga`: first root file system.
    Imga,
    /// `imgb`: second root file system, initially empty.
    Imgb,
    /// `conf`: configuration.
    Conf,
    /// `conf_win`: configuration with a type that Windows mounts.
    ConfWin,
    /// `persist`: P3, up to the end of the disk.
    Persist,
    /// `installer`: EFI system partition with all files of the installer.
    Installer,
    /// `verification`: the same for the verification image.
    Verification,
    /// `inventory_win`: partition for the installer's report.
    InventoryWin,
    /// `usb_conf`: a device's port configuration; the only partition of a USB stick.
    UsbConf,
}

/// Partitions of `live.raw`, in make-raw's order.
pub const LIVE: &[Kind] = &[Kind::Efi, Kind::Conf, Kind::Imga];
/// Partitions of `installer.raw`, in make-raw's order.
pub const INSTALLER: &[Kind] = &[Kind::ConfWin, Kind::Installer, Kind::InventoryWin];
/// Partitions of `verification.raw`, in make-raw's order.
pub const VERIFICATION: &[Kind] = &[Kind::ConfWin, Kind::Verification, Kind::InventoryWin];
/// Partitions of an installed disk, in make-raw's order.
pub const INSTALLED: &[Kind] = &[Kind::Efi, Kind::Imga, Kind::Imgb, Kind::Conf, Kind::Persist];
/// Partitions of a disk that our installer wrote: those of a live disk after its first boot, in the same places.
pub const TARGET: &[Kind] = &[Kind::Efi, Kind::Conf, Kind::Imga, Kind::Imgb, Kind::Persist];

/// Size of live.raw and installer.raw in bytes: 350 MiB. `MEDIA_SIZE` applies later, when the image is converted or resized.
pub const DISK_SIZE: u64 = 350 << 20;
/// Size of verification.raw in bytes: 650 MiB.
pub const VERIFICATION_DISK_SIZE: u64 = 650 << 20;

const DISK: Guid = Guid(0xad6871ee_31f9_4cf3_9e09_6f7a25c30050);
const ESP: Guid = Guid(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);
/// Type of root file systems; GRUB's gptprio considers only this type.
const ROOTFS: Guid = Guid(0x5dfbf5f4_2848_4bac_aa5e_0d9a20b745a6);
const CONFIG: Guid = Guid(0x13307e62_cd9c_4920_8f9b_91b45828b798);
const PERSIST: Guid = Guid(0x5f24425a_2dfa_11e8_a270_7b663faccc2c);
const BASIC_DATA: Guid = Guid(0xebd0a0a2_b9e5_4433_87c0_68b6b72699c7);

/// What an installation medium that has a root file system in IMGA adds to the GUIDs of disk, ESP and IMGA: the disk that it installs has
/// the same partitions, and both are in one machine.
const OF_MEDIUM: u128 = 0x50;

/// Row of a partition kind. Size 0 takes the rest of the disk.
struct Spec {
    kind: Kind,
    word: &'static str,
    number: u32,
    name: &'static str,
    type_guid: Guid,
    /// Last byte of the PARTUUID; 0x50 is the disk's.
    uuid: u128,
    attributes: u64,
    size: u64,
}

const BIOS_BOOTABLE: u64 = 1 << 2;
/// gptprio: priority 2 (bits 48 to 51), successful boot (bit 56).
const ACTIVE: u64 = 1 << 49 | 1 << 56;
const MIB: u64 = 1 << 20;

// make-raw gives partitions of installation media random GUIDs. Here they are fixed, and differ from those of an installed
// disk, because both may be in one machine.
#[rustfmt::skip]
const SPECS: [Spec; 10] = [
    Spec { kind: Kind::Efi,          word: "efi",           number: 1, name: "EFI System",       type_guid: ESP,        uuid: 0x51, attributes: BIOS_BOOTABLE, size: 36 * MIB },
    Spec { kind: Kind::Imga,         word: "imga",          number: 2, name: "IMGA",             type_guid: ROOTFS,     uuid: 0x52, attributes: ACTIVE,        size: 300 * MIB },
    Spec { kind: Kind::Imgb,         word: "imgb",          number: 3, name: "IMGB",             type_guid: ROOTFS,     uuid: 0x53, attributes: 0,             size: 300 * MIB },
    Spec { kind: Kind::Conf,         word: "conf",          number: 4, name: "CONFIG",           type_guid: CONFIG,     uuid: 0x54, attributes: 0,             size: MIB },
    Spec { kind: Kind::ConfWin,      word: "conf_win",      number: 4, name: "CONFIG",           type_guid: BASIC_DATA, uuid: 0xa4, attributes: 0,             size: MIB },
    Spec { kind: Kind::Persist,      word: "persist",       number: 9, name: "P3",               type_guid: PERSIST,    uuid: 0x59, attributes: 0,             size: 0 },
    Spec { kind: Kind::Installer,    word: "installer",     number: 1, name: "EFI System",       type_guid: ESP,        uuid: 0xa1, attributes: BIOS_BOOTABLE, size: 300 * MIB },
    Spec { kind: Kind::Verification, word: "verification",  number: 1, name: "EFI System",       type_guid: ESP,        uuid: 0xb1, attributes: BIOS_BOOTABLE, size: 600 * MIB },
    Spec { kind: Kind::InventoryWin, word: "inventory_win", number: 5, name: "INVENTORY",        type_guid: BASIC_DATA, uuid: 0xa5, attributes: 0,             size: 40 * MIB },
    Spec { kind: Kind::UsbConf,      word: "usb_conf",      number: 1, name: "DevicePortConfig", type_guid: BASIC_DATA, uuid: 0xc1, attributes: 0,             size: 0 },
];

/// zboot's word for the state of a slot, from the attributes of its partition. None for other partitions, and for other values.
#[must_use]
pub fn slot_state(type_guid: Guid, attributes: u64) -> Option<&'static str> {
    if type_guid != ROOTFS {
        return None;
    }
    // Priority, tries, successful; the bits above belong to nobody.
    match attributes >> 48 & 0x1ff {
        0x102 => Some("active"),
        0x013 | 0x023 | 0x033 => Some("updating"),
        0x003 => Some("inprogress"),
        0 => Some("unused"),
        _ => None,
    }
}

impl Kind {
    fn spec(self) -> &'static Spec {
        SPECS.iter().find(|spec| spec.kind == self).expect("every kind has its row")
    }

    /// make-raw's name.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.spec().word
    }

    /// Size in bytes of the partition, and of a FAT volume for it, on a disk of `disk_size` bytes. For a kind that takes the
    /// rest it is only right if the partition is alone on the disk.
    #[must_use]
    pub fn size(self, disk_size: u64) -> u64 {
        match self.spec().size {
            0 => (disk_size / SECTOR).saturating_sub(FIRST_LBA + gpt::ENTRIES_SECTORS + 1) * SECTOR,
            size => size,
        }
    }
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let words = SPECS.map(|spec| spec.word).join(", ");
        let spec = SPECS.iter().find(|spec| spec.word == text);
        Ok(spec.with_context(|| format!("unknown partition kind `{text}`: expected one of {words}"))?.kind)
    }
}

/// First sector of the first partition.
const FIRST_LBA: u64 = 2048;

/// Table of a disk of `size` bytes with the partitions `kinds`, in order, each with its content.
pub fn table(kinds: Vec<(Kind, Source)>, size: u64) -> Result<Table> {
    if kinds.len() > 1 && kinds.iter().any(|(kind, _)| *kind == Kind::UsbConf) {
        bail!("a usb_conf partition must be the only one on its disk");
    }
    let hybrid = hybrid(&kinds.iter().map(|(kind, _)| *kind).collect::<Vec<_>>());
    let has = |wanted| kinds.iter().any(|(kind, _)| *kind == wanted);
    let of_medium = if has(Kind::ConfWin) && has(Kind::Imga) { OF_MEDIUM } else { 0 };
    let disk_guid = Guid(DISK.0 + of_medium);
    let parts = kinds.into_iter().map(|(kind, source)| {
        let spec = kind.spec();
        let of_medium = if matches!(kind, Kind::Efi | Kind::Imga) { of_medium } else { 0 };
        Part {
            number: spec.number,
            name: spec.name.to_owned(),
            type_guid: spec.type_guid,
            uuid: Guid((DISK.0 & !0xff | spec.uuid) + of_medium),
            attributes: spec.attributes,
            size: if spec.size == 0 { Size::Rest } else { Size::Bytes(spec.size) },
            source,
        }
    });
    let parts = parts.collect();
    Ok(Table { disk_guid, sector: SECTOR, size, first_lba: FIRST_LBA, parts, hybrid, boot_code: Vec::new(), blobs: Vec::new() })
}

/// Hybrid MBR: the ESP first, bootable, with a type that BIOSes and boards know; an inventory adds itself and the
/// configuration.
fn hybrid(kinds: &[Kind]) -> Vec<MbrRecord> {
    const FAT32_LBA: u8 = 0x0c;
    const WINDOWS_DATA: u8 = 0x07;
    let mut records = Vec::new();
    for kind in kinds {
        match kind {
            Kind::Efi | Kind::Installer | Kind::Verification => records.push(MbrRecord { number: 1, kind: FAT32_LBA, bootable: true }),
            Kind::InventoryWin => {
                let known = |number: &u32| kinds.iter().any(|kind| kind.spec().number == *number);
                let numbers = [4, 5].into_iter().filter(known);
                records.extend(numbers.map(|number| MbrRecord { number, kind: WINDOWS_DATA, bootable: false }));
            }
            _ => {}
        }
    }
    records
}

/// Adds GRUB for BIOS: `boot` (boot.img) in the MBR, and `core` (the core image) after the GPT, with the sector numbers that
/// GRUB's boot.S and diskboot.S need.
pub fn add_bios_grub(table: &mut Table, boot: &[u8], core: &[u8]) -> Result<()> {
    const CORE_LBA: u64 = 34;
    // Offset in boot.img of the core's first sector, and offset in the core's first sector of its second sector.
    const KERNEL_SECTOR: usize = 92;
    const BLOCKLIST_START: usize = 500;
    if boot.len() < 446 || core.len() < 512 {
        bail!("GRUB for BIOS: boot.img has {} bytes and the core image {}, less than the required 446 and 512", boot.len(), core.len());
    }
    let (mut boot, mut core) = (boot[..446].to_vec(), core.to_vec());
    boot[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&CORE_LBA.to_le_bytes());
    core[BLOCKLIST_START..BLOCKLIST_START + 8].copy_from_slice(&(CORE_LBA + 1).to_le_bytes());
    table.boot_code = boot;
    table.blobs.push(Blob { name: "GRUB's core image for BIOS".into(), offset: CORE_LBA * SECTOR, content: Content::from(core) });
    Ok(())
}

/// Adds the boot blob of an i.MX8 board at `offset_kib` KiB (32 on most boards), and places partitions after the 8 MiB reserved
/// for the blob.
pub fn add_imx8_blob(table: &mut Table, content: Content, offset_kib: u64) {
    const RESERVED: u64 = 8 * MIB;
    table.first_lba = RESERVED / SECTOR;
    table.blobs.push(Blob { name: "the i.MX8 boot blob".into(), offset: offset_kib.saturating_mul(1024), content });
}
