//! What can be known before the first step: the templates, the partitions, and the room on the disk.

use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use common::display::{short, size};
use compose::Yml;
use diskimage::eve::Kind;
use executor::{RoomNeed, State, free_room, needed_room};
use plan::{EngineKind, NodeId, Plan, Step, steps::ResolveYml};
use std::collections::BTreeMap;

/// Fails if a template does not become a valid yml, or if the disk has no room for what is due.
pub(super) fn check(ctx: &Ctx, plan: &Plan, states: &BTreeMap<NodeId, State>) -> Result<()> {
    for node in &plan.nodes {
        // linuxkit and the tool images check what they get themselves, and may know more than we.
        match &node.step {
            _ if ctx.engine != EngineKind::Native => {}
            Step::ResolveYml(step) => drop(Yml::parse(&step.text, &name(ctx, step))?),
            // The size of a disk that is there, or that grows, follows from its parts.
            Step::MakeDisk(step) => {
                let bytes = if step.keep || step.grows { 0 } else { step.bytes };
                check_partitions(&step.words, bytes).with_context(|| format!("the partitions of {} are wrong", node.id))?;
            }
            _ => {}
        }
    }
    let last = ctx.dist().current(ctx.knobs.image.arch);
    let stale = |id: &NodeId| matches!(states.get(id), Some(State::Stale(_)));
    let needs = needed_room(plan, &stale, last.path());
    let room = free_room(&ctx.dist().arch(ctx.knobs.image.arch))?;
    shortage(&needs, room.free, &format!("{} (file system of {})", short(ctx.dist().path(), &ctx.root), room.mount.display()))
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

/// Fails if `needs` are more than `free` bytes of `place`.
fn shortage(needs: &[RoomNeed], free: u64, place: &str) -> Result<()> {
    let needed: u64 = needs.iter().map(|need| need.bytes).sum();
    if needed <= free {
        return Ok(());
    }
    let mut largest: Vec<&RoomNeed> = needs.iter().collect();
    largest.sort_by_key(|need| std::cmp::Reverse(need.bytes));
    let largest: Vec<String> = largest.iter().take(3).map(|need| format!("{} {}", need.node, size(need.bytes))).collect();
    bail!(
        "no room for this build in {place}: it needs {}, as the last one did ({} …), and {} are free\nhint: cargo xtask clean --old, or make room",
        size(needed),
        largest.join(", "),
        size(free)
    )
}

/// The template, if a line of the yml is a line of it; else a text that says why it is not.
fn name(ctx: &Ctx, step: &ResolveYml) -> String {
    let template = short(&step.template, &ctx.root).to_string();
    let text = std::fs::read_to_string(&step.template).unwrap_or_default();
    match has_lines_of(&step.text, &text) {
        true => template,
        false => format!("{template}, as the patches for HV={} leave it,", ctx.knobs.image.hv),
    }
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
        let need = |node: &str, mib: u64| RoomNeed { node: node.to_owned(), bytes: mib << 20 };
        let needs = [need("config.img", 1), need("rootfs.tar", 245), need("live.raw", 55), need("rootfs.img", 54)];
        assert!(shortage(&needs, 355 << 20, "dist").is_ok());
        assert_eq!(
            shortage(&needs, 100 << 20, "dist (file system of /)").expect_err("short").to_string(),
            "no room for this build in dist (file system of /): it needs 355.0 MiB, as the last one did (rootfs.tar 245.0 MiB, live.raw 55.0 MiB, \
             rootfs.img 54.0 MiB …), and 100.0 MiB are free\nhint: cargo xtask clean --old, or make room"
        );
    }
}
