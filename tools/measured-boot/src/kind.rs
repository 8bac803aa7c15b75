//! The types of events (TCG PC Client Platform Firmware Profile, "Event Types"), and what the data of an event says to a person.

use std::fmt;

/// The type of an event, such as EV_SEPARATOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventKind(pub u32);

/// Extends nothing: it says something of the log itself.
pub const NO_ACTION: EventKind = EventKind(3);
/// Ends what the firmware measures before it boots.
pub const SEPARATOR: EventKind = EventKind(4);
/// Whatever a boot loader measures.
pub const IPL: EventKind = EventKind(13);
/// Something that is named by a number; the kernel's start measures the initrd so.
pub const EVENT_TAG: EventKind = EventKind(6);
/// A variable of Secure Boot.
pub const VARIABLE_DRIVER_CONFIG: EventKind = EventKind(0x8000_0001);
/// A program that the firmware has loaded.
pub const BOOT_SERVICES_APPLICATION: EventKind = EventKind(0x8000_0003);
/// The partition table of the disk.
pub const GPT_EVENT: EventKind = EventKind(0x8000_0006);
/// A step of the boot; the digest is that of its name.
pub const EFI_ACTION: EventKind = EventKind(0x8000_0007);
/// A volume of the firmware.
pub const PLATFORM_FIRMWARE_BLOB: EventKind = EventKind(0x8000_0008);
/// The certificate or digest that allowed a program.
pub const VARIABLE_AUTHORITY: EventKind = EventKind(0x8000_00e0);

const NAMES: &[(u32, &str)] = &[
    (0, "EV_PREBOOT_CERT"),
    (1, "EV_POST_CODE"),
    (2, "EV_UNUSED"),
    (3, "EV_NO_ACTION"),
    (4, "EV_SEPARATOR"),
    (5, "EV_ACTION"),
    (6, "EV_EVENT_TAG"),
    (7, "EV_S_CRTM_CONTENTS"),
    (8, "EV_S_CRTM_VERSION"),
    (9, "EV_CPU_MICROCODE"),
    (10, "EV_PLATFORM_CONFIG_FLAGS"),
    (11, "EV_TABLE_OF_DEVICES"),
    (12, "EV_COMPACT_HASH"),
    (13, "EV_IPL"),
    (14, "EV_IPL_PARTITION_DATA"),
    (15, "EV_NONHOST_CODE"),
    (16, "EV_NONHOST_CONFIG"),
    (17, "EV_NONHOST_INFO"),
    (18, "EV_OMIT_BOOT_DEVICE_EVENTS"),
    (0x8000_0001, "EV_EFI_VARIABLE_DRIVER_CONFIG"),
    (0x8000_0002, "EV_EFI_VARIABLE_BOOT"),
    (0x8000_0003, "EV_EFI_BOOT_SERVICES_APPLICATION"),
    (0x8000_0004, "EV_EFI_BOOT_SERVICES_DRIVER"),
    (0x8000_0005, "EV_EFI_RUNTIME_SERVICES_DRIVER"),
    (0x8000_0006, "EV_EFI_GPT_EVENT"),
    (0x8000_0007, "EV_EFI_ACTION"),
    (0x8000_0008, "EV_EFI_PLATFORM_FIRMWARE_BLOB"),
    (0x8000_0009, "EV_EFI_HANDOFF_TABLES"),
    (0x8000_000a, "EV_EFI_PLATFORM_FIRMWARE_BLOB2"),
    (0x8000_000b, "EV_EFI_HANDOFF_TABLES2"),
    (0x8000_000c, "EV_EFI_VARIABLE_BOOT2"),
    (0x8000_0010, "EV_EFI_HCRTM_EVENT"),
    (0x8000_00e0, "EV_EFI_VARIABLE_AUTHORITY"),
    (0x8000_00e1, "EV_EFI_SPDM_FIRMWARE_BLOB"),
    (0x8000_00e2, "EV_EFI_SPDM_FIRMWARE_CONFIG"),
];

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{:#010x}", self.0),
        }
    }
}

/// Letters of a text that are shown.
const MOST_LETTERS: usize = 300;

/// What the data of an event of this kind says, in one line.
#[must_use]
pub fn describe(kind: EventKind, data: &[u8]) -> String {
    let text = match kind.0 {
        0x8000_0001 | 0x8000_0002 | 0x8000_000c | 0x8000_00e0 => variable_name(data),
        0x8000_0008 if data.len() == 16 => {
            let number = |at: usize| data[at..at + 8].iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
            Some(format!("{:#x} bytes at {:#x}", number(8), number(0)))
        }
        8 => utf16(data),
        // TCG_PCClientTaggedEvent: id, size, content.
        6 => plain(data.get(8..).unwrap_or_default()),
        4 if data == [0; 4] => Some("0".to_owned()),
        1 | 5 | 13 | 0x8000_0007 => plain(data).or_else(|| utf16(data)),
        _ => None,
    };
    let text = text.unwrap_or_else(|| format!("{} bytes", data.len()));
    match text.char_indices().nth(MOST_LETTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// `text` in one line, as a terminal may have it: without control characters, which a foreign configuration may bring.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut shown = String::new();
    for letter in text.chars() {
        if letter.is_control() {
            shown.extend(letter.escape_debug());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// The name in a UEFI_VARIABLE_DATA: GUID, count of letters, count of bytes, letters.
fn variable_name(data: &[u8]) -> Option<String> {
    let letters = usize::try_from(u64::from_le_bytes(data.get(16..24)?.try_into().ok()?)).ok()?;
    utf16(data.get(32..32_usize.checked_add(letters.checked_mul(2)?)?)?)
}

/// A text of ASCII or UTF-8 without control characters but line feeds, which may end with a zero.
fn plain(data: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(data.strip_suffix(&[0]).unwrap_or(data)).ok()?;
    let is_text = text.chars().all(|letter| !letter.is_control() || letter == '\n');
    is_text.then(|| text.replace('\n', "\\n"))
}

/// A text of UTF-16, little-endian, which may end with a zero.
fn utf16(data: &[u8]) -> Option<String> {
    if !data.len().is_multiple_of(2) {
        return None;
    }
    let mut units: Vec<u16> = data.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    while units.last() == Some(&0) {
        units.pop();
    }
    let text = String::from_utf16(&units).ok()?;
    text.chars().all(|letter| !letter.is_control()).then_some(text)
}
