//! What is done by or to containers: the Go builder, linuxkit and its cache, docker's images, generators and checkers.

pub mod build_tools;
mod cache;
mod go;
mod housekeeping;

use super::{Verb, no_arguments, verb};
use anyhow::Result;
use checkout::context::Ctx;
use child::Cmd;
use common::error::usage;
use plan::EngineKind;

/// The verbs of this family.
pub const VERBS: &[Verb] = &[
    verb("build-tools", "build the tools that the tree pins, in build-tools/bin", build_tools::arguments, build_tools::run),
    verb("gosources", "build go-sources-and-licenses in build-tools/bin", no_arguments, build_tools::gosources),
    verb("cache-export", "export an image of the cache to a file", no_arguments, cache::export),
    verb("cache-export-docker-load", "export an image of the cache and load it into docker", cache::load_arguments, cache::load),
    verb("cache-export-docker-load-all", "the same for all images that docker runs", no_arguments, cache::load_all),
    verb("docker-old-images", "list docker's images that are not of the tree's present state", no_arguments, housekeeping::old_images),
    verb("docker-image-clean", "remove them", no_arguments, housekeeping::clean_images),
    verb("yetus", "check the tree with Apache Yetus", no_arguments, housekeeping::yetus),
    verb("test-pillar", "run the tests of pkg/pillar", no_arguments, go::test),
    verb("test-images-patches", "check that every patch of the image templates applies", no_arguments, go::test_patches),
    verb("pillar", "run a target of pkg/pillar's own Makefile", go::pillar_arguments, go::pillar),
    verb("proto", "generate the API's sources from its protobuf definitions", go::proto_arguments, go::proto),
    verb("proto-vendor", "update the vendored API in pkg/pillar", no_arguments, go::proto_vendor),
    verb("proto-diagram", "draw the API", no_arguments, go::proto_diagram),
    verb("shell", "open a shell in the Go builder", no_arguments, go::shell),
];

/// An error unless the tree is built by docker and linuxkit.
fn wants_containers(ctx: &Ctx, what: &str) -> Result<()> {
    if ctx.engine == EngineKind::Linuxkit {
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
