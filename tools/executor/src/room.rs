//! How much room a run needs, by the files of the last build, and how much there is on which file system.

use anyhow::{Context as _, Result};
use plan::{Node, NodeId, Plan};
use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// What a node needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomNeed {
    /// The node's id.
    pub node: String,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Bytes of its present files, which become free when it has replaced them.
    pub freed: u64,
    /// How `bytes` is known.
    pub basis: Basis,
    /// Whether it must be made. A node that only waits for others is skipped if these turn out the same.
    pub certain: bool,
}

/// How it is known what a node needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The last build's file took as much.
    LastBuild,
    /// It is made of parts of this size, so it needs at least that.
    Parts,
}

/// The room of a file system.
#[derive(Clone, Debug)]
pub struct Room {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Its kind: `ext4`, `tmpfs` …; none where the system does not tell.
    pub kind: Option<String>,
    /// The number of its device.
    pub device: u64,
    /// Bytes that this user can write.
    pub free: u64,
}

impl std::fmt::Display for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = self.kind.as_ref().map_or_else(String::new, |kind| format!(" ({kind})"));
        write!(f, "{}{kind}", self.mount.display())
    }
}

/// Whether `error` says that a file system has no room left.
#[must_use]
pub fn is_full(error: &anyhow::Error) -> bool {
    let is_typed = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::StorageFull)
    };
    // Some parts hand on the text only. Namespaces that cannot be nested deeper have the same words (user_namespaces(7)).
    let texts: Vec<String> = error.chain().map(ToString::to_string).collect();
    let of_namespaces = texts.iter().any(|text| text.contains("needs namespaces"));
    !of_namespaces && (error.chain().any(is_typed) || texts.iter().any(|text| text.contains(FULL)))
}

/// The C library's words for ENOSPC.
const FULL: &str = "No space left on device";

/// What the `stale` nodes of `plan` need, if each of their files takes what the file of that name takes in `last`, the folder of the last
/// build. A node without such a file is left out: nobody knows.
#[must_use]
pub fn needed_room(plan: &Plan, stale: &dyn Fn(&NodeId) -> bool, last: &Path) -> Vec<RoomNeed> {
    let taken = |path: &PathBuf| {
        let name = path.file_name()?;
        let folder = path.parent().and_then(Path::file_name).filter(|folder| *folder == "installer" || *folder == "verification");
        let file = folder.map_or_else(|| last.to_owned(), |folder| last.join(folder)).join(name);
        file.symlink_metadata().ok().filter(|file| file.is_file()).map(|file| file.blocks() * 512)
    };
    // A file with another name, such as that in the store, stays.
    let freed = |path: &PathBuf| {
        let file = path.symlink_metadata().ok().filter(|file| file.is_file() && file.nlink() == 1)?;
        Some(file.blocks() * 512)
    };
    let need = |node: &Node| RoomNeed {
        node: node.id.to_string(),
        bytes: node.outputs.iter().filter_map(taken).sum(),
        freed: node.outputs.iter().filter_map(freed).sum(),
        basis: Basis::LastBuild,
        certain: must_be_made(node, stale),
    };
    plan.nodes.iter().filter(|node| stale(&node.id)).map(need).filter(|need| need.bytes > 0).collect()
}

/// Whether a stale `node` is made whatever comes before it: one that only waits for others is skipped if these turn out the same.
#[must_use]
pub fn must_be_made(node: &Node, stale: &dyn Fn(&NodeId) -> bool) -> bool {
    node.needs.iter().all(|need| !stale(&need.id)) || node.outputs.iter().any(|path| !path.exists())
}

/// The room for files in `folder`, which need not exist yet.
pub fn free_room(folder: &Path) -> Result<Room> {
    let there = folder.ancestors().find(|folder| folder.exists()).context("the root exists")?;
    let there = there.canonicalize().with_context(|| format!("cannot read `{}`", there.display()))?;
    let state = rustix::fs::statvfs(&there).with_context(|| format!("cannot read the file system of `{}`", there.display()))?;
    let device = |folder: &Path| folder.metadata().ok().map(|folder| folder.dev());
    let here = device(&there);
    let mount = there.ancestors().take_while(|folder| device(folder) == here).last().unwrap_or(&there).to_owned();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let kind = kind_of(&mount, &mounts);
    Ok(Room { mount, kind, device: here.unwrap_or_default(), free: state.f_bavail.saturating_mul(state.f_frsize) })
}

