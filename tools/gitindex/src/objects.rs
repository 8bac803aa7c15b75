//! Object ids of git, computed from the working tree. Source of the format: "Pro Git", chapter "Git Objects".

use sha1::{Digest as _, Sha1};
use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::Path,
};

/// A SHA-1.
pub type Id = [u8; 20];

/// Mode of a symbolic link.
pub const LINK: u32 = 0o120_000;
/// Mode of a folder.
pub const TREE: u32 = 0o40_000;
/// Mode of a submodule.
pub const LINKED_COMMIT: u32 = 0o160_000;

/// SHA-1 of the concatenated `parts`.
#[must_use]
pub fn sha1(parts: &[&[u8]]) -> Id {
    let mut hash = Sha1::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// Mode and blob id of the file in the working tree; `None` if there is no file (a folder counts as none).
pub fn file_now(path: &Path) -> io::Result<Option<(u32, Id)>> {
    let Ok(metadata) = path.symlink_metadata() else { return Ok(None) };
    if metadata.is_symlink() {
        let target = std::fs::read_link(path)?;
        let target = target.as_os_str().as_bytes();
        return Ok(Some((LINK, sha1(&[format!("blob {}\0", target.len()).as_bytes(), target]))));
    }
    if !metadata.is_file() {
        return Ok(None);
    }
    let mut hash = Sha1::new_with_prefix(format!("blob {}\0", metadata.len()));
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let got = file.read(&mut buffer)?;
        if got == 0 {
            break;
        }
        hash.update(&buffer[..got]);
    }
    let mode = if metadata.permissions().mode() & 0o100 != 0 { 0o100_755 } else { 0o100_644 };
    Ok(Some((mode, hash.finalize().into())))
}

/// Appends an entry to the content of a tree object.
pub fn push_entry(body: &mut Vec<u8>, mode: u32, name: &[u8], id: &Id) {
    body.extend_from_slice(format!("{mode:o} ").as_bytes());
    body.extend_from_slice(name);
    body.push(0);
    body.extend_from_slice(id);
}

/// The id of a tree object with this content.
#[must_use]
pub fn tree_of(body: &[u8]) -> Id {
    sha1(&[format!("tree {}\0", body.len()).as_bytes(), body])
}
