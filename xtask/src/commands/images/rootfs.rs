//! `makerootfs MODE`: makes rootfs.tar from a yml, rootfs.img from a tar, or rootfs.img from a yml.

use super::asked::Asked;
use crate::commands::paths::absolute_path;
use anyhow::Result;
use checkout::context::Ctx;
use clap::ValueEnum;
use common::{Arch, error::usage};
use knobs::RootfsFormat;
use plan::steps::{ComposeRootfs, PackRootfs, RootfsFiles};
use std::path::{Path, PathBuf};

const TAR: &str = "makerootfs tar -y YML -t TAR [-a ARCH], for example: cargo xtask makerootfs tar -y rootfs.yml -t rootfs.tar";
const IMAGE: &str =
    "makerootfs image -y YML -i IMAGE [-f squash|ext4] [-a ARCH], for example: cargo xtask makerootfs image -y rootfs.yml -i rootfs.img";
const FROM_TAR: &str = "makerootfs imagefromtar -t TAR -i IMAGE [-f squash|ext4], for example: cargo xtask makerootfs imagefromtar -t rootfs.tar -i rootfs.img";

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Tar,
    Image,
    #[value(name = "imagefromtar")]
    ImageFromTar,
}

/// What to make, and from which files.
#[derive(clap::Args)]
pub struct MakeRootfs {
    /// tar (yml to tar), image (yml to image), imagefromtar (tar to image)
    #[arg(hide_possible_values = true)]
    mode: Option<Mode>,
    /// the list of images, with all tags filled in
    #[arg(short = 'y', value_parser = absolute_path)]
    yml: Option<PathBuf>,
    /// the tar of the root file system: written by tar, read by imagefromtar
    #[arg(short = 't', value_parser = absolute_path)]
    tar: Option<PathBuf>,
    /// the image to write
    #[arg(short = 'i', value_parser = absolute_path)]
    image: Option<PathBuf>,
    /// squash or ext4 [default: ROOTFS_FORMAT]
    #[arg(short = 'f')]
    format: Option<RootfsFormat>,
    /// the machine's architecture [default: ZARCH]
    #[arg(short = 'a')]
    arch: Option<Arch>,
}

/// The files to read and write.
struct Work {
    yml: Option<PathBuf>,
    tar: Option<PathBuf>,
    image: Option<PathBuf>,
}

impl Work {
    /// Fails unless exactly the files that the mode needs are given.
    fn new(mode: Option<Mode>, yml: Option<PathBuf>, tar: Option<PathBuf>, image: Option<PathBuf>) -> Result<Self> {
        let given = (yml.is_some(), tar.is_some(), image.is_some());
        let (help, right) = match mode {
            Some(Mode::Tar) => (TAR, (true, true, false)),
            Some(Mode::Image) => (IMAGE, (true, false, true)),
            Some(Mode::ImageFromTar) => (FROM_TAR, (false, true, true)),
            None => return Err(usage(format!("usage: {IMAGE}; or the modes tar (-y -t) and imagefromtar (-t -i)"))),
        };
        if given == right { Ok(Self { yml, tar, image }) } else { Err(usage(format!("usage: {help}"))) }
    }
}

/// `makerootfs`.
pub fn run(ctx: &Ctx, MakeRootfs { mode, yml, tar, image, format, arch }: MakeRootfs) -> Result<()> {
    let work = Work::new(mode, yml, tar, image)?;
    let mut asked = Asked::new(ctx)?;
    let between = asked.scratch().join("rootfs.tar");
    let tar = work.tar.unwrap_or_else(|| between.clone());
    if let Some(yml) = &work.yml {
        refuse_template(yml)?;
        compose(&mut asked, yml, arch.unwrap_or(ctx.knobs.image.arch), &tar);
    }
    let Some(image) = &work.image else { return asked.make(&tar) };
    pack(ctx, &mut asked, &tar, format.unwrap_or(ctx.knobs.image.rootfs_format), image)?;
    let made = asked.make(image);
    // The tar between yml and image is temporary. A tar from the command line is another file and stays.
    let _ = std::fs::remove_file(between);
    made
}

/// Fails if the yml is a template of images/, whose words are not filled in.
fn refuse_template(yml: &Path) -> Result<()> {
    match yml.extension().is_some_and(|extension| extension == "in") {
        true => Err(usage(format!(
            "`{0}` is a template: it names packages, not images\nhint: cargo xtask parse-pkgs {0} > rootfs.yml fills it in; then makerootfs -y rootfs.yml",
            yml.display()
        ))),
        false => Ok(()),
    }
}

fn compose(asked: &mut Asked<'_>, yml: &Path, arch: Arch, out: &Path) {
    // linuxkit starts in the folder above the yml's folder, as in a tree.
    let sources = yml.parent().and_then(Path::parent).or(yml.parent()).unwrap_or(yml).to_owned();
    let (yml, out_path) = (yml.to_owned(), out.to_owned());
    let step = ComposeRootfs { yml, images: vec![], arch, sources, kernel: None, hypervisor: None, update: false, out: out_path };
    asked.add("rootfs.tar", step, out);
}

fn pack(ctx: &Ctx, asked: &mut Asked<'_>, tar: &Path, format: RootfsFormat, out: &Path) -> Result<()> {
    let step = PackRootfs {
        files: RootfsFiles::Tar(tar.to_owned()),
        out: out.to_owned(),
        link: None,
        format,
        compression: ctx.knobs.image.compression,
        // The old script checked no size limit.
        limit: u64::MAX,
        epoch: asked.epoch(),
        signing: None,
        tool: asked.tool(&format!("mkrootfs-{format}"))?,
    };
    asked.add("rootfs.img", step, out);
    Ok(())
}
