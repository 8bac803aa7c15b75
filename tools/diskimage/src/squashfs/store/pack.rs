//! A pack: the compressed blocks that one image had and no earlier one. First [`MAGIC`], then the blocks, then a row for each, then the
//! number of rows (u64, little endian) and the SHA-256 of the rows and that number.

use super::is_stored;
use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{BufWriter, Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

/// The start of a pack.
const MAGIC: &[u8; 16] = b"squashfs-blocks1";
/// Bytes of a row: key, check, offset, size field.
const ROW: u64 = 32 + 16 + 8 + 4;
/// Bytes after the rows.
const FOOT: u64 = 8 + 32;

/// The name of a block in the store.
pub(in super::super) type Key = [u8; 32];
/// A digest over a block's key and its compressed bytes.
pub(in super::super) type Check = [u8; 16];

/// One block in a file: a pack, or an image.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Row {
    pub key: Key,
    pub check: Check,
    /// Offset of its bytes.
    pub offset: u64,
    /// The size field of squashfs. A pack does not have the bytes of a block that is stored as it is.
    pub size: u32,
}

impl Row {
    fn length(&self) -> u64 {
        if is_stored(self.size) { 0 } else { u64::from(self.size) }
    }
}

/// What is known of a block.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Form {
    /// Its compressed bytes, and their check.
    Smaller(Vec<u8>, Check),
    /// It does not become smaller.
    AsItIs(Check),
}

/// The check of a block with `key` that was compressed to `bytes`; without bytes, of one that does not become smaller.
pub(in super::super) fn check(key: &Key, bytes: &[u8]) -> Check {
    let mut hash = Sha256::new();
    hash.update(key);
    hash.update(bytes);
    let digest = hash.finalize();
    std::array::from_fn(|at| digest[at])
}

/// An open pack.
#[derive(Debug)]
pub(super) struct Pack {
    pub file: File,
    pub rows: Vec<Row>,
}

impl Pack {
    /// Reads the rows of the pack at `path`. Fails if anything of them is damaged.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let start = MAGIC.len() as u64;
        let foot_at = length.checked_sub(FOOT).context("it is too short")?;
        let (mut magic, mut foot) = ([0; MAGIC.len()], [0; FOOT as usize]);
        file.read_exact_at(&mut magic, 0)?;
        file.read_exact_at(&mut foot, foot_at)?;
        let (count, digest) = foot.split_at(8);
        let bytes = u64::from_le_bytes(count.try_into()?).checked_mul(ROW).context("it has too many rows")?;
        let rows_at = foot_at.checked_sub(bytes).filter(|at| *at >= start).context("it is too short")?;
        let mut rows = vec![0; usize::try_from(bytes)?];
        file.read_exact_at(&mut rows, rows_at)?;
        if magic != *MAGIC || Sha256::new().chain_update(&rows).chain_update(count).finalize()[..] != *digest {
            bail!("its index is damaged");
        }
        let rows = rows.chunks_exact(ROW as usize).map(row).collect::<Result<Vec<_>>>()?;
        if rows.iter().any(|row| row.offset < start || row.offset.checked_add(row.length()).is_none_or(|end| end > rows_at)) {
            bail!("a block lies outside of it");
        }
        Ok(Self { file, rows })
    }

    /// The form of the block `row`; none if it is damaged.
    pub(super) fn form(&self, row: usize) -> Option<Form> {
        let row = &self.rows[row];
        let mut bytes = vec![0; usize::try_from(row.length()).ok()?];
        self.file.read_exact_at(&mut bytes, row.offset).ok()?;
        if check(&row.key, &bytes) != row.check {
            return None;
        }
        Some(if is_stored(row.size) { Form::AsItIs(row.check) } else { Form::Smaller(bytes, row.check) })
    }
}

fn row(bytes: &[u8]) -> Result<Row> {
    let (key, bytes) = bytes.split_at(32);
    let (check, bytes) = bytes.split_at(16);
    let (offset, size) = bytes.split_at(8);
    Ok(Row {
        key: key.try_into()?,
        check: check.try_into()?,
        offset: u64::from_le_bytes(offset.try_into()?),
        size: u32::from_le_bytes(size.try_into()?),
    })
}

/// Writes a pack with the blocks `rows` of `image`, sorted by offset, to the empty file `out`.
pub(super) fn write(image: &File, rows: &[Row], out: &mut File) -> Result<()> {
    out.write_all(MAGIC)?;
    let mut at = MAGIC.len() as u64;
    let mut packed = Vec::with_capacity(rows.len());
    // Neighbours are copied together.
    let mut run: (u64, u64) = (0, 0);
    for row in rows {
        packed.push(Row { offset: at, ..*row });
        at += row.length();
        if row.length() == 0 {
            continue;
        }
        if run.1 != row.offset {
            copy(image, run, out)?;
            run = (row.offset, row.offset);
        }
        run.1 += row.length();
    }
    copy(image, run, out)?;
    out.seek(SeekFrom::Start(at))?;
    let mut out = BufWriter::with_capacity(1 << 18, out);
    let (mut hash, count) = (Sha256::new(), (packed.len() as u64).to_le_bytes());
    for row in &packed {
        let bytes = [&row.key[..], &row.check, &row.offset.to_le_bytes(), &row.size.to_le_bytes()].concat();
        hash.update(&bytes);
        out.write_all(&bytes)?;
    }
    out.write_all(&count)?;
    out.write_all(&hash.chain_update(count).finalize())?;
    Ok(out.flush()?)
}

/// Appends the bytes of `image` between two offsets.
fn copy(image: &File, (from, to): (u64, u64), out: &mut File) -> Result<()> {
    let mut buffer = vec![0; usize::try_from((to - from).min(1 << 20))?];
    let mut at = from;
    while at < to {
        let part = &mut buffer[..usize::try_from((to - at).min(1 << 20))?];
        image.read_exact_at(part, at)?;
        out.write_all(part)?;
        at += part.len() as u64;
    }
    Ok(())
}
