//! The templates of root file systems before the first step: the yml is valid, and each image in it is in the image cache or will be built. Messages
//! name the lines that people wrote.

use super::package_names;
use anyhow::Result;
use checkout::context::Ctx;
use common::{
    display::short,
    eprintln,
    error::{did_you_mean, usage},
};
use compose::{Yml, image_references};
use oci::Cache;
use plan::{Plan, steps::ResolveYml};
use std::collections::BTreeSet;

/// Reads the yml; fails if it is not valid, with the lines of the template or of a patch.
pub(super) fn check(ctx: &Ctx, step: &ResolveYml) -> Result<Yml> {
    let template = short(&step.template, &ctx.root).to_string();
    let name = if is_template(step) { template } else { format!("{template}, with its patches for HV={},", ctx.knobs.image.hv) };
    Yml::parse_from(&step.text, &name, &|line| place(ctx, step, line))
}

/// Fails if the yml names an image that there will not be; says it of all of them. With `-n` it is a warning.
pub(super) fn check_images(ctx: &Ctx, plan: &Plan, step: &ResolveYml, yml: &Yml) -> Result<()> {
    let arch = ctx.knobs.image.arch;
    let made: BTreeSet<&str> = plan.nodes.iter().filter_map(|node| Some(node.step.package()?.image.reference.as_str())).collect();
    let names: BTreeSet<String> = image_references(yml).into_iter().map(|reference| reference.image).collect();
    let cache = Cache::open(&ctx.environment.linuxkit_cache())?;
    // The name of an image for one architecture may end in it.
    let ending = format!("-{arch}");
    let plain = |name: &'_ String| -> String { name.strip_suffix(&ending).unwrap_or(name).to_owned() };
    let (mut problems, mut hints) = (Vec::new(), BTreeSet::new());
    for name in names.iter().filter(|name| !made.contains(plain(name).as_str())) {
        // Damage is an error of the step.
        if !matches!(cache.find_named(name, arch.as_str()), Ok(None)) {
            continue;
        }
        let is_name = |line: &str| line.split([' ', '"', '\'', ',', '}', '[', ']']).any(|word| word == name);
        let line = (1..).zip(step.text.lines()).find(|(_, line)| is_name(line)).map_or(0, |(at, _)| at);
        problems
            .push(format!("{}: {name}: no word for a package's image, and no image ({arch}) in the image cache", place(ctx, step, line)));
        hints.insert(match meant(ctx, name) {
            Some(word) => format!("did you mean {word}?"),
            None if name.contains([':', '/']) => format!("`linuxkit cache pull {name}` puts it into the image cache"),
            None => "a package's word is its name in capitals with _TAG: KERNEL_TAG is pkg/kernel".to_owned(),
        });
    }
    let hints: String = hints.iter().map(|hint| format!("\nhint: {hint}")).collect();
    match problems.as_slice() {
        [] => Ok(()),
        _ if ctx.globals.dry_run => {
            eprintln!("warning: {}{hints}", problems.join("\n"));
            Ok(())
        }
        _ => Err(usage(format!("{}{hints}", problems.join("\n")))),
    }
}

/// The package's word that `name` was to be.
fn meant(ctx: &Ctx, name: &str) -> Option<String> {
    let in_capitals = |name: &str| name.to_uppercase().replace('-', "_");
    let words: Vec<String> = package_names(ctx).iter().map(|name| format!("{}_TAG", in_capitals(name))).collect();
    let given = in_capitals(name);
    let given = if given.contains("_TAG") { given } else { format!("{given}_TAG") };
    did_you_mean(&given, words.iter().map(String::as_str)).map(str::to_owned)
}

/// Whether the yml has the lines of its template.
fn is_template(step: &ResolveYml) -> bool {
    has_lines_of(&step.text, &std::fs::read_to_string(&step.template).unwrap_or_default())
}

/// Where people wrote the line `number` of the yml.
fn place(ctx: &Ctx, step: &ResolveYml, number: u64) -> String {
    if is_template(step) {
        return format!("{}:{number}", short(&step.template, &ctx.root));
    }
    let (templates, knobs) = (&ctx.profile.templates, &ctx.knobs.image);
    let patches = [&templates.patches[..], &templates.installer_patches, &templates.verification_patches].concat();
    let patches = checkout::programs(&patches, &ctx.root, &knobs.hv, &knobs.platform);
    let origins = checkout::TemplatePlaces::read(&ctx.root, &step.template, &patches);
    let line = (1..).zip(step.text.lines()).find(|(at, _)| *at == number).map_or("", |(_, line)| line);
    origins.of_line(line).unwrap_or_else(|| format!("`{}`", line.trim()))
}

/// Whether each line of `yml` is the line of `template` with words filled in.
fn has_lines_of(yml: &str, template: &str) -> bool {
    let start = |line: &str| line.find("_TAG").map_or(line.len(), |at| line[..at].rfind(' ').unwrap_or(0));
    let is_same = |(filled, line): (&str, &str)| filled.starts_with(&line[..start(line)]) || line.contains("EVE_");
    yml.lines().count() == template.lines().count() && yml.lines().zip(template.lines()).all(is_same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_template_unless_patched() {
        let template = "# a\nkernel:\n  image: KERNEL_TAG\nfiles:\n  contents: 'EVE_VERSION'\n";
        assert!(has_lines_of("# a\nkernel:\n  image: lfedge/kernel:1\nfiles:\n  contents: '1.2'\n", template));
        assert!(!has_lines_of("kernel:\n  image: lfedge/kernel:1\nfiles:\n  contents: '1.2'\n", template));
        assert!(!has_lines_of("# a\nkernel:\n  cmdline: x\nfiles:\n  contents: '1.2'\n", template));
    }
}
