//! Inputs that are files, or must lie in one.

use anyhow::{Context as _, Result};
use secureboot::EfiProgram;
use std::{path::Path, sync::OnceLock};
use tempfile::TempDir;

/// A folder of this process for whatever a reader writes.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<Option<TempDir>> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::tempdir().ok()).as_ref().map_or(Path::new("/dev/null"), TempDir::path)
}

/// A checkout without files: `top` and `top/.git`.
fn checkout() -> Result<(&'static Path, std::path::PathBuf)> {
    let git = folder().join(".git");
    std::fs::create_dir_all(&git).context("cannot make a folder")?;
    Ok((folder(), git))
}

/// git's index. A file that it names may be anywhere; it is looked at, never read here, because it is not there.
pub fn git_index(input: &[u8]) -> Result<()> {
    let (top, git) = checkout()?;
    std::fs::write(git.join("index"), input)?;
    drop(gitindex::clean(top, &git, None));
    Ok(())
}

/// An EFI program. Whatever is taken for one keeps its digest when it is signed.
pub fn efi_program(input: &[u8]) -> Result<()> {
    let program = EfiProgram::parse(input)?;
    let (signed, plain) = (program.with_signature(b"a signature")?, program.unsigned());
    let (signed, plain) = (EfiProgram::parse(&signed), EfiProgram::parse(&plain));
    assert!(signed.is_ok() && plain.is_ok(), "what becomes of a program is none: {signed:?} {plain:?}");
    let (signed, plain) = (signed?, plain?);
    assert!(signed.is_signed() && !plain.is_signed() && signed.digest() == plain.digest(), "the signature is about something else");
    Ok(())
}

pub const NAMES: &[&str] = &["1700000000 999999999 7 66 \x001700000000 1 8 66 a/b\0?dist\0?a/c d", "?x"];

/// The names remembered from an earlier look, with the checksum of an index of no file.
pub fn git_names(input: &[u8]) -> Result<()> {
    let (top, git) = checkout()?;
    let checksum = [b'1'; 20];
    std::fs::write(git.join("index"), [b"DIRC\0\0\0\x02\0\0\0\0", &checksum[..]].concat())?;
    let names = [b"names 2\n", &checksum[..], input, b"\0"].concat();
    let sum = gitindex::objects::sha1(&[&names]);
    drop(gitindex::clean(top, &git, Some(&[&names[..], &sum].concat())));
    Ok(())
}