/// The kind of the file system that is mounted at `mount`, of the last one if there are more (proc_pid_mounts(5)).
fn kind_of(mount: &Path, mounts: &str) -> Option<String> {
    let mount = mount.to_str()?.replace(' ', "\\040");
    let rows = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let kinds = rows.filter_map(|row| Some((*row.get(1)?, *row.get(2)?)));
    kinds.rev().find(|(place, _)| *place == mount).map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::{Need, steps::WriteText};

    #[test]
    fn files_of_the_last_build_tell_what_is_needed() {
        let folder = tempfile::tempdir().expect("folder");
        let last = folder.path().join("last");
        std::fs::create_dir_all(last.join("installer")).expect("folder");
        std::fs::write(last.join("installer/rootfs.img"), vec![1; 100_000]).expect("file");
        std::fs::File::create(last.join("live.raw")).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
        let node = |name: &'static str, path: &str| Node {
            id: NodeId::Asked(name),
            inputs: vec![],
            needs: vec![],
            outputs: vec![folder.path().join(path)],
            step: WriteText { path: "x".into(), text: String::new() }.into(),
        };
        let nodes = vec![node("rootfs.img", "new/installer/rootfs.img"), node("live.raw", "new/live.raw"), node("other", "new/other")];
        let plan = Plan { nodes, goals: vec![] };
        let needs = needed_room(&plan, &|_| true, &last);
        assert!(needs.len() == 1 && needs[0].node == "rootfs.img" && needs[0].bytes >= 100_000, "holes take nothing: {needs:?}");
        assert!(needs[0].certain && needs[0].freed == 0, "it is not there yet: {needs:?}");
        assert!(needed_room(&plan, &|_| false, &last).is_empty());
    }

    #[test]
    fn a_file_that_is_replaced_becomes_free() {
        let folder = tempfile::tempdir().expect("folder");
        let node = |name: &'static str, needs: &[&'static str]| Node {
            id: NodeId::Asked(name),
            inputs: vec![],
            needs: needs.iter().map(|need| Need { id: NodeId::Asked(need), reason: "needed" }).collect(),
            outputs: vec![folder.path().join(name)],
            step: WriteText { path: "x".into(), text: String::new() }.into(),
        };
        let plan = Plan { nodes: vec![node("a", &[]), node("b", &["a"])], goals: vec![] };
        for name in ["a", "b"] {
            std::fs::write(folder.path().join(name), vec![1; 100_000]).expect("file");
        }
        std::fs::hard_link(folder.path().join("a"), folder.path().join("store")).expect("link");
        let needs = needed_room(&plan, &|_| true, folder.path());
        assert!(needs[0].freed == 0 && needs[0].certain, "the store keeps it: {needs:?}");
        assert!(needs[1].freed == needs[1].bytes && !needs[1].certain, "`a` may turn out the same: {needs:?}");
    }

    #[test]
    fn a_folder_that_is_not_there_has_the_room_of_the_one_above() {
        let folder = tempfile::tempdir().expect("folder");
        let room = free_room(&folder.path().join("a/b")).expect("room");
        assert!(room.free > 0 && folder.path().canonicalize().expect("path").starts_with(&room.mount), "{room:?}");
    }

    #[test]
    fn the_kind_is_that_of_the_last_mount_at_a_place() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/vdb /my\\040disk xfs rw 0 0\nnone /tmp overlay rw 0 0\n";
        let kind = |mount: &str| kind_of(Path::new(mount), mounts);
        assert_eq!(kind("/tmp").as_deref(), Some("overlay"));
        assert_eq!(kind("/my disk").as_deref(), Some("xfs"));
        assert_eq!(kind("/nowhere"), None);
    }

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert!(is_full(&anyhow::Error::from(full()).context("cannot write")));
        assert!(is_full(&anyhow::anyhow!("cannot write: {}", std::io::Error::from_raw_os_error(28))), "also as a text");
        assert!(!is_full(&std::io::Error::from(std::io::ErrorKind::NotFound).into()));
        assert!(!is_full(
            &anyhow::Error::from(full()).context("a build step needs namespaces, which this machine forbids to ordinary users")
        ));
    }
}
