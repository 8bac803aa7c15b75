//! Verbs that run in the container with the tree's Go.

use super::{super::sources::typed::Arguments, wants_containers};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::go_builder::{GoBuilder, Run, Settings};
use clap::ArgMatches;
use common::error::usage;
use std::path::{Path, PathBuf};

const MODULE: &str = "github.com/lf-edge/eve/pkg/pillar";
/// The module path at which the builder mounts sources that are no module.
const NO_MODULE: &str = "dummy";

fn run(ctx: &Ctx, what: &Run<'_>) -> Result<()> {
    wants_containers(ctx, what.step)?;
    let builder = go_builder(ctx);
    if !ctx.globals.dry_run {
        return builder.run(what);
    }
    for cmd in builder.image_command()?.into_iter().chain([builder.command(what)?]) {
        println!("{cmd}");
    }
    Ok(())
}

fn in_pillar<'r>(ctx: &Ctx, step: &'r str, script: &'r str, module: &'r str) -> Run<'r> {
    Run { step, script, sources: ctx.root.join("pkg/pillar"), module, bin: None, interactive: false }
}

/// `test-pillar`.
pub fn test(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    wants_containers(ctx, "test-pillar")?;
    let results = format!("/eve/dist/{}/results", ctx.knobs.arch);
    let script = format!("gotestsum --jsonfile {results}.json --junitfile {results}.xml");
    if !ctx.globals.dry_run {
        check_patches(ctx)?;
        std::fs::create_dir_all(ctx.dist().join(ctx.knobs.arch.as_str()))?;
    }
    run(ctx, &in_pillar(ctx, "testing pillar", &script, MODULE))
}

/// `test-images-patches`.
pub fn test_patches(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    check_patches(ctx)
}

/// Every patch of the root file system's template, applied to it in memory.
fn check_patches(ctx: &Ctx) -> Result<()> {
    let template = &ctx.profile.templates.rootfs;
    let text = std::fs::read_to_string(template).with_context(|| format!("cannot read the template `{}`", template.display()))?;
    for hv in &ctx.profile.tree.hypervisors {
        for patch in checkout::programs(&ctx.profile.templates.patches, &ctx.root, hv, &ctx.knobs.platform) {
            checkout::patch_template(&text, &patch)?;
            println!("{}: applies", common::display::short(&patch, &ctx.root));
        }
    }
    Ok(())
}

/// run a target of pkg/pillar's own Makefile
#[derive(clap::Args)]
pub struct Pillar {
    /// a target of pkg/pillar/Makefile
    target: String,
}

impl Arguments for Pillar {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let target = self.target;
        if !target.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c)) {
            return Err(usage(format!("`{target}` is no make target")));
        }
        run(ctx, &in_pillar(ctx, "running pillar's make", &format!("make {target}"), NO_MODULE))
    }
}

/// `shell`.
pub fn shell(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    run(ctx, &Run { interactive: true, ..in_pillar(ctx, "running a shell", "bash", MODULE) })
}

/// generate the API's sources from its protobuf definitions
#[derive(clap::Args)]
pub struct Proto {
    /// go or python [default: all of PROTO_LANGS, and the diagram]
    #[arg(value_name = "LANGUAGE")]
    languages: Vec<String>,
}

impl Arguments for Proto {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let all = self.languages.is_empty();
        let languages = if all { ctx.knobs.text("PROTO_LANGS").split_whitespace().map(str::to_owned).collect() } else { self.languages };
        for language in &languages {
            generate(ctx, language)?;
        }
        if all {
            diagram(ctx)?;
        }
        Ok(())
    }
}

/// Generates the API's sources in one language, in place of the old ones.
fn generate(ctx: &Ctx, language: &str) -> Result<()> {
    wants_containers(ctx, "proto")?;
    let options = match language {
        "go" => "paths=source_relative:",
        "python" => "",
        other => return Err(usage(format!("the API is not generated for `{other}`\nhint: go, python"))),
    };
    let folder = ctx.root.join("api").join(language);
    let script = format!("protoc -I./proto --{language}_out={options}./{language} proto/*/*.proto");
    let generating =
        Run { step: "generating the API", script: &script, sources: ctx.root.join("api"), module: "api", bin: None, interactive: false };
    if ctx.globals.dry_run {
        return run(ctx, &generating);
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    // git tracks the generated sources, so restore the old ones if generating fails.
    let old = tempfile::Builder::new().prefix(".old-").tempdir_in(ctx.root.join("api")).context("cannot make a folder in api")?;
    move_folders(&folder, old.path())?;
    let generated = run(ctx, &generating);
    if generated.is_err() {
        for path in folders_in(&folder)? {
            std::fs::remove_dir_all(&path).with_context(|| format!("cannot remove `{}`", path.display()))?;
        }
        move_folders(old.path(), &folder)?;
    }
    generated
}

fn folders_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
    Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect())
}

fn move_folders(from: &Path, to: &Path) -> Result<()> {
    for path in folders_in(from)? {
        let target = to.join(path.file_name().unwrap_or_default());
        std::fs::rename(&path, &target).with_context(|| format!("cannot move `{}` to `{}`", path.display(), target.display()))?;
    }
    Ok(())
}

/// `proto-vendor`.
pub fn proto_vendor(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    let script = "cd pkg/pillar ; go mod vendor";
    run(ctx, &Run { step: "vendoring the API", script, sources: ctx.root.clone(), module: "proto", bin: None, interactive: false })
}

/// `proto-diagram`.
pub fn proto_diagram(ctx: &Ctx, _: &ArgMatches) -> Result<()> {
    diagram(ctx)
}

fn diagram(ctx: &Ctx) -> Result<()> {
    let script = "/usr/local/bin/protodot -inc /usr/include -src ./api/proto/config/devconfig.proto -output devconfig \
                  && cp ~/protodot/generated/devconfig.* ./api/images && dot ./api/images/devconfig.dot -Tpng -o ./api/images/devconfig.png";
    run(ctx, &Run { step: "drawing the API", script, sources: ctx.root.clone(), module: "api", bin: None, interactive: false })
}

/// The container in which the tree's Go code is built.
pub(super) fn go_builder(ctx: &Ctx) -> GoBuilder<'_> {
    let proxies = [("http_proxy", "HTTP_PROXY"), ("https_proxy", "HTTPS_PROXY"), ("no_proxy", "NO_PROXY"), ("all_proxy", "ALL_PROXY")];
    let set = |(inside, knob): (&'static str, &str)| ctx.knobs.optional(knob).map(|value| (inside, value.to_owned()));
    let settings = Settings {
        home: ctx.environment.home(),
        arch: ctx.knobs.arch,
        go_version: ctx.knobs.text("GOVER").to_owned(),
        image_exists: ctx.knobs.text("BUILD") == "local",
        proxies: proxies.into_iter().filter_map(set).collect(),
    };
    GoBuilder::new(&ctx.tools, &ctx.root, settings)
}
