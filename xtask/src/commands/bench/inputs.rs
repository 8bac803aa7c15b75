//! The inputs of benchmarks: images of the last build, or generated ones that take about as long to process.

use super::setting::Setting;
use anyhow::{Context as _, Result};
use filetree::{Content, Node, Tree};
use plan::{Composed, DiskKind, Layout};
use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

/// A file of the last build; none if it does not exist.
pub fn built(setting: &Setting<'_>, file: impl FnOnce(&Layout) -> PathBuf) -> Option<PathBuf> {
    let path = file(&setting.ctx.dist().current(setting.ctx.knobs.image.arch));
    path.canonicalize().ok().filter(|path| path.is_file())
}

/// The tar of a root file system.
pub fn tar(setting: &Setting<'_>) -> Result<PathBuf> {
    match built(setting, |layout| layout.tar(Composed::Rootfs, "")) {
        Some(path) => Ok(path),
        None => once(setting, "generated.tar", &|path| {
            let file = BufWriter::new(File::create(path)?);
            filetree::write_tar(&generated_tree()?, file)?.flush()?;
            Ok(())
        }),
    }
}

/// The image of a root file system.
pub fn rootfs(setting: &Setting<'_>) -> Result<PathBuf> {
    match built(setting, |layout| layout.part("rootfs.img")) {
        Some(path) => Ok(path),
        None => {
            let tar = tar(setting)?;
            once(setting, "generated.squash", &|path| setting.part(&["squashfs", "gzip"], &[&tar, path]).map(drop))
        }
    }
}

/// A raw disk.
pub fn raw(setting: &Setting<'_>) -> Result<PathBuf> {
    match built(setting, |layout| layout.disk(DiskKind::Live)) {
        Some(path) => Ok(path),
        None => {
            let rootfs = rootfs(setting)?;
            once(setting, "generated.raw", &|path| setting.part(&["disk"], &[&rootfs, path]).map(drop))
        }
    }
}

fn once(setting: &Setting<'_>, name: &str, make: &dyn Fn(&Path) -> Result<()>) -> Result<PathBuf> {
    let path = setting.folder.join(name);
    if !path.exists() {
        eprintln!("no build in {}: measuring with a generated file", setting.ctx.dist().path().display());
        make(&path).with_context(|| format!("cannot make `{}`", path.display()))?;
    }
    Ok(path)
}

/// A tree of 60 MiB: programs (half random, half repeated bytes) and many small texts.
fn generated_tree() -> Result<Tree> {
    let mut tree = Tree::new();
    let mut noise = 1_u64;
    let mut bytes = |len: usize| -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(&(noise >> 16).to_le_bytes());
            bytes.extend_from_slice(b"mov call");
        }
        bytes.truncate(len);
        bytes
    };
    tree.insert("EFI/BOOT/BOOTX64.EFI", Node::file(0o644, 0, Content::from(bytes(1 << 20))))?;
    for number in 0..100 {
        tree.insert(format!("usr/bin/program{number}"), Node::file(0o755, 0, Content::from(bytes(500 << 10))))?;
    }
    for number in 0..2000 {
        let text = format!("text {number}\n").repeat(300);
        tree.insert(format!("usr/share/{}/{number}", number % 50), Node::file(0o644, 0, Content::from(text.as_str())))?;
    }
    Ok(tree)
}
