//! Verbs that run in the Go builder, the container in which the tree's Go code is built.

use super::wants_containers;
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use child::go_builder::InBuilder;
use common::error::usage;
use helpers::go_builder::go_builder;
use knobs::{GoKnobs, ProtoKnobs};
use std::path::{Path, PathBuf};

const MODULE: &str = "github.com/lf-edge/eve/pkg/pillar";
/// The path at which the builder mounts sources that are not a Go module.
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

/// `test-pillar`.
pub fn test_pillar(ctx: &Ctx, knobs: GoKnobs) -> Result<()> {
    wants_containers(ctx, "test-pillar")?;
    let results = format!("/eve/dist/{}/results", ctx.knobs.image.arch);
    let script = format!("gotestsum --jsonfile {results}.json --junitfile {results}.xml");
    if !ctx.globals.dry_run {
        check_patches(ctx)?;
        std::fs::create_dir_all(ctx.dist().arch(ctx.knobs.image.arch))?;
    }
    run(ctx, &knobs, &in_pillar(ctx, "testing pillar", &script, MODULE))
}

/// `test-images-patches`: applies every patch of the root file system's template in memory.
pub fn check_patches(ctx: &Ctx) -> Result<()> {
    let template = &ctx.profile.templates.rootfs;
    let text = std::fs::read_to_string(template).with_context(|| format!("cannot read the template `{}`", template.display()))?;
    for hv in &ctx.profile.tree.hypervisors {
        for patch in checkout::programs(&ctx.profile.templates.patches, &ctx.root, hv, &ctx.knobs.image.platform) {
            checkout::patch_template(&text, &patch, ctx.profile.templates.patch_language)?;
            println!("{}: applies", common::display::short(&patch, &ctx.root));
        }
    }
    Ok(())
}

/// The target to run.
#[derive(clap::Args)]
pub struct Pillar {
    /// a target of pkg/pillar/Makefile
    target: String,
    #[command(flatten)]
    go: GoKnobs,
}

/// `pillar`.
pub fn make_pillar(ctx: &Ctx, Pillar { target, go }: Pillar) -> Result<()> {
    if !target.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c)) {
        return Err(usage(format!("`{target}` is no make target")));
    }
    run(ctx, &go, &in_pillar(ctx, "running pillar's make", &format!("make {target}"), NO_MODULE))
}

/// `shell`.
pub fn open_shell(ctx: &Ctx, knobs: GoKnobs) -> Result<()> {
    run(ctx, &knobs, &InBuilder { interactive: true, ..in_pillar(ctx, "running a shell", "bash", MODULE) })
}

/// The sources to generate.
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

/// `proto`.
pub fn generate_all(ctx: &Ctx, Proto { languages, proto, go }: Proto) -> Result<()> {
    let all = languages.is_empty();
    let languages = if all { proto.languages.split_whitespace().map(str::to_owned).collect() } else { languages };
    for language in &languages {
        generate(ctx, &go, language)?;
    }
    if all {
        draw_diagram(ctx, go)?;
    }
    Ok(())
}

/// Replaces the API's sources in one language by newly generated ones.
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

/// `proto-vendor`.
pub fn vendor(ctx: &Ctx, knobs: GoKnobs) -> Result<()> {
    let script = "cd pkg/pillar ; go mod vendor";
    let sources = ctx.root.clone();
    run(ctx, &knobs, &InBuilder { step: "vendoring the API", script, sources, module: "proto", bin: None, interactive: false })
}

/// `proto-diagram`.
pub fn draw_diagram(ctx: &Ctx, knobs: GoKnobs) -> Result<()> {
    let script = "/usr/local/bin/protodot -inc /usr/include -src ./api/proto/config/devconfig.proto -output devconfig \
                  && cp ~/protodot/generated/devconfig.* ./api/images && dot ./api/images/devconfig.dot -Tpng -o ./api/images/devconfig.png";
    let sources = ctx.root.clone();
    run(ctx, &knobs, &InBuilder { step: "drawing the API", script, sources, module: "api", bin: None, interactive: false })
}
