//! Verbs that run containers or change docker's images: the Go builder, linuxkit and its cache, generators and checkers.

mod cache;
mod go;
mod housekeeping;
mod linuxkit;

use super::{Verb, no_arguments, sources::typed::typed, verb};
use anyhow::Result;
use checkout::context::Ctx;
use child::Cmd;
use common::error::usage;
use plan::EngineKind;

/// The verbs of this family.
pub const VERBS: &[Verb] = &[
    verb("build-tools", "install the linuxkit that the tree pins, in build-tools/bin", no_arguments, linuxkit::build_tools),
    verb("gosources", "install go-sources-and-licenses in build-tools/bin", no_arguments, linuxkit::gosources),
    verb("cache-export", "export an image of the cache to a file", no_arguments, cache::export),
    typed::<cache::Load>("cache-export-docker-load", "export an image of the cache and load it into docker"),
    verb("cache-export-docker-load-all", "load all images that docker runs from the cache into docker", no_arguments, cache::load_all),
    verb("docker-old-images", "list this tree's docker images whose tag is out of date", no_arguments, housekeeping::old_images),
    verb("docker-image-clean", "remove this tree's docker images whose tag is out of date", no_arguments, housekeeping::clean_images),
    verb("yetus", "check the tree with Apache Yetus", no_arguments, housekeeping::yetus),
    verb("test-pillar", "run the tests of pkg/pillar", no_arguments, go::test),
    verb("test-images-patches", "check that every patch of the image templates applies", no_arguments, go::test_patches),
    typed::<go::Pillar>("pillar", "run a target of pkg/pillar's own Makefile"),
    typed::<go::Proto>("proto", "generate the API's sources from its protobuf definitions"),
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
