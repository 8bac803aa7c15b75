//! Whether the disks have room, before the first step: for artifacts in dist/, for images in the image cache, and for downloaded Debian
//! packages. Says what a build that fails for want of room met.

use super::lock_files;
use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use common::{
    Arch,
    display::{short, size},
    eprintln,
};
use executor::{Basis, Room, RoomNeed, State, States, free_room, is_full, must_be_made, needed_room};
use oci::Cache;
use pkgbuild::debian::{Lock, missing_bytes};
use plan::{EngineKind, Keep, Node, NodeId, Plan, Step, steps::RootfsFiles};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// A folder that a build writes to.
struct Place {
    /// Its name for people.
    name: String,
    /// Where it is.
    folder: PathBuf,
    /// What to do if it has too little room, besides making some.
    hint: &'static str,
}

const OF_DIST: &str = "make room; cargo xtask clean --old removes versions before the last";
const OF_IMAGES: &str = "make room, or LINUXKIT_CACHE=FOLDER on a disk with room";
const OF_DOWNLOADS: &str = "make room, or XDG_CACHE_HOME=FOLDER on a disk with room";
const OF_STORE: &str = "make room, or STORE=FOLDER on a disk with room, or STORE=off";

/// A file system with less free bytes may be the one that was full: what was not written whole is removed when the error is explained.
const NEARLY_FULL: u64 = 512 << 20;

fn dist(ctx: &Ctx) -> Place {
    Place { name: short(ctx.dist().path(), &ctx.root).to_string(), folder: ctx.dist().arch(ctx.knobs.image.arch), hint: OF_DIST }
}

fn images(ctx: &Ctx) -> Place {
    Place { name: "the image cache".to_owned(), folder: ctx.environment.linuxkit_cache(), hint: OF_IMAGES }
}

fn downloads(ctx: &Ctx) -> Place {
    Place { name: "downloads".to_owned(), folder: ctx.environment.cache().join("debs"), hint: OF_DOWNLOADS }
}

/// Fails if a disk has no room for what the plan will make. Warns if it may have no room for all.
pub(in crate::commands) fn check(ctx: &Ctx, plan: &Plan, states: &States) -> Result<()> {
    let dist = (dist(ctx), needs_of_dist(ctx, plan, states)?);
    let [images, downloads] = needs_of_archives(ctx, plan, states)?;
    // Folders of one file system share its room.
    let mut disks: Vec<(Room, Vec<Place>, Vec<RoomNeed>)> = Vec::new();
    for (place, needs) in [dist, images, downloads] {
        if needs.is_empty() {
            continue;
        }
        let room = free_room(&place.folder)?;
        match disks.iter_mut().find(|(other, ..)| other.device == room.device) {
            Some((_, places, all)) => {
                places.push(place);
                all.extend(needs);
            }
            None => disks.push((room, vec![place], needs)),
        }
    }
    for (room, places, needs) in &disks {
        let names: Vec<&str> = places.iter().map(|place| place.name.as_str()).collect();
        let shortage = shortage(needs, room.free, &format!("{} (file system of {room})", names.join(" and ")));
        let Some(shortage) = shortage else { continue };
        let (Shortage::Sure(text) | Shortage::Possible(text)) = &shortage;
        let hints: String = places.iter().map(|place| format!("\nhint: {}", place.hint)).collect();
        match shortage {
            Shortage::Sure(_) if !ctx.globals.dry_run => bail!("{text}{hints}"),
            _ => eprintln!("warning: {text}{hints}"),
        }
    }
    Ok(())
}

/// `error` with the file system that is full, if that is what ended the build.
pub fn explain(ctx: &Ctx, error: anyhow::Error) -> anyhow::Error {
    if !is_full(&error) {
        return error;
    }
    let store = ctx.store().map(|folder| Place { name: "the store".to_owned(), folder, hint: OF_STORE });
    let places = [dist(ctx), images(ctx), downloads(ctx)].into_iter().chain(store);
    let rooms = places.filter_map(|place| Some((free_room(&place.folder).ok()?, place)));
    let rooms: Vec<(Room, Place)> = rooms.collect();
    let Some((room, place)) = rooms.iter().filter(|(room, _)| room.free < NEARLY_FULL).min_by_key(|(room, _)| room.free) else {
        let lines = rooms.iter().map(|(room, place)| format!("{}: {} in {room}", place.name, size(room.free)));
        let lines = lines.collect::<Vec<_>>().join(", ");
        return error.context(format!("a file system is full, but none of those that the build writes to is now ({lines})\nhint: df -h"));
    };
    error.context(format!(
        "a disk is full: {} (file system of {room}) has {} free without what could not be written\nhint: {}",
        place.name,
        size(room.free),
        place.hint
    ))
}

