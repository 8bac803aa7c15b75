//! EVE's images from their inputs, shared by xtask and the tool images: sizes, labels, serial numbers, placement of files, and
//! checks of the inputs. Other modules write the formats; callers provide temporary names, clock and environment.

mod config;
mod disk;
mod input;
mod installed;
mod installer;
mod net;
mod parts;
mod root;
#[cfg(test)]
mod tests;
mod usbconf;

pub use config::{config, config_for_disk, config_tree_of_tar, date, origin_name};
pub use disk::disk;
pub use input::{newest, read_tar};
pub use installed::{InstalledDisk, installed, persist_disk};
pub use installer::{IsoKind, iso};
pub use net::{NET_FILES, write_installer_net, write_iso_net, write_own_net};
pub use parts::Parts;
pub use root::{esp_of_rootfs, ext4_rootfs, pack_rootfs, pack_rootfs_with};
pub use usbconf::{USB_SIZE, UsbConf, usb_conf};

use crate::fat;

/// Size of config.img and of its partition in bytes: 1 MiB.
pub const CONFIG_SIZE: u64 = 1 << 20;
/// Label of the configuration volume and of EFI system partitions.
const LABEL: &str = "EVE";
// Serial numbers are fixed for reproducibility.
const CONFIG_VOLUME_ID: u32 = 0x4556_4543;
const ESP_VOLUME_ID: u32 = 0x4556_4545;
const INSTALLER_VOLUME_ID: u32 = 0x4556_4544;
const INVENTORY_VOLUME_ID: u32 = 0x4556_4549;
const ISO_BOOT_VOLUME_ID: u32 = 0x4556_4542;
const USB_VOLUME_ID: u32 = 0x4556_4555;

/// Settings common to all volumes. Times before 1970 become 1970.
fn volume(size: u64, label: &str, volume_id: u32, epoch: i64) -> fat::Options {
    fat::Options { size, sector: 512, label: label.to_owned(), volume_id, mtime: u32::try_from(epoch).unwrap_or(0), bits: fat::Bits::Auto }
}
