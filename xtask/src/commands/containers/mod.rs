//! Verbs that run containers or change docker's images: the Go builder, linuxkit and its cache, generators and checkers.

pub mod build_tools;
mod cache;
mod go;
mod housekeeping;
mod tree_target;

pub use go::open_shell;

use super::{Run, Verb, Wants, simple, verb};
use anyhow::Result;
use checkout::context::Ctx;
use child::Cmd;
use common::error::usage;

/// The verbs of this family.
pub const VERBS: &[Verb] = &[
    verb("build-tools", "build the tools that the tree pins, in build-tools/bin", &Run(build_tools::run)),
    verb("gosources", "build go-sources-and-licenses in build-tools/bin", &Run(build_tools::build_go_sources)),
    verb("cache-export", "export an image of the cache to a file", &Run(cache::export)),
    verb("pkg-archive", "build an image and write its archive into the folder of the package that contains it", &Run(cache::write_archive)),
    verb("cache-export-docker-load", "load images of the cache into docker", &Run(cache::load)),
    simple("cache-export-docker-load-all", "load all images that docker needs from the cache into docker", cache::load_all),
    simple("docker-old-images", "list this tree's docker images whose tag is out of date", housekeeping::old_images),
    simple("docker-image-clean", "remove this tree's docker images whose tag is out of date", housekeeping::clean_images),
    verb("target", "run a target of the tree's Makefile that only calls containers and scripts", &Run(tree_target::run)),
    simple("yetus", "check the tree with Apache Yetus in a container; with the native engine, `lint`", housekeeping::yetus),
    verb("test-pillar", "run the tests of pkg/pillar", &Run(go::test_pillar)).on(Wants::Pillar),
    simple("test-images-patches", "check that every patch of the image templates applies", go::check_patches),
    verb("pillar", "run a target of pkg/pillar's own Makefile", &Run(go::make_pillar)).on(Wants::Pillar),
    verb("proto", "generate the API's sources from its protobuf definitions", &Run(go::generate_all)).on(Wants::Api),
    verb("proto-vendor", "update the vendored API in pkg/pillar", &Run(go::vendor)).on(Wants::Api),
    verb("proto-diagram", "draw a diagram of the API", &Run(go::draw_diagram)).on(Wants::Api),
];

/// Fails unless the engine is linuxkit.
fn wants_containers(ctx: &Ctx, what: &str) -> Result<()> {
    if ctx.capabilities().tools_run_in_containers {
        return Ok(());
    }
    Err(usage(format!(
        "{what} needs the linuxkit engine: it runs containers on the sources of lf-edge/eve\nhint: cargo xtask --root DIR --engine linuxkit …"
    )))
}

/// Runs the commands in order; with `--dry-run` prints them.
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
