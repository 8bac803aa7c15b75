//! Verbs that print versions of images and modules.

use crate::commands::{Run, paths::absolute_path};
use anyhow::Result;
use checkout::context::Ctx;
use helpers::{image_version, old_images, sources::go_pseudo_version};
use std::path::PathBuf;

/// list this tree's docker images whose tag is out of date
#[derive(clap::Args)]
pub struct OldImages {
    /// list only these images, such as lfedge/eve-pillar [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

impl Run for OldImages {
    fn run(self, ctx: &Ctx) -> Result<()> {
        old_images::print_old_images(ctx, &old_images::Options { names: self.names })
    }
}

/// print the version inside an image
#[derive(clap::Args)]
pub struct GetImgVersion {
    /// print too what kind of files the programs of pillar are
    #[arg(short = 'a')]
    all: bool,
    /// a squashfs, a disk (raw or qcow2) with one, an ext4, or a rootfs.tar
    #[arg(default_value = "rootfs.img", value_parser = absolute_path)]
    image: PathBuf,
}

impl Run for GetImgVersion {
    fn run(self, _: &Ctx) -> Result<()> {
        image_version::print_image_version(&image_version::Options { image: self.image, programs: self.all })
    }
}

/// print the version that Go gives the checked-out commit of a module
#[derive(clap::Args)]
pub struct GoPkgPseudoVersion {
    /// the folder of the module's go.mod, in a git checkout
    #[arg(value_name = "DIR", value_parser = absolute_path)]
    folder: PathBuf,
}

impl Run for GoPkgPseudoVersion {
    fn run(self, ctx: &Ctx) -> Result<()> {
        go_pseudo_version::print_pseudo_version(ctx, &go_pseudo_version::Options { folder: self.folder })
    }
}
