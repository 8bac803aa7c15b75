//! The overlay image to which a guest writes, on top of the built image, and the login prompt on the console of a machine that `run` starts.

use super::machine::Place;
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::{Output, Tools, qemu_img::QemuImg, qemu_io};
use std::{
    fs::{self, File},
    io::{Read as _, Seek as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};
use vm::{Base, getty};

/// The overlay of the last run, or a new one. Call it only with the lock of the overlay, and if `fresh` also that of the TPM: it deletes
/// both. An overlay on an image that has changed since is an error.
/// A new one lets `key` in by ssh, if that is given.
pub fn ensure(ctx: &Ctx, place: &Place, image: &Path, format: &str, tool: &QemuImg, options: New<'_>) -> Result<PathBuf> {
    ensure_in(&ctx.tools, place, image, format, tool, options)
}

/// Choices for the overlay.
#[derive(Clone, Copy)]
pub struct New<'n> {
    /// Whether to delete the last one.
    pub fresh: bool,
    /// The public key that may log in to a new one.
    pub key: Option<&'n str>,
    /// The command that starts this machine with a new overlay, for a hint.
    pub anew: &'n str,
}

/// The path of the overlay over the live image of that format.
pub fn path(place: &Place, format: &str) -> PathBuf {
    place.build.run().join(format!("{}-{format}.qcow2", place.machine))
}

fn ensure_in(
    tools: &Tools,
    place: &Place,
    image: &Path,
    format: &str,
    tool: &QemuImg,
    New { fresh, key, anew }: New<'_>,
) -> Result<PathBuf> {
    let dir = place.build.run();
    fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    let overlay = path(place, format);
    let note = overlay.with_extension("base");
    // An overlay without a note was never used: the note is written last.
    if !fresh && overlay.is_file() && note.is_file() {
        if Base::is_in(&note, image)? {
            return Ok(overlay);
        }
        bail!(
            "{} has changed since the machine wrote to {}, which holds only the differences from it\n\
             hint: {anew} deletes what the machine wrote and starts with the new image",
            image.display(),
            overlay.display(),
        );
    }
    if fresh {
        remove(&place.swtpm())?;
    }
    remove(&note)?;
    remove(&overlay)?;
    let base = Base::of(image)?;
    tool.create_overlay(image, format, &overlay)?;
    if let Some(patched) = getty::patch(image, format, key)? {
        write_qcow2(tools, place, &patched, &dir, &overlay)?;
    } else if !["qcow2", "raw"].contains(&format) {
        eprintln!("warning: the console of a {format} image has no login prompt; a qcow2 or raw image has one");
    }
    base.write(&note)?;
    Ok(overlay)
}

/// Changes the configuration on `image` so that its console has a login prompt. Warns if that fails: the machine runs without it.
pub fn ask_for_login(ctx: &Ctx, place: &Place, image: &Path, format: &str) {
    if let Err(error) = add_switch(ctx, place, image, format) {
        eprintln!("warning: the console of the machine may have no login prompt: {error:#}");
    }
}

fn add_switch(ctx: &Ctx, place: &Place, image: &Path, format: &str) -> Result<()> {
    let Some(patched) = getty::patch(image, format, None)? else { return Ok(()) };
    let dir = place.build.run();
    fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    if format != "raw" {
        return write_qcow2(&ctx.tools, place, &patched, &dir, image);
    }
    let mut copy = tempfile::tempfile_in(&dir).context("cannot make a temporary file")?;
    patched.layout.write(&copy)?;
    copy.rewind()?;
    let disk = File::options().write(true).open(image).with_context(|| format!("cannot write to {}", image.display()))?;
    let (mut buffer, mut at) = (vec![0; 1 << 16], patched.offset);
    loop {
        let count = copy.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        disk.write_all_at(&buffer[..count], at).with_context(|| format!("cannot write to {}", image.display()))?;
        at += count as u64;
    }
}

