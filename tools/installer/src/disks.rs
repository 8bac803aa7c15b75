//! The disks of the machine, from /sys and /proc, and the choice of the one to install on.

use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The kernel's name: `sda`.
    pub name: String,
    /// Its size in bytes; 0 without a medium.
    pub size: u64,
    /// The size of its sectors in bytes.
    pub sector: u32,
    /// Whether it cannot be written.
    pub read_only: bool,
    /// Where it or one of its partitions is mounted.
    pub mounted: Vec<String>,
    /// How it is connected.
    pub bus: Bus,
    /// Its partitions: number, kernel's name and name in the partition table.
    pub partitions: Vec<(u32, String, String)>,
}

/// How a disk is connected. The first kinds are preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bus {
    /// NVMe.
    Nvme,
    /// SATA, SAS, virtio, MMC …
    Inside,
    /// USB: rather a stick.
    Usb,
}

/// Where the medium is mounted if the root file system is a file on it.
pub const MEDIUM: &str = "/medium";

impl Disk {
    /// The device of the machine below the root folder `root` (`/`).
    #[must_use]
    pub fn device(&self, root: &Path) -> PathBuf {
        root.join("dev").join(&self.name)
    }

    /// Whether the installer runs from it.
    #[must_use]
    pub fn is_medium(&self) -> bool {
        self.mounted.iter().any(|point| point == "/" || point == MEDIUM)
    }

    /// Why nothing may be written to it; none if it may.
    #[must_use]
    pub fn refusal(&self, least: u64) -> Option<String> {
        if self.is_medium() {
            return Some("it is the medium of this installer".to_owned());
        }
        if !self.mounted.is_empty() {
            return Some(format!("it is mounted at {}", self.mounted.join(" and ")));
        }
        if self.read_only {
            return Some("it is read-only".to_owned());
        }
        if ![512, 4096].contains(&self.sector) {
            return Some(format!("it has sectors of {} bytes", self.sector));
        }
        (self.size < least).then(|| format!("it has {} MiB, less than the needed {}", self.size >> 20, least.div_ceil(1 << 20)))
    }
}

/// The disks below the root folder `root` (`/`), the preferred first. Loops, disks in memory and drives without a medium are left out.
pub fn survey(root: &Path) -> Result<Vec<Disk>> {
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).context("cannot read the mounts")?;
    let mut disks = Vec::new();
    for entry in fs::read_dir(root.join("sys/block")).context("cannot list the disks")? {
        let entry = entry?;
        let target = fs::canonicalize(entry.path())?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let path = target.to_string_lossy();
        // A drive with several paths is one disk below nvme-subsystem; its paths are hidden and have no device file.
        let is_virtual = path.contains("/virtual/") && !path.contains("/virtual/nvme-subsystem/");
        let is_hidden = fs::read_to_string(target.join("hidden")).is_ok_and(|text| text.trim() == "1");
        if is_virtual || is_hidden || name.starts_with("fd") || (name.starts_with("mmcblk") && name.contains("boot")) {
            continue;
        }
        let disk = look(&target, name, &mounts)?;
        if disk.size > 0 {
            disks.push(disk);
        }
    }
    // `sda` before `sdaa`.
    disks.sort_by(|a, b| (a.bus, a.name.len(), &a.name).cmp(&(b.bus, b.name.len(), &b.name)));
    Ok(disks)
}

