//! EFI programs (PE/COFF): finds what a signature does not cover, computes the digest, removes and adds the table of signatures.

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

/// A program of EFI, in the bytes of its file.
#[derive(Debug)]
pub struct EfiProgram<'a> {
    bytes: &'a [u8],
    /// Offset of the checksum, 4 bytes.
    checksum: usize,
    /// Offset of the entry of the table of signatures among the data directories, 8 bytes.
    entry: usize,
    /// Where the table of signatures begins, if there is one; it is the end of the file.
    signatures: Option<usize>,
}

/// Signatures begin at a multiple of this.
const ALIGNMENT: usize = 8;
/// WIN_CERTIFICATE: length, revision 2.0, type PKCS #7.
const HEADER: usize = 8;
const REVISION_AND_TYPE: [u8; 4] = [0, 2, 2, 0];
/// Index of the table of signatures among the data directories.
const SECURITY: usize = 4;

impl<'a> EfiProgram<'a> {
    /// Reads the headers. A program in which bytes lie between its sections is refused: firmware leaves them out of the digest.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        if bytes.get(..2) != Some(b"MZ") {
            bail!("no EFI program (PE/COFF): it does not begin with `MZ`");
        }
        let coff = number(bytes, 0x3c, 4)?;
        if bytes.get(coff..coff + 4) != Some(b"PE\0\0") {
            bail!("no EFI program (PE/COFF): `PE` is not at {coff:#x}, where the header of DOS points to");
        }
        let optional = coff + 24;
        let directories = match number(bytes, optional, 2)? {
            0x10b => optional + 96,
            0x20b => optional + 112,
            magic => bail!("an EFI program of an unknown kind, {magic:#x}: neither PE32 nor PE32+"),
        };
        if number(bytes, directories - 4, 4)? <= SECURITY {
            bail!("this EFI program has no room for signatures: its header has less than {} data directories", SECURITY + 1);
        }
        let (checksum, entry) = (optional + 64, directories + 8 * SECURITY);
        let (start, length) = (number(bytes, entry, 4)?, number(bytes, entry + 4, 4)?);
        if length > 0 && (start.checked_add(length) != Some(bytes.len()) || start % ALIGNMENT != 0) {
            bail!("the signatures of this EFI program are not the end of its file: {length} bytes at {start:#x} of {:#x}", bytes.len());
        }
        let signatures = (length > 0).then_some(start);
        let program = Self { bytes, checksum, entry, signatures };
        let size = number(bytes, coff + 20, 2)?;
        program.check_sections(optional + size, number(bytes, coff + 6, 2)?, number(bytes, optional + 60, 4)?)?;
        Ok(program)
    }

    /// Checks that `count` sections, whose headers begin at `table`, follow each other from `headers`, the size of all headers, on.
    fn check_sections(&self, table: usize, count: usize, headers: usize) -> Result<()> {
        let mut sections = Vec::new();
        for at in (0..count).map(|index| table + 40 * index) {
            let (size, start) = (number(self.bytes, at + 16, 4)?, number(self.bytes, at + 20, 4)?);
            if size > 0 {
                sections.push((start, size));
            }
        }
        sections.sort_unstable();
        if headers < self.entry + 8 || headers < table + 40 * count {
            bail!("the headers of this EFI program are longer than the {headers} bytes that they say");
        }
        let mut end = headers;
        for (start, size) in sections {
            if start != end {
                bail!(
                    "a section of this EFI program begins at {start:#x}, and what precedes it ends at {end:#x}: no signature could cover it"
                );
            }
            end = start + size;
        }
        let covered = self.end();
        if end > covered {
            bail!("the sections of this EFI program end at {end:#x}, its file at {covered:#x}: it is cut off");
        }
        Ok(())
    }

    /// Where the signatures begin, or the file ends.
    fn end(&self) -> usize {
        self.signatures.unwrap_or(self.bytes.len())
    }

    /// Whether it has a signature, whosever.
    #[must_use]
    pub const fn is_signed(&self) -> bool {
        self.signatures.is_some()
    }

    /// The SHA-256 that a signature is about: of all but the checksum and the signatures and their place.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(&self.bytes[..self.checksum]);
        hash.update(&self.bytes[self.checksum + 4..self.entry]);
        hash.update(&self.bytes[self.entry + 8..self.end()]);
        hash.finalize().into()
    }

    /// The bytes without signatures, filled with zeros to where one may begin.
    #[must_use]
    pub fn unsigned(&self) -> Vec<u8> {
        let mut bytes = self.bytes[..self.end()].to_vec();
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes[self.entry..self.entry + 8].fill(0);
        bytes
    }

    /// The bytes with the signature `pkcs7` instead of those that are there.
    pub fn with_signature(&self, pkcs7: &[u8]) -> Result<Vec<u8>> {
        let mut bytes = self.unsigned();
        let start = bytes.len();
        let size = (HEADER + pkcs7.len()).next_multiple_of(ALIGNMENT);
        bytes.extend_from_slice(&u32::try_from(size)?.to_le_bytes());
        bytes.extend_from_slice(&REVISION_AND_TYPE);
        bytes.extend_from_slice(pkcs7);
        bytes.resize(start + size, 0);
        let place = [u32::try_from(start)?.to_le_bytes(), u32::try_from(size)?.to_le_bytes()].concat();
        bytes[self.entry..self.entry + 8].copy_from_slice(&place);
        bytes[self.checksum..self.checksum + 4].fill(0);
        let sum = checksum(&bytes)?;
        bytes[self.checksum..self.checksum + 4].copy_from_slice(&sum.to_le_bytes());
        Ok(bytes)
    }
}