fn write_qcow2(tools: &Tools, place: &Place, patched: &getty::Patched, dir: &Path, image: &Path) -> Result<()> {
    let copy = tempfile::Builder::new().prefix("config-").tempfile_in(dir).context("cannot make a temporary file")?;
    patched.layout.write(copy.as_file())?;
    let output = Output::default().with_log(place.log("qemu-io"));
    qemu_io::write_at(tools, image, patched.offset, copy.path(), patched.layout.size(), &output)
}

/// Removes a file, or a folder with all files in it, if it exists.
fn remove(path: &Path) -> Result<()> {
    match if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) } {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use child::{Tool, fake};
    use plan::Layout;
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    #[test]
    fn what_the_guest_wrote_is_deleted_only_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        fake::tool(
            dir.path(),
            Tool::QemuImg,
            "case $1 in --version) echo version 7.2;; create) eval last=\\${$#}; echo new > \"$last\";; esac",
        );
        let tools: Tools = fake::tools(dir.path());
        let tool = QemuImg::new(&tools, Output::default()).unwrap();
        let image = dir.path().join("live.vdi");
        fs::write(&image, "first").unwrap();
        let of = || Layout::at(dir.path());
        let place = Place { current: of(), build: of(), media: of(), machine: "live".into(), target: None };
        let ensure = |fresh| ensure_in(&tools, &place, &image, "vdi", &tool, New { fresh, key: None, anew: "cargo xtask run --fresh" });
        let overlay = ensure(false).unwrap();
        fs::write(&overlay, "what the guest wrote").unwrap();
        ensure(false).unwrap();
        assert_eq!(fs::read_to_string(&overlay).unwrap(), "what the guest wrote");
        fs::create_dir(dir.path().join("swtpm")).unwrap();
        fs::write(&image, "second!").unwrap();
        let error = common::error::render(&ensure(false).unwrap_err());
        assert!(
            error.contains("live.vdi has changed since the machine wrote to ") && error.contains("hint: cargo xtask run --fresh deletes ")
        );
        assert_eq!(fs::read_to_string(&overlay).unwrap(), "what the guest wrote");
        ensure(true).unwrap();
        assert_eq!(fs::read_to_string(&overlay).unwrap(), "new\n");
        assert!(!dir.path().join("swtpm").exists());
        fs::remove_file(overlay.with_extension("base")).unwrap();
        fs::write(&overlay, "half made").unwrap();
        ensure(false).unwrap();
        assert_eq!(fs::read_to_string(&overlay).unwrap(), "new\n");
    }

    #[test]
    fn a_tree_that_moved_keeps_its_overlay() {
        let tools = Tools::only_in("/usr/bin:/usr/local/bin:/opt/homebrew/bin");
        let Ok(tool) = QemuImg::new(&tools, Output::default()) else {
            skips::missing("qemu-img", "qemu-utils");
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        // A comma, a colon and a byte that is no UTF-8.
        let (old, new) = (dir.path().join(OsStr::from_bytes(b"a,b:\xff")), dir.path().join("new"));
        fs::create_dir(&old).unwrap();
        fs::write(old.join("live.raw"), [7; 4096]).unwrap();
        let ensure = |root: &Path| {
            let of = || Layout::at(root);
            let place = Place { current: of(), build: of(), media: of(), machine: "live".into(), target: None };
            ensure_in(&tools, &place, &root.join("live.raw"), "raw", &tool, New { fresh: false, key: None, anew: "" }).unwrap()
        };
        ensure(&old);
        fs::rename(&old, &new).unwrap();
        fs::create_dir(&old).unwrap();
        fs::write(old.join("live.raw"), [9; 4096]).unwrap();
        let overlay = ensure(&new);
        assert!(overlay.starts_with(&new));
        let read = dir.path().join("read.raw");
        tools.cmd(Tool::QemuImg).unwrap().args(["convert", "-O", "raw"]).args([&overlay, &read]).run().unwrap();
        assert_eq!(fs::read(&read).unwrap(), [7; 4096]);
    }
}
