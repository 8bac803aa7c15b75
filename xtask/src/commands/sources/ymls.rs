//! Verbs about template names, ymls and tags in the tree.

use crate::commands::{Run, paths::absolute_path, paths::output_path};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use clap::ArgAction;
use common::error::usage;
use helpers::{compose_image_yml, kernel_build_yml, parse_pkgs, update_component_sha};
use std::path::PathBuf;

/// print each template name's image, or a file with the names replaced
#[derive(clap::Args)]
pub struct ParsePkgs {
    /// print this file with its NAME_TAG words replaced by images [default: print the table]
    #[arg(value_parser = absolute_path)]
    file: Option<PathBuf>,
}

impl Run for ParsePkgs {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let folder = std::env::current_dir().context("there is no current folder")?;
        parse_pkgs::print_images(ctx, &parse_pkgs::Options { folder, file: self.file })
    }
}

/// apply an image template's patch and write the image's version into it
#[derive(clap::Args)]
pub struct ComposeImageYml {
    /// the yml to start from
    #[arg(value_parser = absolute_path)]
    template: PathBuf,
    /// the file to write, `-` for standard output; if there is a jq program OUT.yq, or one of that name beside TEMPLATE, it
    /// changes the yml
    out: PathBuf,
    /// the image's full version, such as 0.0.0-main-1234abcd-kvm-amd64
    #[arg(value_name = "VERSION")]
    image_version: String,
}

impl Run for ComposeImageYml {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let Self { template, out, image_version: version } = self;
        compose_image_yml::compose_image_yml(ctx, &compose_image_yml::Options { template, out: output_path(&out)?, version })
    }
}

/// `kernel-build-yml`.
pub fn kernel_build_yml(ctx: &Ctx) -> Result<()> {
    kernel_build_yml::write_build_ymls(ctx)
}

/// write another hash or tag wherever the tree names an image
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub struct UpdateComponentSha {
    /// replace the hash OLD by NEW
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], action = ArgAction::Set)]
    hash: Option<Vec<String>>,
    /// give the image IMAGE the tag NEW
    #[arg(long, num_args = 1..=2, value_names = ["IMAGE[:NEW]", "NEW"], action = ArgAction::Set)]
    image: Option<Vec<String>>,
    /// give the image of the package in DIR its present tag
    #[arg(long, value_name = "DIR", value_parser = absolute_path)]
    pkg: Option<PathBuf>,
    /// the same as --hash OLD NEW
    #[arg(num_args = 2, value_names = ["OLD", "NEW"], action = ArgAction::Set)]
    words: Option<Vec<String>>,
}

impl UpdateComponentSha {
    fn options(self) -> Result<update_component_sha::Options> {
        let words = |words: Option<Vec<String>>| words.map(|words| <[String; 2]>::try_from(words).unwrap_or_default());
        if let Some([old, new]) = words(self.hash).or_else(|| words(self.words)) {
            return Ok(update_component_sha::Options::Hash { old, new });
        }
        match (self.image.as_deref(), self.pkg) {
            (Some([image, tag]), _) => Ok(update_component_sha::Options::Image { image: image.clone(), tag: tag.clone() }),
            (Some([reference]), _) => split_reference(reference),
            (_, Some(folder)) => Ok(update_component_sha::Options::Package { folder }),
            _ => Err(usage("nothing says what to replace\nhint: cargo xtask update-component-sha --help")),
        }
    }
}

impl Run for UpdateComponentSha {
    fn run(self, ctx: &Ctx) -> Result<()> {
        update_component_sha::update_component_sha(ctx, &self.options()?)
    }
}

fn split_reference(reference: &str) -> Result<update_component_sha::Options> {
    let (image, tag) = reference
        .rsplit_once(':')
        .ok_or_else(|| usage(format!("`{reference}` has no tag\nhint: --image IMAGE NEW, or --image IMAGE:NEW")))?;
    Ok(update_component_sha::Options::Image { image: image.to_owned(), tag: tag.to_owned() })
}
