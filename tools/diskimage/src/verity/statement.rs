//! The signed block between a file system and its tree of hashes: lines of text that name the image and the root of the tree, a line with the
//! signature of those before it, and zeros. `pkg/verity/open` reads it in the initrd, before the file system is mounted.

use super::{BLOCK, Hash, LEN, Verity, layout};
use crate::read_at::{ReadAt, read_array};
use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use std::fmt::Write as _;

/// The first line.
const FORMAT: &str = "eve-verity-1";

/// What the block says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RootStatement {
    /// The version of the image, which the signed kernel expects.
    pub version: String,
    /// Its architecture, as in ZARCH.
    pub architecture: String,
    /// A digest of what the file system holds besides the signed kernel, which expects it: two images may have one version.
    pub content: String,
    /// The tree.
    pub verity: Verity,
}

impl RootStatement {
    /// The text that is signed.
    pub fn text(&self) -> Result<String> {
        let Self { version, architecture, content, verity: Verity { data_blocks, hash_start, salt, root } } = self;
        for word in [version, architecture, content] {
            ensure!(!word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic()), "`{}` is no word", word.escape_debug());
        }
        let (salt, root) = (hex(salt), hex(root));
        Ok(format!(
            "{FORMAT}\nversion={version}\narchitecture={architecture}\ncontent={content}\ndata_blocks={data_blocks}\nhash_start={hash_start}\nsalt={salt}\nroot={root}\n"
        ))
    }

    /// The block, with the signature of [`RootStatement::text`].
    pub fn block(&self, signature: &[u8]) -> Result<[u8; LEN]> {
        let text = format!("{}signature={}\n", self.text()?, hex(signature));
        ensure!(text.len() <= LEN, "the statement has {} bytes, and its block {LEN}", text.len());
        let mut block = [0; LEN];
        block[..text.len()].copy_from_slice(text.as_bytes());
        Ok(block)
    }

    /// Reads a block: the statement and its signature, which is not checked.
    pub fn parse(block: &[u8; LEN]) -> Result<(Self, Vec<u8>)> {
        let text = std::str::from_utf8(block).context("it is no text")?.trim_end_matches('\0');
        let mut lines = text.lines();
        ensure!(lines.next() == Some(FORMAT), "it does not begin with `{FORMAT}`");
        let mut value = |name: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.with_context(|| format!("it does not say `{name}=` where it should"))
        };
        let mut word = |name| value(name).map(str::to_owned);
        let (version, architecture, content) = (word("version")?, word("architecture")?, word("content")?);
        let (data_blocks, hash_start) = (value("data_blocks")?.parse()?, value("hash_start")?.parse()?);
        let mut hash =
            |name: &str| -> Result<Hash> { unhex(value(name)?)?.try_into().ok().with_context(|| format!("`{name}` is no SHA-256")) };
        let verity = Verity { data_blocks, hash_start, salt: hash("salt")?, root: hash("root")? };
        let (statement, signature) = (Self { version, architecture, content, verity }, unhex(value("signature")?)?);
        // One statement has one form.
        ensure!(statement.block(&signature)? == *block, "it is not in the form in which it is written");
        Ok((statement, signature))
    }
}

/// The statement about a file system of `used` bytes in `image`, and its signature; none if another block, or none, is there.
pub fn find(image: &dyn ReadAt, used: u64) -> Result<Option<(RootStatement, Vec<u8>)>> {
    // A damaged superblock may say anything.
    if used == 0 || used > image.size() {
        return Ok(None);
    }
    let at = layout(used)?.statement();
    if at + BLOCK > image.size() {
        return Ok(None);
    }
    let block: [u8; LEN] = read_array(image, at)?;
    if !block.starts_with(FORMAT.as_bytes()) {
        return Ok(None);
    }
    RootStatement::parse(&block).context("the statement about the root of the hashes").map(Some)
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    ensure!(
        text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "`{}` is not hexadecimal",
        text.escape_debug()
    );
    (0..text.len()).step_by(2).map(|at| Ok(u8::from_str_radix(&text[at..at + 2], 16)?)).collect()
}