/// Reads the facts of the disk at `path` in /sys.
fn look(path: &Path, name: String, mounts: &str) -> Result<Disk> {
    let text = |file: &str| fs::read_to_string(path.join(file)).map(|text| text.trim().to_owned());
    let number = |file: &str| -> Result<u64> {
        let text = text(file).with_context(|| format!("cannot read {file} of {name}"))?;
        text.parse().with_context(|| format!("{file} of {name} is no number: {text}"))
    };
    let mut partitions = Vec::new();
    let mut devices = vec![text("dev").unwrap_or_default()];
    devices.extend(holders(path));
    for entry in fs::read_dir(path)?.filter_map(Result::ok) {
        let own = entry.path();
        let Ok(part) = fs::read_to_string(own.join("partition")) else { continue };
        devices.push(fs::read_to_string(own.join("dev")).unwrap_or_default().trim().to_owned());
        devices.extend(holders(&own));
        let uevent = fs::read_to_string(own.join("uevent")).unwrap_or_default();
        let label = uevent.lines().find_map(|line| line.strip_prefix("PARTNAME=")).unwrap_or_default().to_owned();
        partitions.push((part.trim().parse().unwrap_or(0), entry.file_name().to_string_lossy().into_owned(), label));
    }
    partitions.sort();
    let place = path.to_string_lossy();
    let bus = if name.starts_with("nvme") {
        Bus::Nvme
    } else if place.contains("/usb") {
        Bus::Usb
    } else {
        Bus::Inside
    };
    Ok(Disk {
        size: number("size")?.saturating_mul(512),
        sector: u32::try_from(number("queue/logical_block_size")?)?,
        read_only: number("ro")? != 0,
        mounted: mount_points(mounts, &devices),
        bus,
        partitions,
        name,
    })
}

/// The devices (`252:0`) that the kernel reads by way of the disk or partition at `path` in /sys: the root file system of a signed medium is a device
/// of dm-verity.
fn holders(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path.join("holders")).into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| fs::read_to_string(entry.path().join("dev")).ok()).map(|text| text.trim().to_owned()).collect()
}

/// Mount points of the devices (`8:1`) in the text of mountinfo (proc(5)).
fn mount_points(mounts: &str, devices: &[String]) -> Vec<String> {
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields
        .filter(|fields| fields.get(2).is_some_and(|device| devices.iter().any(|known| known == device)))
        .filter_map(|fields| fields.get(4).map(|point| (*point).to_owned()))
        .collect()
}

/// The disk named `name`; fails if it is missing or may not be written.
pub fn named<'d>(disks: &'d [Disk], name: &str, least: u64) -> Result<&'d Disk> {
    let Some(disk) = disks.iter().find(|disk| disk.name == name) else {
        bail!("there is no disk {name}; disks are {}", list(disks));
    };
    match disk.refusal(least) {
        Some(why) => bail!("{name} cannot be used: {why}"),
        None => Ok(disk),
    }
}

/// The disk to install on: the named one, else the first that may be written; and the names of others that may.
pub fn choose<'d>(disks: &'d [Disk], name: Option<&str>, least: u64) -> Result<(&'d Disk, Vec<&'d str>)> {
    if let Some(name) = name {
        return Ok((named(disks, name, least)?, Vec::new()));
    }
    let mut free = disks.iter().filter(|disk| disk.refusal(least).is_none());
    let Some(first) = free.next() else {
        let reasons = disks.iter().filter_map(|disk| Some(format!("{}: {}", disk.name, disk.refusal(least)?)));
        let reasons = reasons.collect::<Vec<_>>().join("; ");
        bail!("there is no disk to install on ({})", if reasons.is_empty() { "the machine has none" } else { &reasons });
    };
    Ok((first, free.map(|disk| disk.name.as_str()).collect()))
}

/// The disks beside `chosen` and the medium that hold an EVE.
pub fn with_eve<'d>(disks: &'d [Disk], chosen: &Disk) -> Vec<&'d str> {
    let holds = |disk: &&Disk| disk.name != chosen.name && !disk.is_medium() && disk.partitions.iter().any(|(.., label)| label == "IMGA");
    disks.iter().filter(holds).map(|disk| disk.name.as_str()).collect()
}

