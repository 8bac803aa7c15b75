//! What can be known before the first step: the templates, the Dockerfiles, the partitions, the keys that sign, and the room on the disk.

pub mod bases;
pub mod dockerfiles;
mod keys;
pub mod room;
mod templates;

use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use common::{display::size, error::usage};
use diskimage::eve::Kind;
use executor::{State, States};
use plan::{
    EngineKind, Node, NodeId, Plan, Step,
    steps::{ComposeRootfs, ConvertDisk, MakeDisk, PackRootfs, RootfsFiles},
};
use std::path::{Path, PathBuf};

/// The names of the tree's packages.
fn package_names(ctx: &Ctx) -> Vec<String> {
    let folders = std::fs::read_dir(&ctx.profile.packages.folder).into_iter().flatten().filter_map(Result::ok);
    folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The package that the image `ORG/eve-NAME:TAG` is called after.
fn package_of(image: &str) -> Option<&str> {
    image.rsplit_once(':')?.0.rsplit('/').next()?.strip_prefix("eve-")
}

/// The locks of a package's folder `mirrors`: RELEASE/ARCH.lock.
fn lock_files(mirrors: &Path) -> Vec<PathBuf> {
    let files = paths_in(mirrors).into_iter().flat_map(|release| paths_in(&release));
    files.filter(|path| path.extension().is_some_and(|extension| extension == "lock")).collect()
}

fn paths_in(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

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

/// Fails if a template does not become a valid yml, or if partitions or sizes are wrong.
pub(super) fn check(ctx: &Ctx, plan: &Plan, states: &States) -> Result<()> {
    for node in &plan.nodes {
        // linuxkit and the tool images check what they get themselves, and may know more than we.
        match &node.step {
            _ if ctx.engine != EngineKind::Native => {}
            Step::ResolveYml(step) => {
                let yml = templates::check(ctx, step)?;
                let is_composed = plan.nodes.iter().any(|node| {
                    !matches!(states.get(&node.id), Some(State::Fresh(_))) && composed(&node.step).is_some_and(|made| made.yml == step.out)
                });
                if is_composed {
                    templates::check_images(ctx, plan, step, &yml)?;
                }
            }
            Step::ConvertDisk(step) => check_size(plan, step)?,
            // The size of a disk that is there, or that grows, follows from its parts.
            Step::MakeDisk(step) => {
                let bytes = if step.keep || step.grows { 0 } else { step.bytes };
                let is_asked = |asked: &&String| asked.split_whitespace().eq(step.words.iter().flat_map(|word| word.split_whitespace()));
                let asked = ctx.knobs.image.live_parts.as_ref().filter(is_asked);
                let asked = asked.map_or_else(String::new, |asked| format!("LIVE_PART_SPEC={asked}: "));
                check_partitions(&step.words, bytes).with_context(|| format!("{asked}the partitions of {} are wrong", node.id))?;
                step.qcow2.map_or(Ok(()), |qcow2| check_room(step, qcow2.size_mib))?;
            }
            _ => {}
        }
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

/// The root file system that a step composes from images.
fn composed(step: &Step) -> Option<&ComposeRootfs> {
    match step {
        Step::ComposeRootfs(step) => Some(step),
        Step::PackRootfs(PackRootfs { files: RootfsFiles::Images(composed), .. }) => Some(composed),
        _ => None,
    }
}

/// Fails if the converted disk is to be smaller than the disk that it is made of.
fn check_size(plan: &Plan, step: &ConvertDisk) -> Result<()> {
    let is_disk = |node: &&Node| node.outputs.contains(&step.raw);
    match plan.nodes.iter().find(is_disk).map(|node| &node.step) {
        Some(Step::MakeDisk(disk)) => check_room(disk, step.size_mib),
        _ => Ok(()),
    }
}

/// Fails if `disk` has more than `size_mib`.
fn check_room(disk: &MakeDisk, size_mib: u64) -> Result<()> {
    let mib = disk.bytes >> 20;
    if !disk.keep && !disk.grows && size_mib < mib {
        return Err(usage(format!("MEDIA_SIZE={size_mib}: the disk has {mib} MiB already\nhint: MEDIA_SIZE={mib} or more")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
