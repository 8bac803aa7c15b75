//! What a firmware gets to know the keys: signature lists (EFI_SIGNATURE_LIST), and the variables PK, KEK and db signed
//! (EFI_VARIABLE_AUTHENTICATION_2), as files of the usual endings `.esl` and `.auth`.

use crate::{Certificate, Signer, cms};
use anyhow::{Result, bail};

/// A GUID in the byte order of EFI.
pub type Guid = [u8; 16];

/// EFI_GLOBAL_VARIABLE: PK and KEK.
const GLOBAL: Guid = [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c];
/// EFI_IMAGE_SECURITY_DATABASE_GUID: db and dbx.
const SECURITY_DATABASE: Guid = [0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f];
/// EFI_CERT_X509_GUID: the type of signature lists that hold certificates.
const X509: Guid = [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];
/// EFI_CERT_TYPE_PKCS7_GUID: the type of the signature of a variable.
const PKCS7: Guid = [0x9d, 0xd2, 0xaf, 0x4a, 0xdf, 0x68, 0xee, 0x49, 0x8a, 0xa9, 0x34, 0x7d, 0x37, 0x56, 0x65, 0xa7];

/// NON_VOLATILE, BOOTSERVICE_ACCESS, RUNTIME_ACCESS, TIME_BASED_AUTHENTICATED_WRITE_ACCESS.
pub const ATTRIBUTES: u32 = 0x27;
/// WIN_CERTIFICATE: revision 2.0, type EFI GUID.
const REVISION_AND_TYPE: [u8; 4] = [0x00, 0x02, 0xf1, 0x0e];

/// A variable of Secure Boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// The platform key: who may change KEK.
    Pk,
    /// The key exchange key: who may change db.
    Kek,
    /// The keys whose programs are started.
    Db,
}

impl Variable {
    /// All, in the order in which a key signs the next variable.
    pub const ALL: [Self; 3] = [Self::Pk, Self::Kek, Self::Db];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pk => "PK",
            Self::Kek => "KEK",
            Self::Db => "db",
        }
    }

    /// The variable whose key signs this one.
    #[must_use]
    pub const fn signer(self) -> Self {
        match self {
            Self::Pk | Self::Kek => Self::Pk,
            Self::Db => Self::Kek,
        }
    }

    pub(crate) const fn vendor(self) -> Guid {
        match self {
            Self::Pk | Self::Kek => GLOBAL,
            Self::Db => SECURITY_DATABASE,
        }
    }

    /// The name of its file in Linux's efivarfs.
    #[must_use]
    pub fn efivarfs_name(self) -> String {
        efivarfs_name(self.name(), self.vendor())
    }
}

/// The file in Linux's efivarfs with the variable by which a firmware says whether it is in setup mode: whether it takes keys from everybody.
#[must_use]
pub fn setup_mode_name() -> String {
    efivarfs_name("SetupMode", GLOBAL)
}

fn efivarfs_name(name: &str, vendor: Guid) -> String {
    let mut text = format!("{name}-");
    // The first three fields of a GUID are little-endian.
    for (place, at) in [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].into_iter().enumerate() {
        let dash = if [4, 6, 8, 10].contains(&place) { "-" } else { "" };
        text += &format!("{dash}{:02x}", vendor[at]);
    }
    text
}

/// A time of the calendar, UTC: year, month and day, hour, minute and second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Year, such as 2026.
    pub year: u16,
    /// Month from 1, day from 1, hour, minute, second.
    pub rest: [u8; 5],
}

impl Time {
    /// That of the Unix timestamp `seconds`.
    #[must_use]
    pub fn of(seconds: u64) -> Self {
        let clock = seconds % 86_400;
        let mut day = seconds / 86_400;
        let mut year = 1970;
        let is_leap = |year: u16| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
        while day >= 365 + u64::from(is_leap(year)) && year < u16::MAX {
            day -= 365 + u64::from(is_leap(year));
            year += 1;
        }
        let mut month = 0;
        for days in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
            if day < days {
                break;
            }
            day -= days;
            month += 1;
        }
        let rest = [month + 1, day + 1, clock / 3600, clock / 60 % 60, clock % 60].map(|number| u8::try_from(number).unwrap_or(u8::MAX));
        Self { year, rest }
    }

    /// The time in `signed`, what is written to a variable; none if it is too short for one.
    #[must_use]
    pub fn of_signed(signed: &[u8]) -> Option<Self> {
        let (year, rest) = (signed.get(..2)?, signed.get(2..7)?);
        Some(Self { year: u16::from_le_bytes(year.try_into().ok()?), rest: rest.try_into().ok()? })
    }

    /// EFI_TIME. In variables its fractions, zone and daylight are 0.
    pub(crate) fn bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&self.year.to_le_bytes());
        bytes[2..7].copy_from_slice(&self.rest);
        bytes
    }
}

