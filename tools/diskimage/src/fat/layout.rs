//! Places files of a FAT volume: each file and directory in one run of clusters, in walk order.

use super::{
    Bits, Options,
    entries::{self, ARCHIVE, DIRECTORY, ENTRY, Stamp, VOLUME},
    geometry::Geometry,
    names,
};
use crate::sparse::{Meter, copy_content};
use anyhow::{Context as _, Result, bail};
use filetree::{Children, Content, Kind, Tree};
use std::{fs::File, os::unix::fs::FileExt as _};

/// A validated FAT volume. It refers to file contents without holding them.
#[derive(Clone, Debug)]
pub struct Layout {
    geometry: Geometry,
    label: [u8; 11],
    volume_id: u32,
    /// Root directory of FAT12 and FAT16, which precedes the clusters.
    fixed_root: Vec<u8>,
    runs: Vec<Run>,
}

/// A file or directory in consecutive clusters.
#[derive(Clone, Debug)]
struct Run {
    first: u32,
    clusters: u32,
    content: Content,
}

/// Maximum entries of a directory, whose size must be below 2 MiB.
const MOST_SLOTS: usize = 65535;

pub(super) fn plan(tree: &Tree, options: &Options) -> Result<Layout> {
    let geometry = Geometry::choose(options)?;
    let label = check_label(&options.label)?;
    let mut planner = Planner { geometry, stamp: Stamp::new(options.mtime), next: 2, runs: Vec::new(), fixed_root: Vec::new() };
    let Some(children) = tree.root.children() else { bail!("the tree's root is not a directory") };
    planner.place_directory(&mut Vec::new(), children, Place::Root { label: (!options.label.is_empty()).then_some(label) })?;
    let (used, cluster) = (planner.next - 2, geometry.cluster_bytes());
    if used > u64::from(geometry.clusters) {
        bail!(
            "the files do not fit: they need {} bytes in clusters of {cluster}, a FAT volume of {} bytes has {} for files",
            used * cluster,
            options.size,
            u64::from(geometry.clusters) * cluster
        );
    }
    let label = if options.label.is_empty() { *b"NO NAME    " } else { label };
    Ok(Layout { geometry, label, volume_id: options.volume_id, fixed_root: planner.fixed_root, runs: planner.runs })
}

fn check_label(label: &str) -> Result<[u8; 11]> {
    let good = label.bytes().all(|b| matches!(b, b' '..=b'~') && !b.is_ascii_lowercase() && !b"\"*+,./:;<=>?[\\]|".contains(&b));
    if !good || label.len() > 11 || label.starts_with(' ') {
        bail!("invalid FAT label `{}`: at most 11 upper-case ASCII letters, digits and some punctuation", label.escape_debug());
    }
    let mut padded = [b' '; 11];
    padded[..label.len()].copy_from_slice(label.as_bytes());
    Ok(padded)
}

/// Position of a directory; decides its first entries.
enum Place {
    /// The root; contains the label, but no dot entries.
    Root { label: Option<[u8; 11]> },
    /// Below the directory at this cluster; 0 is the root.
    Below(u32),
}

struct Planner {
    geometry: Geometry,
    stamp: Stamp,
    /// Next free cluster. May exceed the volume, so that the error can report the needed space.
    next: u64,
    runs: Vec<Run>,
    fixed_root: Vec<u8>,
}

impl Planner {
    /// Allocates clusters for `bytes` bytes; returns the first, 0 for no bytes.
    fn take(&mut self, bytes: u64, content: Content) -> u32 {
        let clusters = bytes.div_ceil(self.geometry.cluster_bytes());
        let first = if clusters == 0 { 0 } else { u32::try_from(self.next).unwrap_or(u32::MAX) };
        self.next = self.next.saturating_add(clusters);
        self.runs.push(Run { first, clusters: u32::try_from(clusters).unwrap_or(u32::MAX), content });
        first
    }

