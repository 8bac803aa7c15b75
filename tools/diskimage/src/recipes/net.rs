//! installer.net: a tar of the files that a device loads when it boots from the network.

use super::{
    installer::ESP_MEDIUM_CFG,
    parts::{CONFIG, Parts, ROOTFS_OF_INSTALLER},
};
use crate::{cpio::CpioWriter, sparse::Meter};
use anyhow::{Context as _, Result, bail};
use filetree::{Content, EntryKind, Kind, Meta, Node, TarWriter};
use std::{io::Write, path::Path};

/// Files of the tar, in order. `initrd.bits` is generated from `config.img` and `persist.img`; all others are parts.
pub const NET_FILES: &[&str] = &["ipxe.efi.cfg", "kernel", "initrd.img", "installer.img", BITS, "rootfs.img"];
const BITS: &str = "initrd.bits";

/// Writes the tar from `parts` (read with `Parts::of_folder(folder, true)`). `progress` gets the bytes that are written, and those of all files.
pub fn write_installer_net(parts: &Parts, epoch: i64, progress: &dyn Fn(u64, u64), out: &mut dyn Write) -> Result<()> {
    // Finds all files before writing the first byte.
    let files = NET_FILES.iter().map(|name| {
        let content = if *name == BITS { Content::from(initrd_bits(parts, epoch)?) } else { part(parts, name)? };
        Ok(((*name).to_owned(), content))
    });
    write_files(files.collect::<Result<Vec<_>>>()?, epoch, progress, out)
}

/// Configuration for GRUB when loaded from the network: it fetches the ISO into memory, which contains everything else.
const BOOT_ISO: &str = "\
echo Loading the installer over the network: this can take minutes.
loopback iso ($cmddevice)/installer.iso
set root=iso
set isnetboot=true
export isnetboot
configfile ($root)/EFI/BOOT/grub.cfg
";

/// Writes the tar for an installer in one ISO, with iPXE, GRUB and its configuration. `parts` as in [`write_installer_net`].
pub fn write_iso_net(parts: &Parts, iso: &Path, epoch: i64, progress: &dyn Fn(u64, u64), out: &mut dyn Write) -> Result<()> {
    let name = |name: &str| anyhow::Ok((name.to_owned(), part(parts, name)?));
    let mut files = vec![name("ipxe.efi")?, name("ipxe.efi.cfg")?, ("installer.iso".to_owned(), Content::of_path(iso)?)];
    let loaders = parts.find("EFI/BOOT")?.and_then(Node::children).into_iter().flatten();
    let loaders = loaders.filter_map(|(name, _)| std::str::from_utf8(name).ok());
    let loaders: Vec<String> =
        loaders.filter(|name| name.starts_with("BOOT") && name.ends_with("EFI")).map(|name| format!("EFI/BOOT/{name}")).collect();
    if loaders.is_empty() {
        bail!("the part `EFI/BOOT/BOOT*.EFI`, which a netboot loads first, is missing");
    }
    for loader in &loaders {
        files.push(name(loader)?);
    }
    files.push(("EFI/BOOT/grub.cfg".to_owned(), Content::from(BOOT_ISO.as_bytes().to_vec())));
    write_files(files, epoch, progress, out)
}

