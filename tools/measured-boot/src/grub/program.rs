//! What grub-mkimage put into an EFI program of GRUB: its first configuration, and the disk in memory with the real one.

use anyhow::{Context as _, Result, bail};
use secureboot::uki::section;

/// GRUB_MODULE_MAGIC, of the list of parts.
const MAGIC: u32 = 0x676d_696d;
/// Types of the parts.
const MEMDISK: u32 = 1;
const CONFIG: u32 = 2;
/// The first configuration of our programs: the disk in memory has the other one.
const FIRST: &str = "configfile (memdisk)/embedded.cfg";
const EMBEDDED: &[u8] = b"embedded.cfg";
/// The version of GRUB whose commands are known here: `linux` as `linuxefi`, and what is measured with which words.
const VERSION: &str = "2.06";
/// What its module `normal` says of itself. The version is the next text.
const TITLE: &[u8] = b"GNU GRUB  version %s\0";

/// The configuration inside of `program`, which `pkg/grub` made.
pub fn embedded_configuration(program: &[u8]) -> Result<String> {
    let parts = section(program, "mods")?.context("no EFI program of GRUB: it has no section `mods`")?;
    let word = |at: usize| -> Result<usize> {
        let bytes = parts.get(at..at + 4).context("the parts of GRUB are cut off")?;
        Ok(usize::try_from(u32::from_le_bytes(bytes.try_into()?))?)
    };
    if word(0)? != usize::try_from(MAGIC)? {
        bail!("no EFI program of GRUB for 64 bits: its list of parts begins differently");
    }
    let (mut at, end) = (word(8)?, word(16)?.min(parts.len()));
    let (mut first, mut disk) = (None, None);
    while at + 8 <= end {
        let (kind, size) = (word(at)?, word(at + 4)?);
        let Some(content) = at.checked_add(size).and_then(|next| parts.get(at + 8..next)) else { bail!("the parts of GRUB are cut off") };
        match u32::try_from(kind)? {
            MEMDISK => disk = Some(content),
            CONFIG => first = Some(content),
            _ => {}
        }
        at += size;
    }
    let first = first.context("this GRUB has no configuration inside")?;
    if !String::from_utf8_lossy(first).starts_with(FIRST) {
        bail!("this GRUB was not made by pkg/grub: its first configuration is not `{FIRST}`");
    }
    check_version(parts)?;
    let text = file_of_tar(disk.context("this GRUB has no disk in memory")?)?;
    String::from_utf8(text.to_vec()).context("the configuration inside of GRUB is not UTF-8")
}

/// Refuses a GRUB that may measure something else.
fn check_version(parts: &[u8]) -> Result<()> {
    let at = parts.windows(TITLE.len()).position(|bytes| bytes == TITLE).context("which version this GRUB has is not found in it")?;
    let version = parts[at + TITLE.len()..].split(|byte| *byte == 0).find(|text| !text.is_empty()).unwrap_or_default();
    let version = String::from_utf8_lossy(version);
    if version.strip_prefix(VERSION).is_none_or(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit())) {
        let version: String = version.chars().take(40).flat_map(char::escape_debug).collect();
        bail!("this is GRUB `{version}`, and what GRUB measures is known here for {VERSION} only");
    }
    Ok(())
}

/// The content of `embedded.cfg` in a tar.
fn file_of_tar(tar: &[u8]) -> Result<&[u8]> {
    let mut at = 0;
    while let Some(header) = tar.get(at..at + 512).filter(|header| header[0] != 0) {
        let digits = header[124..136].iter().filter(|byte| byte.is_ascii_digit());
        let size = digits.fold(0_usize, |sum, byte| sum.wrapping_mul(8).wrapping_add(usize::from(byte - b'0')));
        let content =
            (at + 512).checked_add(size).and_then(|end| tar.get(at + 512..end)).context("the disk in GRUB's memory is cut off")?;
        if header[..100].split(|byte| *byte == 0).next() == Some(EMBEDDED) {
            return Ok(content);
        }
        at += 512 + size.next_multiple_of(512);
    }
    bail!("the disk in GRUB's memory has no `embedded.cfg`")
}
