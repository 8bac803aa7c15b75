//! Nodes that write small files and links, and take files out of a package.

use super::Native;
use crate::{
    execute::artifact::{Pending, link_atomically, write_atomically},
    plan::ImageRef,
};
use anyhow::{Context as _, Result, bail};
use filetree::{Kind, Node};
use std::{
    io::{Write as _, copy},
    path::Path,
};

pub(super) fn write_text(path: &Path, text: &str) -> Result<()> {
    write_atomically(path, text.as_bytes())
}

pub(super) fn link(link: &Path, target: &Path) -> Result<()> {
    link_atomically(link, target)
}

/// One mebibyte of zeros, as the original makes it: enough to trigger the first boot's formatting.
pub(super) fn make_persist(out: &Path) -> Result<()> {
    let pending = Pending::new(out)?;
    pending.create()?.write_all(&vec![0; 1 << 20]).with_context(|| format!("cannot write `{}`", out.display()))?;
    pending.commit()
}

pub(super) fn export_firmware(native: &Native, image: &ImageRef, out: &Path, files: &[String]) -> Result<()> {
    let tree = native.image(image)?.tree()?;
    for file in files {
        let at = tree.resolve(file, true)?;
        let Some(Node { kind: Kind::File { content, .. }, .. }) = tree.get(&at) else {
            bail!("{image} has no file `/{file}`, which the virtual machine boots with");
        };
        let pending = Pending::new(&out.join(file))?;
        copy(&mut content.open()?, &mut pending.create()?).with_context(|| format!("cannot write `{}`", out.join(file).display()))?;
        pending.commit()?;
    }
    Ok(())
}
