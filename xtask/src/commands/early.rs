//! What can be known before the first step: the templates, the partitions, the keys that sign, and the room on the disk.

pub mod bases;
mod keys;

use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use common::display::{short, size};
use compose::Yml;
use diskimage::eve::Kind;
use executor::{RoomNeed, State, States, free_room, needed_room};
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
    let last = ctx.dist().current(ctx.knobs.image.arch);
    let stale = |id: &NodeId| matches!(states.get(id), Some(State::Stale(_)));
    let needs = needed_room(plan, &stale, last.path());
    let room = free_room(&ctx.dist().arch(ctx.knobs.image.arch))?;
    let place = format!("{} (file system of {})", short(ctx.dist().path(), &ctx.root), room.mount.display());
    match shortage(&needs, room.free, &place) {
        Some(Shortage::Sure(text)) if !ctx.globals.dry_run => bail!(text),
        Some(Shortage::Sure(text) | Shortage::Possible(text)) => eprintln!("warning: {text}"),
        None => {}
    }
    Ok(())
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

/// Too little room, as a text for people.
#[derive(Debug, PartialEq, Eq)]
enum Shortage {
    /// For a step that will run.
    Sure(String),
    /// For all steps together, if all run and need what they needed.
    Possible(String),
}

/// Whether `needs` are more than `free` bytes of `place`.
fn shortage(needs: &[RoomNeed], free: u64, place: &str) -> Option<Shortage> {
    const HINT: &str = "\nhint: make room; cargo xtask clean --old removes versions before the last";
    let mut largest: Vec<&RoomNeed> = needs.iter().collect();
    largest.sort_by_key(|need| std::cmp::Reverse(need.bytes));
    if let Some(need) = largest.iter().find(|need| need.certain && need.bytes > free) {
        let (node, bytes) = (&need.node, size(need.bytes));
        return Some(Shortage::Sure(format!(
            "no room for {node} in {place}: it needs {bytes}, as in the last build, and {} are free{HINT}",
            size(free)
        )));
    }
    // Each file is written beside the one that it replaces.
    let beside = needs.iter().map(|need| need.bytes.min(need.freed)).max().unwrap_or(0);
    let needed = beside + needs.iter().map(|need| need.bytes.saturating_sub(need.freed)).sum::<u64>();
    if needed <= free {
        return None;
    }
    let largest: Vec<String> = largest.iter().take(3).map(|need| format!("{} {}", need.node, size(need.bytes))).collect();
    Some(Shortage::Possible(format!(
        "this build may need {} in {place}, as the last one did ({} …), and {} are free{HINT}",
        size(needed),
        largest.join(", "),
        size(free)
    )))
}

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

    #[test]
    fn a_shortage_names_what_is_large() {
        let need = |node: &str, mib: u64, freed: u64| RoomNeed { node: node.into(), bytes: mib << 20, freed: freed << 20, certain: true };
        let needs = |freed| [need("config.img", 1, freed), need("rootfs.tar", 245, 245 * freed), need("live.raw", 55, 55 * freed)];
        assert_eq!(shortage(&needs(0), 301 << 20, "dist"), None);
        let said = |needs: &[RoomNeed], mib: u64| match shortage(needs, mib << 20, "dist") {
            Some(Shortage::Sure(text)) => format!("sure: {text}"),
            Some(Shortage::Possible(text)) => format!("possible: {text}"),
            None => String::new(),
        };
        assert_eq!(
            said(&needs(0), 300),
            "possible: this build may need 301.0 MiB in dist, as the last one did (rootfs.tar 245.0 MiB, live.raw 55.0 MiB, config.img 1.0 MiB …), \
             and 300.0 MiB are free\nhint: make room; cargo xtask clean --old removes versions before the last"
        );
        assert_eq!(said(&needs(1), 245), "", "the old files become free one after the other");
        let text = said(&needs(1), 244);
        assert!(
            text.starts_with("sure: no room for rootfs.tar in dist: it needs 245.0 MiB, as in the last build, and 244.0 MiB are free\n"),
            "{text}"
        );
        let unsure = needs(1).map(|need| RoomNeed { certain: false, ..need });
        assert!(said(&unsure, 244).starts_with("possible: "), "it may be skipped");
    }
}
