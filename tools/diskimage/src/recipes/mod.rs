//! EVE's images from their inputs: what is the same whether xtask makes them in its own process or a tool image does.
//! Here are the sizes, labels and serial numbers, which file goes where, and what is wrong with inputs. Formats are the
//! other modules' business; temporary names, clocks and the environment are the caller's.

mod config;
mod disk;
mod input;
mod installer;
mod net;
mod root;
#[cfg(test)]
mod tests;
mod usbconf;

pub use config::{config, config_tree_of_tar, date, origin_name};
pub use disk::{Parts, disk};
pub use input::{newest, read_tar};
pub use installer::{IsoKind, iso};
pub use net::{NET_FILES, write_installer_net, write_iso_net};
pub use root::{esp_of_rootfs, ext4_rootfs, pack_rootfs};
pub use usbconf::{USB_SIZE, UsbConf, usb_conf};

use crate::fat;

/// Size of config.img: one MiB, as large as its partition.
pub const CONFIG_SIZE: u64 = 1 << 20;
/// Label of the configuration and of the EFI system partition.
const LABEL: &str = "EVE";
// Serial numbers of volumes are pinned: nobody reads them, and a clock would make every image another one.
const CONFIG_VOLUME_ID: u32 = 0x4556_4543;
const ESP_VOLUME_ID: u32 = 0x4556_4545;
const INSTALLER_VOLUME_ID: u32 = 0x4556_4544;
const INVENTORY_VOLUME_ID: u32 = 0x4556_4549;
const ISO_BOOT_VOLUME_ID: u32 = 0x4556_4542;
const USB_VOLUME_ID: u32 = 0x4556_4555;

/// A volume with everything that is the same for all of them. A time before 1970 becomes that.
fn volume(size: u64, label: &str, volume_id: u32, epoch: i64) -> fat::Options {
    fat::Options { size, label: label.to_owned(), volume_id, mtime: u32::try_from(epoch).unwrap_or(0), bits: fat::Bits::Auto }
}
