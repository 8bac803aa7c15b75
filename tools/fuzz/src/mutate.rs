//! Damages an input: bits, bytes, numbers, pieces of it and of others, words of the format.

use crate::coverage;
use fastrand::Rng;

/// Numbers at which lengths and offsets break.
const NUMBERS: [u64; 22] = [
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x1ff,
    0x200,
    0x7fff,
    0x8000,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];
/// Signs that mean something in texts.
const SIGNS: &[u8] = b"0123456789-+ \n\t/.:,#'\"{}[]()&*|";
/// Inputs grow no longer than this, or than the longest seed.
const MOST: usize = 1 << 16;
/// Blanks of an image are skipped in steps of this many bytes.
const STEP: usize = 16;

/// An input made of `base`, with a piece of `other` now and then.
pub fn mutate(base: &[u8], other: &[u8], words: &[&[u8]], random: &mut Rng) -> Vec<u8> {
    let most = MOST.max(base.len());
    let mut input = base.to_vec();
    let places = filled(base);
    for _ in 0..1_u32 << random.u32(..5) {
        change(&mut input, other, words, &places, random);
    }
    input.truncate(most);
    input
}

/// Offsets of the parts of `input` that are not blank: disks are mostly zeros, and nobody reads most of them.
fn filled(input: &[u8]) -> Vec<usize> {
    let blank = [0; STEP];
    let parts = input.chunks(STEP).enumerate().filter(|(_, part)| **part != blank[..part.len()]);
    parts.map(|(number, _)| number * STEP).collect()
}

/// A place in `input`, mostly in a part that is not blank.
fn place(input: &[u8], places: &[usize], random: &mut Rng) -> usize {
    let anywhere = random.usize(..input.len().max(1));
    if places.is_empty() || random.u8(..8) == 0 {
        return anywhere;
    }
    (places[random.usize(..places.len())] + random.usize(..STEP)).min(input.len().saturating_sub(1))
}

fn change(input: &mut Vec<u8>, other: &[u8], words: &[&[u8]], places: &[usize], random: &mut Rng) {
    if input.is_empty() {
        input.extend_from_slice(other);
        input.push(random.u8(..));
    }
    let at = place(input, places, random);
    match random.u8(..16) {
        0 | 1 => input[at] ^= 1 << random.u8(..8),
        2 => input[at] = random.u8(..),
        3 | 4 => write_number(input, at, NUMBERS[random.usize(..NUMBERS.len())], random),
        5 => {
            let by = u64::from(random.u8(1..=35));
            let len = 1 << random.usize(..4);
            let old = number_at(input, at, len, random.bool());
            write_number(input, at, if random.bool() { old.wrapping_add(by) } else { old.wrapping_sub(by) }, random);
        }
        6 => {
            let len = random.usize(1..=64).min(input.len() - at);
            input.drain(at..at + len);
        }
        7 => {
            let len = random.usize(1..=64).min(input.len() - at);
            let piece = input[at..at + len].to_vec();
            insert(input, at, &piece.repeat(random.usize(1..=4)));
        }
        8 => {
            // Copies a piece over another place.
            let from = place(input, places, random);
            let len = random.usize(1..=64).min(input.len() - at.max(from));
            input.copy_within(from..from + len, at);
        }
        9 if !other.is_empty() => {
            let from = random.usize(..other.len());
            let len = random.usize(1..=512).min(other.len() - from);
            let piece = &other[from..from + len];
            if random.bool() { insert(input, at, piece) } else { overwrite(input, at, piece) }
        }
        10 if random.u8(..4) == 0 => input.truncate(at),
        11 | 12 if !words.is_empty() => {
            let word = words[random.usize(..words.len())];
            if random.bool() { insert(input, at, word) } else { overwrite(input, at, word) }
        }
        13 => {
            let len = random.usize(1..=512).min(input.len() - at);
            input[at..at + len].fill([0, 0xff, b' ', b'A'][random.usize(..4)]);
        }
        14 => input[at] = SIGNS[random.usize(..SIGNS.len())],
        _ => match coverage::pair(random) {
            Some((left, right)) => replace(input, left, right, random),
            None => input[at] = input[at].wrapping_add(1),
        },
    }
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    input.splice(at..at, piece.iter().copied());
}

fn overwrite(input: &mut [u8], at: usize, piece: &[u8]) {
    let len = piece.len().min(input.len() - at);
    input[at..at + len].copy_from_slice(&piece[..len]);
}

fn number_at(input: &[u8], at: usize, len: usize, big: bool) -> u64 {
    let bytes = &input[at..(at + len).min(input.len())];
    let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    if big { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) }
}

/// Writes a number with one to eight bytes in either order.
fn write_number(input: &mut [u8], at: usize, number: u64, random: &mut Rng) {
    let len = 1 << random.usize(..4);
    if random.bool() { overwrite(input, at, &number.to_le_bytes()[..len]) } else { overwrite(input, at, &number.to_be_bytes()[8 - len..]) }
}

/// Writes one number where the other stands: they were compared, and the comparison may turn out differently.
fn replace(input: &mut [u8], left: u64, right: u64, random: &mut Rng) {
    let (old, new) = if random.bool() { (left, right) } else { (right, left) };
    let len = if old.max(new) > u64::from(u32::MAX) { 8 } else { 2 << random.usize(..2) };
    let (old, new) = if random.bool() {
        (old.to_le_bytes()[..len].to_vec(), new.to_le_bytes()[..len].to_vec())
    } else {
        (old.to_be_bytes()[8 - len..].to_vec(), new.to_be_bytes()[8 - len..].to_vec())
    };
    let found: Vec<usize> = input.windows(len).enumerate().filter(|(_, bytes)| *bytes == old).map(|(at, _)| at).take(64).collect();
    if !found.is_empty() {
        overwrite(input, found[random.usize(..found.len())], &new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_damage_keeps_within_the_bounds_and_follows_the_seed() {
        let bases: [&[u8]; 4] = [b"", b"a", b"some words of text", &[0; 300]];
        for seed in 0..5000 {
            let base = bases[usize::try_from(seed % 4).unwrap_or(0)];
            let make = || mutate(base, b"another", &[b"word", b"\n"], &mut Rng::with_seed(seed));
            assert_eq!(make(), make());
            assert!(make().len() <= MOST);
        }
    }
}
