//! Verbs that print versions of images and modules.

use crate::commands::paths::absolute_path;
use anyhow::Result;
use checkout::context::Ctx;
use helpers::{image_version, old_images, sources::go_pseudo_version};
use std::path::PathBuf;

/// The argument of `oldimages`.
#[derive(clap::Args)]
pub struct OldImages {
    /// list only these images, such as lfedge/eve-pillar [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// `oldimages`.
pub fn print_old_images(ctx: &Ctx, OldImages { names }: OldImages) -> Result<()> {
    old_images::print_old_images(ctx, &names)
}

/// The arguments of `getimgversion`.
#[derive(clap::Args)]
pub struct GetImgVersion {
    /// also print the file types of pillar's programs
    #[arg(short = 'a')]
    all: bool,
    /// a squashfs, a disk (raw or qcow2) that contains one, an ext4, or a rootfs.tar
    #[arg(default_value = "rootfs.img", value_parser = absolute_path)]
    image: PathBuf,
}

/// `getimgversion`.
pub fn print_image_version(_: &Ctx, GetImgVersion { all, image }: GetImgVersion) -> Result<()> {
    image_version::print_image_version(&image, all)
}

/// The argument of `go-pkg-pseudo-version`.
#[derive(clap::Args)]
pub struct GoPkgPseudoVersion {
    /// the folder of the module's go.mod, in a git checkout
    #[arg(value_name = "DIR", value_parser = absolute_path)]
    folder: PathBuf,
}

/// `go-pkg-pseudo-version`.
pub fn print_pseudo_version(ctx: &Ctx, GoPkgPseudoVersion { folder }: GoPkgPseudoVersion) -> Result<()> {
    go_pseudo_version::print_pseudo_version(ctx, &folder)
}
