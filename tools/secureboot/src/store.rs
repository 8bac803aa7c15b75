//! The store of variables in the flash memory of EDK2's firmware (OVMF): reads an image of it, and puts the keys in as the firmware itself
//! would. The layouts are those of `MdeModulePkg/Include/Guid/VariableFormat.h` and of the firmware volumes of the platform initialization
//! specification.

use crate::variable::{ATTRIBUTES, Guid, Time, Variable};
use anyhow::{Result, bail};

/// EFI_SYSTEM_NV_DATA_FV_GUID, at 16 in the header of the firmware volume.
const VOLUME: [u8; 16] = [0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c, 0xa9, 0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50];
/// EFI_AUTHENTICATED_VARIABLE_GUID: a store whose variables may be signed.
const STORE: [u8; 16] = [0x78, 0x2c, 0xf3, 0xaa, 0x7b, 0x94, 0x9a, 0x43, 0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92];
/// EFI_SECURE_BOOT_ENABLE_DISABLE, the owner of SecureBootEnable.
const SECURE_BOOT_ENABLE: [u8; 16] = [0xc7, 0x0b, 0xa3, 0xf0, 0x08, 0xaf, 0x56, 0x45, 0x99, 0xc4, 0x00, 0x10, 0x09, 0xc9, 0x3a, 0x44];
/// Size of the header of a store, and of that of a variable.
const STORE_HEADER: usize = 28;
const HEADER: usize = 60;
/// A variable begins with this, if one is there.
const START: [u8; 2] = [0xaa, 0x55];
/// The state of a variable that is there.
const ADDED: u8 = 0x3f;
/// That of one whose successor was not whole when the power went: the firmware takes it unless the successor is there.
const IN_DELETED_TRANSITION: u8 = 0x3e;
/// The firmware's own switch.
const SWITCH: &str = "SecureBootEnable";

/// `image`, the flash memory with fresh variables, with the keys of `lists`, their times, and Secure Boot switched on.
pub fn enrol(image: &[u8], lists: &[(Variable, Time, Vec<u8>)]) -> Result<Vec<u8>> {
    let (start, end) = bounds(image)?;
    let mut at = free(image, start, end)?;
    let mut out = image.to_vec();
    let mut put = |bytes: &[u8]| -> Result<()> {
        let Some(place) = out.get_mut(at..at + bytes.len()).filter(|_| at + bytes.len() <= end) else {
            bail!("the store of variables has {} bytes left, and a variable needs {}", end.saturating_sub(at), bytes.len());
        };
        place.copy_from_slice(bytes);
        at = (at + bytes.len()).next_multiple_of(4);
        Ok(())
    };
    for (variable, time, list) in lists {
        put(&record(variable.name(), variable.vendor(), ATTRIBUTES, time.bytes(), list)?)?;
    }
    // Non-volatile, for boot services only.
    put(&record(SWITCH, SECURE_BOOT_ENABLE, 3, [0; 16], &[1])?)?;
    Ok(out)
}

/// A variable that is in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredVariable {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub vendor: Guid,
    /// Its value.
    pub data: Vec<u8>,
}

/// The variables that the firmware finds in `image`, the flash memory.
pub fn variables(image: &[u8]) -> Result<Vec<StoredVariable>> {
    let (mut at, end) = bounds(image)?;
    let mut found: Vec<StoredVariable> = Vec::new();
    while at + HEADER <= end && image[at..at + 2] == START {
        let (name, data) = (number(image, at + 36, 4), number(image, at + 40, 4));
        let (Some(vendor), Some(text), Some(value)) = (
            image.get(at + 44..at + HEADER).and_then(|guid| guid.try_into().ok()),
            image.get(at + HEADER..at + HEADER + name),
            image.get(at + HEADER + name..at + HEADER + name + data),
        ) else {
            bail!("a variable is longer than the store, which ends at {end:#x}");
        };
        let units: Vec<u16> = text.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        let name = String::from_utf16_lossy(&units).trim_end_matches('\0').to_owned();
        let is_known = found.iter().position(|known| known.name == name && known.vendor == vendor);
        match (image[at + 2], is_known) {
            (ADDED, Some(known)) => found[known].data = value.to_vec(),
            (ADDED, None) | (IN_DELETED_TRANSITION, None) => found.push(StoredVariable { name, vendor, data: value.to_vec() }),
            _ => {}
        }
        at = (at + HEADER + text.len() + value.len()).next_multiple_of(4);
    }
    Ok(found)
}

/// Where the variables of a store begin and end.
fn bounds(image: &[u8]) -> Result<(usize, usize)> {
    if image.get(16..32) != Some(&VOLUME) || image.get(40..44) != Some(b"_FVH") {
        bail!("no flash memory with the variables of a firmware (EDK2): the header of the volume is missing");
    }
    let store = number(image, 48, 2);
    if image.get(store..store + 16) != Some(&STORE) {
        bail!("the variables of this firmware cannot be signed: it was built without Secure Boot");
    }
    let end = store + number(image, store + 16, 4);
    if end > image.len() || end < store + STORE_HEADER {
        bail!("the store of variables ends at {end:#x}, the file at {:#x}", image.len());
    }
    Ok((store + STORE_HEADER, end))
}

