//! Verbs about the names in templates, ymls, and tags in the tree.

use crate::commands::{paths::absolute_path, paths::output_path};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use clap::ArgAction;
use common::error::usage;
use helpers::{compose_image_yml, parse_pkgs, update_component_sha};
use std::path::PathBuf;

/// The argument of `parse-pkgs`.
#[derive(clap::Args)]
pub struct ParsePkgs {
    /// print this file with images instead of its NAME_TAG words [default: print a table of all]
    #[arg(value_parser = absolute_path)]
    file: Option<PathBuf>,
}

/// `parse-pkgs`.
pub fn parse_pkgs(ctx: &Ctx, ParsePkgs { file }: ParsePkgs) -> Result<()> {
    parse_pkgs::print_images(ctx, file.as_deref(), &std::env::current_dir().context("there is no current folder")?)
}

/// The arguments of `compose-image-yml`.
#[derive(clap::Args)]
pub struct ComposeImageYml {
    /// the yml to start from
    #[arg(value_parser = absolute_path)]
    template: PathBuf,
    /// the file to write, `-` for standard output; the jq program OUT.yq, there or beside TEMPLATE, is applied to the yml
    out: PathBuf,
    /// the image's full version, such as 0.0.0-main-1234abcd-kvm-amd64
    #[arg(value_name = "VERSION")]
    image_version: String,
}

/// `compose-image-yml`.
pub fn compose_image_yml(ctx: &Ctx, ComposeImageYml { template, out, image_version }: ComposeImageYml) -> Result<()> {
    compose_image_yml::compose_image_yml(ctx, &template, output_path(&out)?.as_deref(), &image_version)
}

/// What `update-component-sha` replaces.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub struct UpdateComponentSha {
    /// replace the hash OLD by NEW
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], action = ArgAction::Set)]
    hash: Option<Vec<String>>,
    /// give the image IMAGE the tag NEW
    #[arg(long, num_args = 1..=2, value_names = ["IMAGE[:NEW]", "NEW"], action = ArgAction::Set)]
    image: Option<Vec<String>>,
    /// write the current tag of the package in DIR
    #[arg(long, value_name = "DIR", value_parser = absolute_path)]
    pkg: Option<PathBuf>,
    /// short for --hash OLD NEW
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
            _ => Err(usage("no hash or image to replace is given\nhint: cargo xtask update-component-sha --help")),
        }
    }
}

/// `update-component-sha`.
pub fn update_component_sha(ctx: &Ctx, arguments: UpdateComponentSha) -> Result<()> {
    update_component_sha::update_component_sha(ctx, &arguments.options()?)
}

fn split_reference(reference: &str) -> Result<update_component_sha::Options> {
    let (image, tag) = reference
        .rsplit_once(':')
        .ok_or_else(|| usage(format!("`{reference}` has no tag\nhint: --image IMAGE NEW, or --image IMAGE:NEW")))?;
    Ok(update_component_sha::Options::Image { image: image.to_owned(), tag: tag.to_owned() })
}
