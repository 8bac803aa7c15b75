//! The overlay image to which a guest writes, on top of the built image, and the login prompt on the console of a machine that `run` starts.

use super::machine::Place;
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::{Output, Tools, qemu_img::QemuImg, qemu_io};
use std::{
    fs::{self, File},
    io::{Read as _, Seek as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};
use vm::getty;

/// The overlay of the last run if it belongs to the same build, else a new one.
pub fn ensure(ctx: &Ctx, place: &Place, image: &Path, format: &str, tool: &QemuImg, fresh: bool) -> Result<PathBuf> {
    ensure_in(&ctx.tools, place, image, format, tool, fresh)
}

fn ensure_in(tools: &Tools, place: &Place, image: &Path, format: &str, tool: &QemuImg, fresh: bool) -> Result<PathBuf> {
    let dir = place.build.run();
    fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    let overlay = dir.join(format!("live-{format}.qcow2"));
    let note = dir.join(format!("live-{format}.base"));
    let base = identity(image)?;
    if !fresh && overlay.is_file() && fs::read_to_string(&note).is_ok_and(|known| known == base) {
        return Ok(overlay);
    }
    if fresh {
        remove(&place.build.swtpm())?;
    }
    // Remove the note first and write it last: an overlay without a note is never used.
    remove(&note)?;
    remove(&overlay)?;
    tool.create_overlay(image, format, &overlay)?;
    if let Some(patched) = getty::patch(image, format)? {
        write_qcow2(tools, place, &patched, &dir, &overlay)?;
    } else if !["qcow2", "raw"].contains(&format) {
        eprintln!("warning: the console of a {format} image has no login prompt; a qcow2 or raw image has one");
    }
    fs::write(&note, base).with_context(|| format!("cannot write {}", note.display()))?;
    Ok(overlay)
}

/// Changes the configuration on `image` so that its console has a login prompt. Warns if that fails: the machine runs without it.
pub fn ask_for_login(ctx: &Ctx, place: &Place, image: &Path, format: &str) {
    if let Err(error) = add_switch(ctx, place, image, format) {
        eprintln!("warning: the console of the machine may have no login prompt: {error:#}");
    }
}

fn add_switch(ctx: &Ctx, place: &Place, image: &Path, format: &str) -> Result<()> {
    let Some(patched) = getty::patch(image, format)? else { return Ok(()) };
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
    let copy = dir.join("config.img");
    remove(&copy)?;
    patched.layout.write(&File::options().read(true).write(true).create_new(true).open(&copy)?)?;
    let output = Output::default().with_log(place.log("qemu-io"));
    qemu_io::write_at(tools, image, patched.offset, &copy, patched.layout.size(), &output)
}

/// A text that differs between builds of an image.
fn identity(image: &Path) -> Result<String> {
    let meta = fs::metadata(image).with_context(|| format!("cannot look at {}", image.display()))?;
    Ok(format!("{} bytes, inode {}, {}.{:09} s\n", meta.len(), meta.ino(), meta.mtime(), meta.mtime_nsec()))
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

    #[test]
    fn the_overlay_is_kept_until_the_image_is_rebuilt() {
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
        let place = Place { current: Layout::at(dir.path()), build: Layout::at(dir.path()) };
        let ensure = |fresh| ensure_in(&tools, &place, &image, "vdi", &tool, fresh).unwrap();
        let overlay = ensure(false);
        fs::write(&overlay, "what the guest wrote").unwrap();
        ensure(false);
        assert_eq!(fs::read_to_string(&overlay).unwrap(), "what the guest wrote");
        fs::create_dir(dir.path().join("swtpm")).unwrap();
        ensure(true);
        assert_eq!(fs::read_to_string(&overlay).unwrap(), "new\n");
        assert!(!dir.path().join("swtpm").exists());
        fs::write(&overlay, "what the guest wrote").unwrap();
        fs::write(&image, "second!").unwrap();
        ensure(false);
        assert_eq!(fs::read_to_string(&overlay).unwrap(), "new\n");
    }
}