/// Where the next variable may begin. Refuses a store that has one of the variables to be put in: the firmware would take the old one.
fn free(image: &[u8], start: usize, end: usize) -> Result<usize> {
    let mut at = start;
    while at + HEADER <= end && image[at..at + 2] == START {
        let (name, data) = (number(image, at + 36, 4), number(image, at + 40, 4));
        let found = image.get(at + HEADER..at + HEADER + name);
        let ours = Variable::ALL.map(Variable::name).into_iter().chain([SWITCH]).find(|ours| found == Some(&utf16(ours)));
        if let (Some(ours), ADDED | IN_DELETED_TRANSITION) = (ours, image[at + 2]) {
            bail!(
                "the variable `{ours}` is there already, and old keys would stay in force\nhint: take fresh variables, such as OVMF_VARS_4M.fd of the package ovmf"
            );
        }
        at = (at + HEADER + name + data).next_multiple_of(4);
    }
    if at > end {
        bail!("a variable is longer than the store, which ends at {end:#x}");
    }
    Ok(at)
}

/// A variable in the store.
fn record(name: &str, vendor: [u8; 16], attributes: u32, time: [u8; 16], data: &[u8]) -> Result<Vec<u8>> {
    let name = utf16(name);
    let [name_size, data_size] = [u32::try_from(name.len())?.to_le_bytes(), u32::try_from(data.len())?.to_le_bytes()];
    // State and a reserved byte; behind the attributes the count of the old way of signing, and behind the time the index of its key.
    let head = [&START[..], &[ADDED, 0], &attributes.to_le_bytes(), &[0; 8], &time, &[0; 4], &name_size, &data_size, &vendor];
    Ok([head.concat(), name, data.to_vec()].concat())
}

/// Text as a firmware stores it, with its end.
fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// The little-endian number of `size` bytes at `at`; 0 beyond the end.
fn number(bytes: &[u8], at: usize, size: usize) -> usize {
    bytes.get(at..at + size).unwrap_or(&[]).iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flash memory of `size` bytes whose store has room for `room` bytes of variables.
    fn flash(room: u32) -> Vec<u8> {
        let mut image = vec![0; 72];
        image[16..32].copy_from_slice(&VOLUME);
        image[40..44].copy_from_slice(b"_FVH");
        image[48] = 72;
        image.extend_from_slice(&STORE);
        image.extend_from_slice(&(28 + room).to_le_bytes());
        image.extend_from_slice(&[0x5a, 0xfe, 0, 0, 0, 0, 0, 0]);
        image.resize(image.len() + room as usize + 100, 0xff);
        image
    }

    #[test]
    fn keys_follow_what_is_there_and_only_once() {
        let list = |variable| vec![(variable, Time::of(0), vec![7; 33])];
        // A variable that is nobody's key.
        let mut other = flash(1000);
        let boot = record("BootOrder", [1; 16], 7, [0; 16], &[0, 0]).expect("record");
        other[100..100 + boot.len()].copy_from_slice(&boot);
        let all = enrol(&other, &list(Variable::Pk)).expect("PK");
        assert!(all.windows(6).any(|text| text == b"P\0K\0\0\0") && all[..184] == other[..184]);
        let names = |image: &[u8]| variables(image).expect("variables").into_iter().map(|variable| variable.name).collect::<Vec<_>>();
        assert_eq!(names(&all), ["BootOrder", "PK", "SecureBootEnable"]);
        assert_eq!(variables(&all).expect("variables")[1].data, [7; 33]);
        let some = enrol(&flash(1000), &list(Variable::Db)).expect("db");
        assert_eq!(some[100..104], [0xaa, 0x55, 0x3f, 0]);
        assert_eq!(some[160..166], *b"d\0b\0\0\0");
        // 60 + 6 + 33, and a byte up to the next variable.
        assert_eq!(some[199..202], [0xff, 0xaa, 0x55]);
        let refused = |image: &[u8]| enrol(image, &list(Variable::Db)).expect_err("refused").to_string();
        // Each of the four, also where the power went while it was replaced; not what was deleted.
        for name in ["PK", "KEK", "db", "SecureBootEnable"] {
            let mut old = flash(1000);
            let variable = record(name, [1; 16], 7, [0; 16], &[1]).expect("record");
            old[100..100 + variable.len()].copy_from_slice(&variable);
            for state in [0x3f, 0x3e] {
                old[102] = state;
                let error = refused(&old);
                assert!(error.starts_with(&format!("the variable `{name}` is there already")) && error.contains("\nhint: "), "{error}");
            }
            for state in [0x3d, 0x3c, 0x7f] {
                old[102] = state;
                enrol(&old, &list(Variable::Db)).expect("deleted");
            }
        }
        assert_eq!(refused(&flash(100)), "the store of variables has 0 bytes left, and a variable needs 95");
        assert!(refused(&flash(1000)[..500]).contains("ends at 0x44c, the file at 0x1f4"));
        assert!(refused(&[0; 500]).contains("the header of the volume is missing"));
        let mut other = flash(1000);
        other[72] = 0;
        assert!(refused(&other).contains("was built without Secure Boot"));
        let mut long = all;
        long[140..144].fill(0x7f);
        assert!(refused(&long).contains("a variable is longer than the store"));
    }
}
