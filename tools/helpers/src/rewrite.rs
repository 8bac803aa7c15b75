//! Writes several small text files together: all new texts are on the disk before the first file changes.

use anyhow::{Context as _, Result};
use common::artifact::Pending;
use std::{io::Write as _, path::Path};

/// Gives each file its new text and leaves its permissions; all files or none, unless renaming itself fails.
pub fn write_all<'f>(files: impl IntoIterator<Item = (&'f Path, &'f str)>) -> Result<()> {
    let pending: Vec<Pending> = files.into_iter().map(|(path, text)| prepare(path, text)).collect::<Result<_>>()?;
    pending.into_iter().try_for_each(Pending::commit)
}

/// Writes the new file beside the old one, with the same permissions; `commit` renames it.
fn prepare(path: &Path, text: &str) -> Result<Pending> {
    let pending = Pending::new(path)?;
    let mut file = pending.create()?;
    let permissions = path.metadata().with_context(|| format!("cannot look at `{}`", path.display()))?.permissions();
    file.write_all(text.as_bytes())
        .and_then(|()| file.set_permissions(permissions))
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(pending)
}
