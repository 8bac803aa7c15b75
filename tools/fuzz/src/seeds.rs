//! Inputs to start from: `corpus/TARGET/*`, made by foreign tools or kept because they once broke a reader, and texts of the target.

use crate::targets::FuzzTarget;
use anyhow::{Context as _, Result, ensure};
use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

/// The seeds of a target; the same order on every machine.
pub fn of(reader: &FuzzTarget) -> Result<Vec<Vec<u8>>> {
    let mut seeds: Vec<Vec<u8>> = reader.texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    for name in reader.folders {
        let folder = corpus().join(name);
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        files.sort();
        for file in files {
            seeds.push(read(&file)?);
        }
    }
    ensure!(!seeds.is_empty(), "the target {} has no seed", reader.name);
    Ok(seeds)
}

/// The folder of all seeds.
pub fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// A seed; what ends in `.gz` is kept compressed.
pub fn read(file: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    if file.extension().is_none_or(|ext| ext != "gz") {
        return Ok(bytes);
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain).with_context(|| format!("cannot unpack {}", file.display()))?;
    Ok(plain)
}
