//! `makerootfs MODE`: a yml to rootfs.tar, a tar to rootfs.img, or both in one.

use super::{absolute, asked::Asked, option, word};
use anyhow::Result;
use checkout::context::Ctx;
use clap::{ArgMatches, Command};
use common::{Arch, error::usage};
use knobs::RootfsFormat;
use plan::steps::{ComposeRootfs, PackRootfs};
use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

const TAR: &str = "makerootfs tar -y YML -t TAR [-a ARCH], for example: cargo xtask makerootfs tar -y rootfs.yml -t rootfs.tar";
const IMAGE: &str =
    "makerootfs image -y YML -i IMAGE [-f squash|ext4] [-a ARCH], for example: cargo xtask makerootfs image -y rootfs.yml -i rootfs.img";
const FROM_TAR: &str = "makerootfs imagefromtar -t TAR -i IMAGE [-f squash|ext4], for example: cargo xtask makerootfs imagefromtar -t rootfs.tar -i rootfs.img";

/// Its arguments.
pub fn arguments(command: Command) -> Command {
    command
        .arg(word("mode", "MODE", "tar (yml to tar), image (yml to image), imagefromtar (tar to image)"))
        .arg(option("y", "YML", "the list of images, resolved: no @TAGs in it"))
        .arg(option("t", "TAR", "the root file system as a tar: the result of tar, the input of imagefromtar"))
        .arg(option("i", "IMAGE", "the image to write"))
        .arg(option("f", "FORMAT", "squash or ext4; else what ROOTFS_FORMAT says"))
        .arg(option("a", "ARCH", "for which machine; else what ZARCH says"))
}

/// What is made of what.
#[derive(Debug, PartialEq, Eq)]
struct Work {
    yml: Option<PathBuf>,
    tar: Option<PathBuf>,
    image: Option<PathBuf>,
}

impl Work {
    /// Exactly what the mode has to do with may be given.
    fn parse(arguments: &ArgMatches) -> Result<Self> {
        let path = |letter: &str| arguments.get_one::<String>(letter).map(|path| absolute(path)).transpose();
        let work = Self { yml: path("y")?, tar: path("t")?, image: path("i")? };
        let given = (work.yml.is_some(), work.tar.is_some(), work.image.is_some());
        let (help, right) = match arguments.get_one::<String>("mode").map(String::as_str) {
            Some("tar") => (TAR, (true, true, false)),
            Some("image") => (IMAGE, (true, false, true)),
            Some("imagefromtar") => (FROM_TAR, (false, true, true)),
            Some(other) => return Err(usage(format!("`{other}` is none of tar, image, imagefromtar\nhint: usage: {IMAGE}"))),
            None => return Err(usage(format!("usage: {IMAGE}; or the modes tar (-y -t) and imagefromtar (-t -i)"))),
        };
        if given == right { Ok(work) } else { Err(usage(format!("usage: {help}"))) }
    }
}

/// An option's word, or what the knob says.
fn choice<T: FromStr<Err = String> + Copy>(arguments: &ArgMatches, letter: &str, knob: T) -> Result<T> {
    let Some(text) = arguments.get_one::<String>(letter) else { return Ok(knob) };
    text.parse().map_err(|error: String| usage(format!("-{letter}: {error}")))
}

/// `makerootfs`.
pub fn run(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let work = Work::parse(arguments)?;
    let format = choice(arguments, "f", ctx.knobs.rootfs_format)?;
    let arch = choice(arguments, "a", ctx.knobs.arch)?;
    let mut asked = Asked::new(ctx)?;
    let between = asked.scratch().join("rootfs.tar");
    let tar = work.tar.unwrap_or_else(|| between.clone());
    if let Some(yml) = &work.yml {
        compose(&mut asked, yml, arch, &tar);
    }
    let Some(image) = &work.image else { return asked.make(&tar) };
    pack(ctx, &mut asked, &tar, format, image)?;
    let made = asked.make(image);
    // Only what nobody asked for.
    let _ = std::fs::remove_file(between);
    made
}

fn compose(asked: &mut Asked<'_>, yml: &Path, arch: Arch, out: &Path) {
    // As in a tree, the yml's folder lies in the one that linuxkit is started in.
    let sources = yml.parent().and_then(Path::parent).or(yml.parent()).unwrap_or(yml).to_owned();
    let (yml, out_path) = (yml.to_owned(), out.to_owned());
    let step = ComposeRootfs { yml, images: vec![], arch, sources, kernel: None, update: false, out: out_path };
    asked.add("rootfs.tar", step, out);
}

fn pack(ctx: &Ctx, asked: &mut Asked<'_>, tar: &Path, format: RootfsFormat, out: &Path) -> Result<()> {
    let step = PackRootfs {
        tar: tar.to_owned(),
        out: out.to_owned(),
        link: None,
        format,
        compression: ctx.knobs.compression,
        // The partition that it may not exceed is nothing that the script knew.
        limit: u64::MAX,
        epoch: asked.epoch(),
        tool: asked.tool(&format!("mkrootfs-{format}"))?,
    };
    asked.add("rootfs.img", step, out);
    Ok(())
}