/// The signature list with one certificate, which `owner` has put there.
pub fn signature_list(certificate: &Certificate, owner: Guid) -> Result<Vec<u8>> {
    let entry = 16 + certificate.der.len();
    let sizes = [28 + entry, 0, entry].map(u32::try_from);
    let mut list = X509.to_vec();
    for size in sizes {
        list.extend_from_slice(&size?.to_le_bytes());
    }
    list.extend_from_slice(&owner);
    list.extend_from_slice(&certificate.der);
    Ok(list)
}

/// What is written to `variable` so that it has the content `list`: time, signature, content. A firmware takes a time only if it is later
/// than that of the present content.
pub fn signed(variable: Variable, list: &[u8], time: Time, signer: &Signer<'_>) -> Result<Vec<u8>> {
    if list.is_empty() {
        bail!("{} would be removed: the signature list is empty", variable.name());
    }
    let name: Vec<u8> = variable.name().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let signed = [&name, &variable.vendor()[..], &ATTRIBUTES.to_le_bytes(), &time.bytes(), list].concat();
    let signature = cms::detached(&signed, signer)?;
    let size = u32::try_from(24 + signature.len())?;
    Ok([&time.bytes()[..], &size.to_le_bytes(), &REVISION_AND_TYPE, &PKCS7, &signature, list].concat())
}

/// The signature list in `signed`, what is written to a variable (EFI_VARIABLE_AUTHENTICATION_2). Fails if it is none, or would remove the variable.
/// The signature is not checked: the firmware does that.
pub fn list_of_signed(signed: &[u8]) -> Result<&[u8]> {
    const WHAT: &str = "no signed variable (EFI_VARIABLE_AUTHENTICATION_2)";
    let (Some(head), Some(size)) = (signed.get(20..40), signed.get(16..20).and_then(|size| size.try_into().ok().map(u32::from_le_bytes)))
    else {
        bail!("{WHAT}: it has {} bytes", signed.len());
    };
    if head[..4] != REVISION_AND_TYPE || head[4..] != PKCS7 {
        bail!("{WHAT}: it has no signature of the type PKCS #7");
    }
    let list = usize::try_from(size).ok().filter(|size| *size >= 24).and_then(|size| signed.get(16 + size..));
    match list {
        Some(list) if list.len() > 28 && list[..16] == X509 => Ok(list),
        Some(_) => bail!("{WHAT}: behind its signature is no list of certificates"),
        None => bail!("{WHAT}: its signature has {size} bytes, and the file {}", signed.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let of = |seconds| Time::of(seconds);
        assert_eq!(of(0), Time { year: 1970, rest: [1, 1, 0, 0, 0] });
        assert_eq!(of(1_709_209_599), Time { year: 2024, rest: [2, 29, 12, 26, 39] });
        assert_eq!(of(1_735_689_599), Time { year: 2024, rest: [12, 31, 23, 59, 59] });
        assert_eq!(of(4_107_542_400), Time { year: 2100, rest: [3, 1, 0, 0, 0] });
    }

    #[test]
    fn linux_names_variables_by_the_guids_of_the_specification() {
        assert_eq!(Variable::Pk.efivarfs_name(), "PK-8be4df61-93ca-11d2-aa0d-00e098032b8c");
        assert_eq!(Variable::Db.efivarfs_name(), "db-d719b2cb-3d3a-4596-a3bc-dad00e67656f");
        assert_eq!(setup_mode_name(), "SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c");
    }

    #[test]
    fn what_is_written_to_a_variable_holds_its_content() {
        let list = [&X509[..], &[7; 60]].concat();
        let signed =
            |size: u32, kind: Guid, list: &[u8]| [&[0; 16][..], &size.to_le_bytes(), &REVISION_AND_TYPE, &kind, &[1; 8], list].concat();
        assert_eq!(list_of_signed(&signed(32, PKCS7, &list)).expect("a list"), list);
        let error = |bytes: &[u8]| list_of_signed(bytes).expect_err("refused").to_string();
        assert!(error(&[0; 39]).ends_with(": it has 39 bytes"));
        assert!(error(&signed(32, X509, &list)).ends_with("it has no signature of the type PKCS #7"));
        assert!(error(&signed(33, PKCS7, &list)).ends_with("behind its signature is no list of certificates"));
        assert!(
            error(&signed(32, PKCS7, &[])).ends_with("behind its signature is no list of certificates"),
            "it would remove the variable"
        );
        assert!(error(&signed(0, PKCS7, &list)).contains("its signature has 0 bytes"));
        assert!(error(&signed(u32::MAX, PKCS7, &list)).contains("its signature has 4294967295 bytes"));
    }
}