/// What will be written to dist/: as much as in the last build, or at least as much as the parts.
fn needs_of_dist(ctx: &Ctx, plan: &Plan, states: &States) -> Result<Vec<RoomNeed>> {
    let last = ctx.dist().current(ctx.knobs.image.arch);
    let stale = |id: &NodeId| matches!(states.get(id), Some(State::Stale(_)));
    let mut needs = needed_room(plan, &stale, last.path());
    let known: HashSet<String> = needs.iter().map(|need| need.node.clone()).collect();
    // Other names of the store's files take nothing.
    let takes_some = states.values().any(|state| matches!(state, State::Kept { .. }));
    let is_elsewhere = match ctx.store().filter(|_| takes_some) {
        Some(store) => free_room(&store)?.device != free_room(&dist(ctx).folder)?.device,
        None => false,
    };
    let mut sizes: HashMap<&NodeId, u64> = HashMap::new();
    for node in plan.nodes.iter().filter(|node| node.step.package().is_none()) {
        let file_sizes = || node.outputs.iter().filter_map(|path| path.metadata().ok().filter(std::fs::Metadata::is_file));
        let (bytes, is_needed) = match states.get(&node.id) {
            // Holes take nothing.
            Some(State::Fresh(_)) => (file_sizes().map(|file| file.blocks() * 512).sum(), false),
            Some(State::Kept { bytes, .. }) => (*bytes, node.step.keep() != Keep::Linked || is_elsewhere),
            Some(State::Stale(_)) if ctx.engine == EngineKind::Native && !known.contains(&node.id.to_string()) => {
                (least(ctx, node, &sizes)?, true)
            }
            _ => (0, false),
        };
        sizes.insert(&node.id, bytes);
        if is_needed && bytes > 0 {
            // The store knows the length of a file, not its holes.
            let is_length = matches!(states.get(&node.id), Some(State::Kept { .. }));
            let certain = !is_length && must_be_made(node, &stale);
            needs.push(RoomNeed { node: node.id.to_string(), bytes, freed: 0, basis: Basis::Parts, certain });
        }
    }
    Ok(needs)
}

/// The least bytes that `node` will write, by its parts; 0 if nothing is known of it. `sizes` are those of its needs.
fn least(ctx: &Ctx, node: &Node, sizes: &HashMap<&NodeId, u64>) -> Result<u64> {
    // Bytes in the layers for a byte in the file: it may have less than all that the layers have, and a squashfs is compressed.
    let (images, of_plain, of_packed) = match &node.step {
        Step::PackRootfs(step) => match &step.files {
            RootfsFiles::Images(composed) => (&composed.images, 5, 2),
            RootfsFiles::Tar(_) => return Ok(sum_of_needs(node, sizes) / 5),
        },
        Step::ComposeRootfs(step) => (&step.images, 2, 1),
        // What is not compressed already is compressed.
        Step::MakeDisk(disk) if disk.qcow2.as_ref().is_some_and(|qcow2| qcow2.compressed) => return Ok(sum_of_needs(node, sizes) / 2),
        Step::MakeDisk(_) => return Ok(sum_of_needs(node, sizes)),
        Step::ConvertDisk(_) => return Ok(sum_of_needs(node, sizes) / 2),
        _ => return Ok(0),
    };
    let cache = Cache::open(&ctx.environment.linuxkit_cache())?;
    let mut layers = BTreeMap::new();
    for image in images {
        // An image that is yet to be built is not counted, and damage is an error of the step.
        let Ok(Some(image)) = cache.find(&image.reference, image.arch.as_str()) else { continue };
        let bytes = |layer: &oci::Layer| layer.size() / if layer.is_plain() { of_plain } else { of_packed };
        layers.extend(image.layers.iter().map(|layer| (layer.digest().to_owned(), bytes(layer))));
    }
    Ok(layers.values().sum())
}

fn sum_of_needs(node: &Node, sizes: &HashMap<&NodeId, u64>) -> u64 {
    node.needs.iter().filter_map(|need| sizes.get(&need.id)).sum()
}

/// What archives of Debian packages need that will be built: in the image cache, and for downloads.
fn needs_of_archives(ctx: &Ctx, plan: &Plan, states: &States) -> Result<[(Place, Vec<RoomNeed>); 2]> {
    let (mut kept, mut fetched) = (Vec::new(), Vec::new());
    let downloads = downloads(ctx);
    for node in plan.nodes.iter().filter(|node| ctx.engine == EngineKind::Native && matches!(states.get(&node.id), Some(State::Stale(_)))) {
        let Some(package) = node.step.package() else { continue };
        for lock in locks(&package.dir.join("mirrors"), package.image.arch)? {
            let need = |node: String, bytes| RoomNeed { node, bytes, freed: 0, basis: Basis::Parts, certain: true };
            kept.push(need(node.id.to_string(), lock.pins.values().map(|pin| pin.size).sum()));
            fetched.push(need(format!("downloads for {}", node.id), missing_bytes(&lock, &downloads.folder)));
        }
    }
    fetched.retain(|need| need.bytes > 0);
    Ok([(images(ctx), kept), (downloads, fetched)])
}

