//! The Go builder, the container in which lf-edge/eve's Go code is built, with the settings of a tree and its knobs.

use checkout::context::Ctx;
use child::go_builder::{GoBuilder, Settings};
use knobs::GoKnobs;

/// The Go builder for the tree of `ctx`.
#[must_use]
pub fn go_builder<'c>(ctx: &'c Ctx, knobs: &GoKnobs) -> GoBuilder<'c> {
    let host = &ctx.knobs.host;
    let proxies = [
        ("http_proxy", &host.http_proxy),
        ("https_proxy", &host.https_proxy),
        ("no_proxy", &host.no_proxy),
        ("all_proxy", &host.all_proxy),
    ];
    let settings = Settings {
        home: ctx.environment.home(),
        arch: ctx.knobs.image.arch,
        for_target: ctx.profile.tree.go_for_target,
        go_version: knobs.go_version.clone(),
        image_exists: knobs.build.as_deref() == Some("local"),
        proxies: proxies.into_iter().filter_map(|(inside, knob)| Some((inside, knob.clone()?))).collect(),
    };
    GoBuilder::new(&ctx.tools, &ctx.root, settings)
}
