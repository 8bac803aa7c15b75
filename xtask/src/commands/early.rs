//! What can be known before the first step: the templates, the partitions, the keys that sign, and the room on the disk.

pub mod bases;
mod keys;
pub mod room;

use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use common::display::{short, size};
use compose::Yml;
use diskimage::eve::Kind;
use executor::{State, States};
use plan::{EngineKind, NodeId, Plan, Step, steps::ResolveYml};

/// Fails if keys cannot sign a root file system that is due. What a registry has needs no keys, so it is asked before.
pub(super) fn check_keys(ctx: &Ctx, plan: &Plan, states: &States) -> Result<()> {
    let is_due = |id: &NodeId| matches!(states.get(id), Some(State::Stale(_)));
    for node in plan.nodes.iter().filter(|node| ctx.engine == EngineKind::Native && is_due(&node.id)) {
        if let Step::PackRootfs(step) = &node.step {
            step.signing.iter().try_for_each(|signing| keys::check(ctx, signing))?;
        }
    }
    Ok(())
}

/// Fails if a template does not become a valid yml, or if the disk has no room for a step that is due. Warns if it may
/// have no room for all.
pub(super) fn check(ctx: &Ctx, plan: &Plan, states: &States) -> Result<()> {
    for node in &plan.nodes {
        // linuxkit and the tool images check what they get themselves, and may know more than we.
        match &node.step {
            _ if ctx.engine != EngineKind::Native => {}
            Step::ResolveYml(step) => check_yml(ctx, step)?,
            // The size of a disk that is there, or that grows, follows from its parts.
            Step::MakeDisk(step) => {
                let bytes = if step.keep || step.grows { 0 } else { step.bytes };
                let is_asked = |asked: &&String| asked.split_whitespace().eq(step.words.iter().flat_map(|word| word.split_whitespace()));
                let asked = ctx.knobs.image.live_parts.as_ref().filter(is_asked);
                let asked = asked.map_or_else(String::new, |asked| format!("LIVE_PART_SPEC={asked}: "));
                check_partitions(&step.words, bytes).with_context(|| format!("{asked}the partitions of {} are wrong", node.id))?;
            }
            _ => {}
        }
    }
    room::check(ctx, plan, states)
}

/// Fails if `words` are no partitions, or if those of a fixed size need more than the `bytes` of the disk.
fn check_partitions(words: &[String], bytes: u64) -> Result<()> {
    let kinds = words.iter().flat_map(|word| word.split_whitespace()).map(str::parse).collect::<Result<Vec<Kind>>>()?;
    // A kind without a size of its own takes what is left.
    let least = TABLES + kinds.iter().map(|kind| kind.size(0)).sum::<u64>();
    if bytes > 0 && least > bytes {
        let names: Vec<String> =
            kinds.iter().filter(|kind| kind.size(0) > 0).map(|kind| format!("{} {}", kind.word(), size(kind.size(0)))).collect();
        bail!("the disk has {}, and its partitions need {}: {}", size(bytes), size(least), names.join(", "));
    }
    Ok(())
}

/// The room before the first partition, and of the table at the end, in bytes.
const TABLES: u64 = (2048 + 33) * 512;

/// Fails if the yml is not valid; names the lines that people wrote, in the template or in a patch.
fn check_yml(ctx: &Ctx, step: &ResolveYml) -> Result<()> {
    let template = short(&step.template, &ctx.root).to_string();
    let text = std::fs::read_to_string(&step.template).unwrap_or_default();
    if has_lines_of(&step.text, &text) {
        return Yml::parse(&step.text, &template).map(drop);
    }
    let (templates, knobs) = (&ctx.profile.templates, &ctx.knobs.image);
    let patches = [&templates.patches[..], &templates.installer_patches, &templates.verification_patches].concat();
    let patches = checkout::programs(&patches, &ctx.root, &knobs.hv, &knobs.platform);
    let origins = checkout::TemplatePlaces::read(&ctx.root, &step.template, &patches);
    let place = |number: u64| {
        let line = (1..).zip(step.text.lines()).find(|(at, _)| *at == number).map_or("", |(_, line)| line);
        origins.of_line(line).unwrap_or_else(|| format!("`{}`", line.trim()))
    };
    Yml::parse_from(&step.text, &format!("{template}, with its patches for HV={},", knobs.hv), &place).map(drop)
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

    #[test]
    fn partitions_are_known_words_and_fit() {
        let check = |words: &str, mib: u64| check_partitions(&[words.to_owned()], mib << 20).map_err(|error| error.to_string());
        assert_eq!(check("efi conf imga", 400), Ok(()));
        assert_eq!(check("efi imga", 0), Ok(()), "the disk has the size that it needs");
        assert!(check("efi foo", 400).is_err_and(|error| error.starts_with("unknown partition kind `foo`: expected one of efi, ")));
        let error = check("efi imga", 100).expect_err("too small");
        assert!(error.starts_with("the disk has 100.0 MiB, and its partitions need ") && error.contains("imga 300.0 MiB"), "{error}");
    }
}