/// The locks for `arch` below the folder `mirrors` of a package, one for each release; none if there is no such folder.
fn locks(mirrors: &Path, arch: Arch) -> Result<Vec<Lock>> {
    let mut locks = Vec::new();
    for path in lock_files(mirrors).iter().filter(|path| path.file_stem().is_some_and(|stem| stem == arch.as_str())) {
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        locks.push(Lock::parse(&text, &path.display().to_string()).context("the pins of Debian packages are damaged")?);
    }
    Ok(locks)
}

/// Too little room, as a text for people.
#[derive(Debug, PartialEq, Eq)]
enum Shortage {
    /// For steps that will run.
    Sure(String),
    /// For all steps together, if all run and need what they needed.
    Possible(String),
}

/// Whether `needs` are more than `free` bytes of `place`.
fn shortage(needs: &[RoomNeed], free: u64, place: &str) -> Option<Shortage> {
    let mut largest: Vec<&RoomNeed> = needs.iter().collect();
    largest.sort_by_key(|need| std::cmp::Reverse(need.bytes));
    let is_last = |need: &&&RoomNeed| need.basis == Basis::LastBuild;
    if let Some(need) = largest.iter().filter(is_last).find(|need| need.certain && need.bytes > free) {
        let (node, bytes) = (&need.node, size(need.bytes));
        return Some(Shortage::Sure(format!(
            "no room for {node} in {place}: it needs {bytes}, as in the last build, and {} are free",
            size(free)
        )));
    }
    let name = |needs: &[&RoomNeed]| -> String {
        let names: Vec<String> = needs.iter().take(3).map(|need| format!("{} {}", need.node, size(need.bytes))).collect();
        format!("{}{}", names.join(", "), if needs.len() > 3 { " …" } else { "" })
    };
    let sure: Vec<&RoomNeed> = largest.iter().copied().filter(|need| need.certain && need.basis == Basis::Parts).collect();
    let least: u64 = sure.iter().map(|need| need.bytes).sum();
    if least > free {
        return Some(Shortage::Sure(format!(
            "no room in {place}: this build needs at least {} there ({}), and {} are free",
            size(least),
            name(&sure),
            size(free)
        )));
    }
    // Each file is written beside the one that it replaces.
    let beside = needs.iter().map(|need| need.bytes.min(need.freed)).max().unwrap_or(0);
    let needed = beside + needs.iter().map(|need| need.bytes.saturating_sub(need.freed)).sum::<u64>();
    if needed <= free {
        return None;
    }
    let as_before = if needs.iter().any(|need| need.basis == Basis::LastBuild) { ", as the last one did" } else { "" };
    Some(Shortage::Possible(format!(
        "this build may need {} in {place}{as_before} ({}), and {} are free",
        size(needed),
        name(&largest),
        size(free)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(node: &str, mib: u64, freed: u64) -> RoomNeed {
        RoomNeed { node: node.into(), bytes: mib << 20, freed: freed << 20, basis: Basis::LastBuild, certain: true }
    }

    fn said(needs: &[RoomNeed], mib: u64) -> String {
        match shortage(needs, mib << 20, "dist") {
            Some(Shortage::Sure(text)) => format!("sure: {text}"),
            Some(Shortage::Possible(text)) => format!("possible: {text}"),
            None => String::new(),
        }
    }

    #[test]
    fn a_shortage_names_what_is_large() {
        let needs = |freed| [need("config.img", 1, freed), need("rootfs.tar", 245, 245 * freed), need("live.raw", 55, 55 * freed)];
        assert_eq!(said(&needs(0), 301), "");
        assert_eq!(
            said(&needs(0), 300),
            "possible: this build may need 301.0 MiB in dist, as the last one did (rootfs.tar 245.0 MiB, live.raw 55.0 MiB, config.img 1.0 \
             MiB), and 300.0 MiB are free"
        );
        assert_eq!(said(&needs(1), 245), "", "the old files become free one after the other");
        assert_eq!(
            said(&needs(1), 244),
            "sure: no room for rootfs.tar in dist: it needs 245.0 MiB, as in the last build, and 244.0 MiB are free"
        );
        let unsure = needs(1).map(|need| RoomNeed { certain: false, ..need });
        assert!(said(&unsure, 244).starts_with("possible: "), "it may be skipped");
    }

    #[test]
    fn parts_are_needed_together() {
        let parts = |certain| {
            [("rootfs.img", 34), ("live.raw", 35), ("live.qcow2", 35)].map(|(node, mib)| RoomNeed {
                basis: Basis::Parts,
                certain,
                ..need(node, mib, 0)
            })
        };
        assert_eq!(said(&parts(true), 104), "");
        assert_eq!(
            said(&parts(true), 36),
            "sure: no room in dist: this build needs at least 104.0 MiB there (live.raw 35.0 MiB, live.qcow2 35.0 MiB, rootfs.img 34.0 \
             MiB), and 36.0 MiB are free"
        );
        assert!(said(&parts(false), 36).starts_with("possible: this build may need 104.0 MiB in dist (live.raw "));
    }
}
