//! Verbs that run containers or change docker's images: the Go builder, linuxkit and its cache, generators and checkers.

mod build_tools;
mod cache;
mod go;
mod housekeeping;

use super::{Verb, simple, verb};
use anyhow::Result;
use checkout::context::Ctx;
use child::Cmd;
use common::error::usage;

/// The verbs of this family.
pub const VERBS: &[Verb] = &[
    verb::<build_tools::BuildTools>("build-tools", "build the tools that the tree pins, in build-tools/bin"),
    verb::<build_tools::GoSources>("gosources", "build go-sources-and-licenses in build-tools/bin"),
    verb::<cache::Export>("cache-export", "export an image of the cache to a file"),
    verb::<cache::Load>("cache-export-docker-load", "export an image of the cache and load it into docker"),
    simple("cache-export-docker-load-all", "load all images that docker runs from the cache into docker", cache::load_all),
    simple("docker-old-images", "list this tree's docker images whose tag is out of date", housekeeping::old_images),
    simple("docker-image-clean", "remove this tree's docker images whose tag is out of date", housekeeping::clean_images),
    simple("yetus", "check the tree with Apache Yetus", housekeeping::yetus),
    verb::<go::TestPillar>("test-pillar", "run the tests of pkg/pillar"),
    simple("test-images-patches", "check that every patch of the image templates applies", go::test_patches),
    verb::<go::Pillar>("pillar", "run a target of pkg/pillar's own Makefile"),
    verb::<go::Proto>("proto", "generate the API's sources from its protobuf definitions"),
    verb::<go::ProtoVendor>("proto-vendor", "update the vendored API in pkg/pillar"),
    verb::<go::ProtoDiagram>("proto-diagram", "draw the API"),
    verb::<go::Shell>("shell", "open a shell in the Go builder"),
];

/// An error unless the tree is built by docker and linuxkit.
fn wants_containers(ctx: &Ctx, what: &str) -> Result<()> {
    if ctx.capabilities().tools_run_in_containers {
        return Ok(());
    }
    Err(usage(format!(
        "{what} needs the linuxkit engine: it works on lf-edge/eve's sources, in containers\nhint: cargo xtask --root DIR --engine linuxkit …"
    )))
}

/// Runs the commands in order, or prints them.
fn run_all(ctx: &Ctx, commands: impl IntoIterator<Item = Cmd>) -> Result<()> {
    for cmd in commands {
        if ctx.globals.dry_run {
            println!("{cmd}");
        } else {
            cmd.run()?;
        }
    }
    Ok(())
}