/// Names of disks.
fn list(disks: &[Disk]) -> String {
    if disks.is_empty() { "none".to_owned() } else { disks.iter().map(|disk| disk.name.as_str()).collect::<Vec<_>>().join(", ") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fake_tests::machine;

    const LEAST: u64 = 900 << 20;

    #[test]
    fn the_first_disk_that_may_be_written_is_chosen() {
        let mounts = "21 1 9:2 / / ro - squashfs /dev/sda2 ro\n25 1 0:5 / /dev rw - devtmpfs dev rw\n";
        let root = machine(
            &[
                ("pci0/usb1/sdb", 8000, 512, &[]),
                ("pci0/ata1/sda", 400, 512, &["EFI System", "IMGA", "x", "CONFIG", "INVENTORY"]),
                ("pci0/ata2/sdc", 100, 512, &[]),
                ("pci0/virtio0/vda", 8000, 512, &["Windows"]),
                ("pci0/nvme/nvme0n1", 8000, 4096, &[]),
                ("virtual/block/loop0", 8000, 512, &[]),
                ("pci0/ata3/sr0", 0, 2048, &[]),
            ],
            mounts,
        );
        let disks = survey(root.path()).unwrap();
        assert_eq!(disks.iter().map(|disk| disk.name.as_str()).collect::<Vec<_>>(), ["nvme0n1", "sda", "sdc", "vda", "sdb"]);
        let (chosen, others) = choose(&disks, None, LEAST).unwrap();
        assert_eq!((chosen.name.as_str(), chosen.sector, others), ("nvme0n1", 4096, vec!["vda", "sdb"]));
        assert_eq!(choose(&disks, Some("sdb"), LEAST).unwrap().0.name, "sdb");
        let medium = disks.iter().find(|disk| disk.is_medium()).unwrap();
        assert_eq!(medium.partitions[3], (4, "sda4".to_owned(), "CONFIG".to_owned()));
        let error = |name: &str| choose(&disks, Some(name), LEAST).unwrap_err().to_string();
        assert_eq!(with_eve(&disks, chosen), Vec::<&str>::new(), "the medium does not count");
        assert_eq!(error("sda"), "sda cannot be used: it is the medium of this installer");
        assert_eq!(error("sdc"), "sdc cannot be used: it has 100 MiB, less than the needed 900");
        assert_eq!(error("sdx"), "there is no disk sdx; disks are nvme0n1, sda, sdc, vda, sdb");
    }

    #[test]
    fn the_medium_is_found_behind_dm_verity() {
        let root = machine(
            &[("pci0/ata1/sda", 2000, 512, &["EFI System", "IMGA"]), ("pci0/ata2/sdb", 2000, 512, &["EFI System", "IMGA"])],
            "21 1 252:0 / / ro - squashfs /dev/root ro\n",
        );
        let held = root.path().join("sys/devices/pci0/ata1/sda/sda2/holders/dm-0");
        fs::create_dir_all(&held).unwrap();
        fs::write(held.join("dev"), "252:0\n").unwrap();
        let disks = survey(root.path()).unwrap();
        assert_eq!(disks.iter().map(Disk::is_medium).collect::<Vec<_>>(), [true, false]);
        assert_eq!(choose(&disks, None, LEAST).unwrap().0.name, "sdb");
    }

    #[test]
    fn a_drive_with_several_paths_is_one_disk() {
        let root =
            machine(&[("virtual/nvme-subsystem/nvme-subsys0/nvme0n1", 8000, 512, &[]), ("pci0/nvme0/nvme0c0n1", 8000, 512, &[])], "");
        fs::write(root.path().join("sys/devices/pci0/nvme0/nvme0c0n1/hidden"), "1\n").unwrap();
        fs::write(root.path().join("sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/hidden"), "0\n").unwrap();
        let disks = survey(root.path()).unwrap();
        assert_eq!(disks.iter().map(|disk| disk.name.as_str()).collect::<Vec<_>>(), ["nvme0n1"]);
    }

    #[test]
    fn without_a_disk_the_reasons_are_named() {
        let mounts = "21 1 8:1 / /medium ro - iso9660 /dev/sda1 ro\n22 1 9:0 / /mnt rw - ext4 /dev/sdb rw\n";
        let root = machine(&[("pci0/ata1/sda", 4000, 512, &["ISO"]), ("pci0/ata2/sdb", 4000, 512, &[])], mounts);
        let error = |root: &Path| choose(&survey(root).unwrap(), None, LEAST).unwrap_err().to_string();
        let wanted = "there is no disk to install on (sda: it is the medium of this installer; sdb: it is mounted at /mnt)";
        assert_eq!(error(root.path()), wanted);
        assert_eq!(error(machine(&[], "").path()), "there is no disk to install on (the machine has none)");
    }
}