/// The checksum of a file of PE/COFF whose own field is 0: the sum of its words of 16 bits with the carries, and its length.
fn checksum(bytes: &[u8]) -> Result<u32> {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) | u32::from(pair.get(1).copied().unwrap_or(0)) << 8);
    let sum = words.fold(0, |sum: u32, word| ((sum + word) & 0xffff) + ((sum + word) >> 16));
    Ok(sum.wrapping_add(u32::try_from(bytes.len())?))
}

/// The little-endian number of `size` bytes, at most 4, at `at`.
pub(crate) fn number(bytes: &[u8], at: usize, size: usize) -> Result<usize> {
    let digits = bytes.get(at..at + size).with_context(|| format!("an EFI program ends within its headers, at {:#x}", bytes.len()))?;
    Ok(digits.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A PE32+ program with headers of 0x200 bytes and one section of `size` bytes.
    pub fn program(size: u32) -> Vec<u8> {
        let mut bytes = vec![0; 0x200];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, b"MZ");
        put(0x3c, &[0x40]);
        put(0x40, b"PE\0\0");
        put(0x46, &[1]);
        put(0x54, &[0xf0]);
        put(0x58, &[0x0b, 2]);
        put(0x58 + 60, &0x200_u32.to_le_bytes());
        put(0x58 + 108, &[16]);
        put(0x148 + 16, &[size.to_le_bytes(), 0x200_u32.to_le_bytes()].concat());
        bytes.extend((0..size).map(|index| u8::try_from(index % 251).unwrap_or(0)));
        bytes
    }

    #[test]
    fn a_signature_is_replaced_and_never_covered() {
        let bytes = program(1001);
        let plain = EfiProgram::parse(&bytes).expect("program").unsigned();
        assert_eq!((plain.len(), &plain[..1513]), (1520, &bytes[..]));
        let digest = EfiProgram::parse(&plain).expect("program").digest();
        let signed = EfiProgram::parse(&bytes).expect("program").with_signature(&[7; 100]).expect("signed");
        assert_eq!(signed[1520..1530], [112, 0, 0, 0, 0, 2, 2, 0, 7, 7]);
        let read = EfiProgram::parse(&signed).expect("program");
        assert!(read.is_signed() && read.digest() == digest);
        assert!(read.with_signature(&[7; 100]).expect("signed again") == signed);
        for at in [0x10, 0x58 + 65, 0x200, 1512] {
            let mut changed = signed.clone();
            changed[at] ^= 1;
            let is_covered = EfiProgram::parse(&changed).expect("program").digest() != digest;
            assert_eq!(is_covered, at != 0x58 + 65, "{at:#x}");
        }
    }

    #[test]
    fn what_no_signature_could_cover_is_refused() {
        let refused = |at: usize, value: &[u8]| {
            let mut bytes = program(1000);
            bytes[at..at + value.len()].copy_from_slice(value);
            EfiProgram::parse(&bytes).err().map(|error| format!("{error:#}")).unwrap_or_default()
        };
        assert_eq!(refused(0, b"ELF"), "no EFI program (PE/COFF): it does not begin with `MZ`");
        assert_eq!(refused(0x40, b"NE"), "no EFI program (PE/COFF): `PE` is not at 0x40, where the header of DOS points to");
        assert_eq!(refused(0x58, &[7, 1]), "an EFI program of an unknown kind, 0x107: neither PE32 nor PE32+");
        assert!(refused(0x58 + 108, &[4]).contains("no room for signatures"));
        assert!(refused(0x148 + 20, &[8, 2]).contains("begins at 0x208, and what precedes it ends at 0x200"));
        assert!(refused(0x148 + 16, &[0, 4]).contains("end at 0x600, its file at 0x5e8: it is cut off"));
        assert!(refused(0x58 + 112 + 32, &[8, 0, 0, 0, 8]).contains("are not the end of its file: 8 bytes at 0x8 of 0x5e8"));
        assert!(refused(0x58 + 60, &[0x10, 0]).contains("the headers of this EFI program are longer"));
    }

    #[test]
    fn damaged_programs_are_errors_or_programs() {
        let whole = EfiProgram::parse(&program(64)).expect("program").with_signature(&[7; 20]).expect("signed");
        for length in 0..whole.len() {
            let error = EfiProgram::parse(&whole[..length]).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("EFI program"), "{length}: {error}");
        }
        for at in 0..0x200 {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                if let Ok(program) = EfiProgram::parse(&bytes) {
                    assert_ne!(program.digest(), [0; 32]);
                    program.with_signature(&[7; 20]).expect("signed");
                }
            }
        }
    }
}
