//! Verbs that run in the container with the tree's Go.

use super::wants_containers;
use crate::commands::Run;
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::go_builder::InBuilder;
use common::error::usage;
use helpers::go_builder::go_builder;
use knobs::{GoKnobs, ProtoKnobs};
use std::path::{Path, PathBuf};

const MODULE: &str = "github.com/lf-edge/eve/pkg/pillar";
/// The module path at which the builder mounts sources that are no module.
const NO_MODULE: &str = "dummy";

fn run(ctx: &Ctx, knobs: &GoKnobs, what: &InBuilder<'_>) -> Result<()> {
    wants_containers(ctx, what.step)?;
    let builder = go_builder(ctx, knobs);
    if !ctx.globals.dry_run {
        return builder.run(what);
    }
    for cmd in builder.image_command()?.into_iter().chain([builder.command(what)?]) {
        println!("{cmd}");
    }
    Ok(())
}

fn in_pillar<'r>(ctx: &Ctx, step: &'r str, script: &'r str, module: &'r str) -> InBuilder<'r> {
    InBuilder { step, script, sources: ctx.root.join("pkg/pillar"), module, bin: None, interactive: false }
}

/// `test-pillar`: runs the tests of pkg/pillar.
#[derive(clap::Args)]
pub struct TestPillar {
    #[command(flatten)]
    go: GoKnobs,
}

impl Run for TestPillar {
    fn run(self, ctx: &Ctx) -> Result<()> {
        test_pillar(ctx, &self.go)
    }
}

fn test_pillar(ctx: &Ctx, knobs: &GoKnobs) -> Result<()> {
    wants_containers(ctx, "test-pillar")?;
    let results = format!("/eve/dist/{}/results", ctx.knobs.image.arch);
    let script = format!("gotestsum --jsonfile {results}.json --junitfile {results}.xml");
    if !ctx.globals.dry_run {
        check_patches(ctx)?;
        std::fs::create_dir_all(ctx.dist().arch(ctx.knobs.image.arch))?;
    }
    run(ctx, knobs, &in_pillar(ctx, "testing pillar", &script, MODULE))
}

/// `test-images-patches`.
pub fn test_patches(ctx: &Ctx) -> Result<()> {
    check_patches(ctx)
}

/// Every patch of the root file system's template, applied to it in memory.
fn check_patches(ctx: &Ctx) -> Result<()> {
    let template = &ctx.profile.templates.rootfs;
    let text = std::fs::read_to_string(template).with_context(|| format!("cannot read the template `{}`", template.display()))?;
    for hv in &ctx.profile.tree.hypervisors {
        for patch in checkout::programs(&ctx.profile.templates.patches, &ctx.root, hv, &ctx.knobs.image.platform) {
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
    #[command(flatten)]
    go: GoKnobs,
}

impl Run for Pillar {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let target = self.target;
        if !target.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c)) {
            return Err(usage(format!("`{target}` is no make target")));
        }
        run(ctx, &self.go, &in_pillar(ctx, "running pillar's make", &format!("make {target}"), NO_MODULE))
    }
}

/// `shell`: opens a shell in the Go builder.
#[derive(clap::Args)]
pub struct Shell {
    #[command(flatten)]
    go: GoKnobs,
}

impl Run for Shell {
    fn run(self, ctx: &Ctx) -> Result<()> {
        run(ctx, &self.go, &InBuilder { interactive: true, ..in_pillar(ctx, "running a shell", "bash", MODULE) })
    }
}

/// generate the API's sources from its protobuf definitions
#[derive(clap::Args)]
pub struct Proto {
    /// go or python [default: all of PROTO_LANGS, and the diagram]
    #[arg(value_name = "LANGUAGE")]
    languages: Vec<String>,
    #[command(flatten)]
    proto: ProtoKnobs,
    #[command(flatten)]
    go: GoKnobs,
}

impl Run for Proto {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let all = self.languages.is_empty();
        let languages = if all { self.proto.languages.split_whitespace().map(str::to_owned).collect() } else { self.languages };
        for language in &languages {
            generate(ctx, &self.go, language)?;
        }
        if all {
            diagram(ctx, &self.go)?;
        }
        Ok(())
    }
}

/// The API's sources in one language: what was generated before goes first.
fn generate(ctx: &Ctx, knobs: &GoKnobs, language: &str) -> Result<()> {
    wants_containers(ctx, "proto")?;
    let options = match language {
        "go" => "paths=source_relative:",
        "python" => "",
        other => return Err(usage(format!("the API is not generated for `{other}`\nhint: go, python"))),
    };
    let folder = ctx.root.join("api").join(language);
    let script = format!("protoc -I./proto --{language}_out={options}./{language} proto/*/*.proto");
    let generating = InBuilder {
        step: "generating the API",
        script: &script,
        sources: ctx.root.join("api"),
        module: "api",
        bin: None,
        interactive: false,
    };
    if ctx.globals.dry_run {
        return run(ctx, knobs, &generating);
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    // git tracks the generated sources, so restore the old ones if generating fails.
    let old = tempfile::Builder::new().prefix(".old-").tempdir_in(ctx.root.join("api")).context("cannot make a folder in api")?;
    move_folders(&folder, old.path())?;
    let generated = run(ctx, knobs, &generating);
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

/// `proto-vendor`: updates the vendored API in pkg/pillar.
#[derive(clap::Args)]
pub struct ProtoVendor {
    #[command(flatten)]
    go: GoKnobs,
}

impl Run for ProtoVendor {
    fn run(self, ctx: &Ctx) -> Result<()> {
        let script = "cd pkg/pillar ; go mod vendor";
        let sources = ctx.root.clone();
        run(ctx, &self.go, &InBuilder { step: "vendoring the API", script, sources, module: "proto", bin: None, interactive: false })
    }
}

/// `proto-diagram`: draws the API.
#[derive(clap::Args)]
pub struct ProtoDiagram {
    #[command(flatten)]
    go: GoKnobs,
}

impl Run for ProtoDiagram {
    fn run(self, ctx: &Ctx) -> Result<()> {
        diagram(ctx, &self.go)
    }
}

fn diagram(ctx: &Ctx, knobs: &GoKnobs) -> Result<()> {
    let script = "/usr/local/bin/protodot -inc /usr/include -src ./api/proto/config/devconfig.proto -output devconfig \
                  && cp ~/protodot/generated/devconfig.* ./api/images && dot ./api/images/devconfig.dot -Tpng -o ./api/images/devconfig.png";
    let sources = ctx.root.clone();
    run(ctx, knobs, &InBuilder { step: "drawing the API", script, sources, module: "api", bin: None, interactive: false })
}