/// GRUB's configuration for a netboot of an installer with a root file system of its own.
const MEDIUM_CFG: &str = "\
# Starts the installer from the server that this program came from.
echo Loading the installer over the network: this can take minutes.
if [ \"$grub_cpu\" = x86_64 ]; then
    linuxefi /kernel console=tty0 console=ttyS0,115200 rootimg=/rootfs_installer.img rootdelay=30 quiet
    initrdefi /initrd.img /initrd.bits
else
    linux /kernel console=tty0 console=ttyAMA0 rootimg=/rootfs_installer.img rootdelay=30 quiet
    initrd /initrd.img /initrd.bits
fi
boot
";
/// The same for iPXE; a person may change it.
const IPXE_CFG: &str = "\
#!ipxe
# Words for the installer. Others are eve_install_disk=NAME, eve_persist_disk=NAME, eve_install_server=HOST.
set eve_args eve_soft_serial=${mac:hexhyp} eve_reboot_after_install
set console console=tty0 console=ttyS0,115200
# If the other files are not beside this one:
# set url http://server/folder/
kernel ${url}kernel initrd=initrd.img initrd=initrd.bits rootimg=/rootfs_installer.img rootdelay=30 ${console} ${eve_args}
initrd ${url}initrd.img
initrd ${url}initrd.bits
boot
";

/// Writes the tar for an installer with a root file system of its own: kernel, initrd, an initrd with the root file system and the
/// configuration, and what starts them. `parts` as in [`write_installer_net`].
pub fn write_own_net(parts: &Parts, epoch: i64, progress: &dyn Fn(u64, u64), out: &mut dyn Write) -> Result<()> {
    let mut files = vec![("ipxe.efi.cfg".to_owned(), Content::from(IPXE_CFG))];
    files.push(("kernel".to_owned(), part(parts, "kernel")?));
    files.push(("initrd.img".to_owned(), aligned(&part(parts, "initrd.img")?)?));
    let mut bits = CpioWriter::new(Vec::new(), epoch);
    bits.append("medium", 0o040_755, &[])?;
    // A squashfs is compressed already.
    for name in [ROOTFS_OF_INSTALLER, CONFIG] {
        let bytes = part(parts, name)?.read_all().with_context(|| format!("cannot read `{name}`"))?;
        bits.append(&format!("medium/{name}"), 0o100_644, &bytes)?;
    }
    files.push((BITS.to_owned(), Content::from(bits.finish()?)));
    let esp = parts.of_medium()?.esp()?;
    let loaders = esp.get("EFI/BOOT").and_then(Node::children).into_iter().flatten();
    for (name, node) in loaders {
        let name = String::from_utf8_lossy(name);
        if let (Kind::File { content, .. }, true) = (&node.kind, name.starts_with("BOOT") && name.ends_with("EFI")) {
            files.push((format!("EFI/BOOT/{name}"), content.clone()));
        }
    }
    files.push((ESP_MEDIUM_CFG.to_owned(), Content::from(MEDIUM_CFG)));
    write_files(files, epoch, progress, out)
}

fn write_files(files: Vec<(String, Content)>, epoch: i64, progress: &dyn Fn(u64, u64), out: &mut dyn Write) -> Result<()> {
    let meter = Meter::new(files.iter().map(|(_, content)| content.len()).sum(), progress);
    let mut out = std::io::BufWriter::with_capacity(1 << 20, Measured { out, meter });
    let mut tar = TarWriter::new(&mut out);
    for (name, content) in files {
        let kind = EntryKind::Node(Kind::File { content, link: None });
        tar.append(name.as_bytes(), &Meta::root(0o644, epoch), &kind, &[]).with_context(|| format!("cannot add `{name}` to the tar"))?;
    }
    tar.finish().context("cannot write the tar")?;
    out.flush().context("cannot write the tar")
}

/// Tells what passes.
struct Measured<'o> {
    out: &'o mut dyn Write,
    meter: Meter<'o>,
}

impl Write for Measured<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.meter.add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

fn part(parts: &Parts, name: &str) -> Result<Content> {
    match parts.find(name)? {
        Some(Node { kind: Kind::File { content, .. }, .. }) => Ok(content.clone()),
        _ => bail!("the part `{name}` of installer.net is missing"),
    }
}

/// An initrd with zeros up to a multiple of four bytes. Linux's EFI stub, which iPXE starts, puts the next initrd right behind it, and the
/// kernel finds an archive that is not compressed only at such a place (Linux's init/initramfs.c).
fn aligned(initrd: &Content) -> Result<Content> {
    let mut bytes = initrd.read_all().context("cannot read `initrd.img`")?;
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    Ok(Content::from(bytes))
}

/// An initrd with the configuration, at the path where the installer expects its medium.
fn initrd_bits(parts: &Parts, epoch: i64) -> Result<Vec<u8>> {
    let mut cpio = CpioWriter::gzipped(6, epoch);
    for folder in ["media", "media/root-rw", "media/root-rw/boot"] {
        cpio.append(folder, 0o040_755, &[])?;
    }
    cpio.append("media/root-rw/boot/.uuid", 0o100_644, b"netboot\n")?;
    for name in ["config.img", "persist.img"] {
        let bytes = part(parts, name)?.read_all().with_context(|| format!("cannot read `{name}`"))?;
        cpio.append(&format!("media/root-rw/{name}"), 0o100_644, &bytes)?;
    }
    cpio.into_bytes().context("cannot make initrd.bits")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_next_initrd_begins_where_the_kernel_finds_it() {
        for (bytes, wanted) in [(&b"12345"[..], &b"12345\0\0\0"[..]), (b"1234", b"1234"), (b"", b"")] {
            assert_eq!(aligned(&Content::from(bytes.to_vec())).unwrap().read_all().unwrap(), wanted);
        }
    }
}