    /// Places a directory and its children; returns its first cluster.
    fn place_directory(&mut self, path: &mut Vec<u8>, children: &Children, place: Place) -> Result<u32> {
        let shown = |path: &[u8]| format!("/{}", String::from_utf8_lossy(path));
        let names =
            names::assign(children.keys().map(Vec::as_slice)).with_context(|| format!("cannot store the directory `{}`", shown(path)))?;
        let extra = match &place {
            Place::Root { label } => usize::from(label.is_some()),
            Place::Below(_) => 2,
        };
        let slots = extra + names.iter().map(names::Name::slots).sum::<usize>();
        let fixed = self.geometry.fixed_root_entries().filter(|_| matches!(place, Place::Root { .. }));
        let most = fixed.map_or(MOST_SLOTS, |most| most as usize);
        if slots > most {
            bail!("the directory `{}` needs {slots} entries (long names need several), more than {most}", shown(path));
        }
        // The directory's run precedes those of its children, and is filled when their clusters are known.
        let own = if fixed.is_some() { 0 } else { self.take((slots.max(1) * ENTRY) as u64, Content::from("")) };
        let run = self.runs.len().checked_sub(1);
        let mut bytes = Vec::with_capacity(slots * ENTRY);
        match &place {
            Place::Root { label } => label.iter().for_each(|label| bytes.extend(entries::short(label, VOLUME, self.stamp, 0, 0))),
            Place::Below(parent) => {
                bytes.extend(entries::short(b".          ", DIRECTORY, self.stamp, own, 0));
                bytes.extend(entries::short(b"..         ", DIRECTORY, self.stamp, *parent, 0));
            }
        }
        let above = if matches!(place, Place::Root { .. }) { 0 } else { own };
        for ((child, node), name) in children.iter().zip(&names) {
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(child);
            bytes.extend(match &node.kind {
                Kind::Dir(children) => {
                    let cluster = self.place_directory(path, children, Place::Below(above))?;
                    entries::named(name, DIRECTORY, self.stamp, cluster, 0)
                }
                Kind::File { content, .. } => {
                    let Ok(size) = u32::try_from(content.len()) else {
                        bail!("`{}` has {} bytes; the limit of FAT is {}", shown(path), content.len(), u32::MAX);
                    };
                    let cluster = self.take(content.len(), content.clone());
                    entries::named(name, ARCHIVE, self.stamp, cluster, size)
                }
                other => bail!("`{}` is {}, which FAT does not support", shown(path), kind_name(other)),
            });
            path.truncate(length);
        }
        match run.filter(|_| fixed.is_none()).and_then(|run| self.runs.get_mut(run)) {
            Some(run) => run.content = Content::from(bytes),
            None => self.fixed_root = bytes,
        }
        Ok(own)
    }
}

fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Dir(_) => "a directory",
        Kind::File { .. } => "a file",
        Kind::Symlink(_) => "a symbolic link",
        Kind::CharDevice { .. } => "a character device",
        Kind::BlockDevice { .. } => "a block device",
        Kind::Fifo => "a named pipe",
    }
}

impl Layout {
    /// Size of the volume in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.geometry.size()
    }

    /// The chosen width; never [`Bits::Auto`].
    #[must_use]
    pub fn bits(&self) -> Bits {
        self.geometry.bits
    }

    /// Free space in bytes.
    #[must_use]
    pub fn free(&self) -> u64 {
        u64::from(self.free_clusters()) * self.geometry.cluster_bytes()
    }

    fn free_clusters(&self) -> u32 {
        self.geometry.clusters - self.runs.iter().map(|run| run.clusters).sum::<u32>()
    }

    /// Writes the volume to `out`; overwrites all old content.
    pub fn write(&self, out: &File) -> Result<()> {
        out.set_len(0).context("cannot empty the image file")?;
        out.set_len(self.size()).with_context(|| format!("cannot set the size of the image file to {} bytes", self.size()))?;
        self.write_at(out, 0)
    }

    /// Writes the volume into `out` at `offset`, where [`Layout::size`] bytes must be zeros. Zeros are not written.
    pub fn write_at(&self, out: &File, offset: u64) -> Result<()> {
        let put = |bytes: &[u8], at: u64| out.write_all_at(bytes, offset + at).context("cannot write the FAT volume");
        for (at, sector) in self.geometry.boot_sectors(self.label, self.volume_id, self.free_clusters()) {
            put(&sector, at)?;
        }
        let nobody = Meter::new(0, &|_, _| {});
        let chains: Vec<(u32, u32)> = self.runs.iter().map(|run| (run.first, run.clusters)).collect();
        let table = self.geometry.table(&chains);
        for at in self.geometry.table_offsets() {
            put(&table, at)?;
        }
        put(&self.fixed_root, self.geometry.root_offset())?;
        for run in self.runs.iter().filter(|run| run.clusters > 0) {
            copy_content(&run.content, out, offset + self.geometry.cluster_offset(run.first), &nobody)?;
        }
        Ok(())
    }
}
