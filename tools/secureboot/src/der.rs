//! The part of DER (ITU-T X.690) that signatures need: writes elements, and reads them one after the other.

use anyhow::{Result, bail};

pub const INTEGER: u8 = 0x02;
pub const BITS: u8 = 0x03;
pub const OCTETS: u8 = 0x04;
const NULL: u8 = 0x05;
const OID: u8 = 0x06;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;

/// The tag `[number]` of a context; `whole` if the element holds others.
pub const fn context(number: u8, whole: bool) -> u8 {
    0x80 | number | if whole { 0x20 } else { 0 }
}

/// An element: tag, length, content.
pub fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    let bytes = content.len().to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let length = &bytes[zeros..];
    if content.len() >= 0x80 {
        out.push(0x80 | u8::try_from(length.len()).unwrap_or(8));
        out.extend_from_slice(length);
    } else {
        out.push(length.first().copied().unwrap_or(0));
    }
    out.extend_from_slice(&content);
    out
}

pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, parts)
}

/// The elements of a SET OF in DER's order.
pub fn set(parts: &[&[u8]]) -> Vec<u8> {
    let mut sorted = parts.to_vec();
    sorted.sort_unstable();
    element(SET, &sorted)
}

/// An object identifier; the first two numbers are those of ISO's tree, at most 2 and 39.
pub fn oid(numbers: &[u32]) -> Vec<u8> {
    let mut content = Vec::new();
    let first = numbers[0] * 40 + numbers[1];
    for number in std::iter::once(&first).chain(&numbers[2..]) {
        let groups = (32 - number.leading_zeros()).div_ceil(7).max(1);
        for group in (0..groups).rev() {
            let more = if group == 0 { 0 } else { 0x80 };
            content.push((number >> (7 * group) & 0x7f) as u8 | more);
        }
    }
    element(OID, &[&content])
}

pub fn null() -> Vec<u8> {
    element(NULL, &[])
}

/// One element of a text: its tag, its content, all its bytes, and what follows it.
pub struct Element<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    pub whole: &'a [u8],
    pub rest: &'a [u8],
}

/// Reads the first element of `bytes`, which must have `tag`.
pub fn read(bytes: &[u8], tag: u8) -> Result<Element<'_>> {
    let element = read_any(bytes)?;
    if element.tag != tag {
        bail!("an element of DER has the tag {:#04x} instead of {tag:#04x}", element.tag);
    }
    Ok(element)
}

/// Reads the first element of `bytes`.
pub fn read_any(bytes: &[u8]) -> Result<Element<'_>> {
    let cut = || anyhow::anyhow!("an element of DER is longer than the {} bytes that are there", bytes.len());
    let (&tag, &short) = (bytes.first().ok_or_else(cut)?, bytes.get(1).ok_or_else(cut)?);
    let (start, length) = if short < 0x80 {
        (2, usize::from(short))
    } else {
        let count = usize::from(short & 0x7f);
        let digits = bytes.get(2..2 + count).ok_or_else(cut)?;
        if count == 0 || count > 4 {
            bail!("the length of an element of DER has {count} bytes");
        }
        (2 + count, digits.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    let content = bytes.get(start..).and_then(|rest| rest.get(..length)).ok_or_else(cut)?;
    Ok(Element { tag, content, whole: &bytes[..start + length], rest: &bytes[start + length..] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_as_the_standard_writes_them() {
        assert_eq!(oid(&[1, 2, 840, 113_549]), [6, 6, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d]);
        assert_eq!(element(OCTETS, &[&[7; 200]])[..4], [4, 0x81, 200, 7]);
        assert_eq!(element(OCTETS, &[&[7; 300]])[..5], [4, 0x82, 1, 44, 7]);
        assert_eq!((null(), element(OCTETS, &[])), (vec![5, 0], vec![4, 0]));
        assert_eq!(set(&[&[5, 0], &[2, 1, 9]]), [0x31, 5, 2, 1, 9, 5, 0]);
    }

    #[test]
    fn what_is_cut_is_refused() {
        let whole = sequence(&[&element(OCTETS, &[&[7; 300]]), &null()]);
        let read_back = read(&whole, SEQUENCE).expect("sequence");
        let inner = read(read_back.content, OCTETS).expect("octets");
        assert_eq!((inner.content.len(), inner.rest, read_back.rest), (300, &[5, 0][..], &[][..]));
        for length in 0..whole.len() {
            let error = read_any(&whole[..length]).err().map(|error| error.to_string());
            assert_eq!(error, Some(format!("an element of DER is longer than the {length} bytes that are there")));
        }
        let error = |bytes: &[u8]| read(bytes, SEQUENCE).err().expect("refused").to_string();
        assert_eq!(error(&[4, 0]), "an element of DER has the tag 0x04 instead of 0x30");
        assert_eq!(error(&[0x30, 0x80, 0, 0]), "the length of an element of DER has 0 bytes");
        assert_eq!(error(&[0x30, 9, 0]), "an element of DER is longer than the 3 bytes that are there");
    }
}
