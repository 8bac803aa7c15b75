//! Where the files of a FAT volume go: every file and directory in one run of clusters, in the order of the walk.

use super::{
    Bits, Options,
    entries::{self, ARCHIVE, DIRECTORY, ENTRY, Stamp, VOLUME},
    geometry::Geometry,
    names,
};
use crate::sparse::copy_content;
use anyhow::{Context as _, Result, bail};
use filetree::{Children, Content, Kind, Tree};
use std::{fs::File, os::unix::fs::FileExt as _};

/// A validated FAT volume, ready to be written. It refers to the files' contents and holds none of them.
#[derive(Clone, Debug)]
pub struct Layout {
    geometry: Geometry,
    label: [u8; 11],
    volume_id: u32,
    /// The root directory of FAT12 and FAT16, which lies before the clusters.
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

/// Most entries of a directory: its size must stay below 2 MiB.
const MOST_SLOTS: usize = 65535;

pub(super) fn plan(tree: &Tree, options: &Options) -> Result<Layout> {
    let geometry = Geometry::choose(options)?;
    let label = check_label(&options.label)?;
    let mut planner = Planner { geometry, stamp: Stamp::new(options.mtime), next: 2, runs: Vec::new(), fixed_root: Vec::new() };
    let Some(children) = tree.root.children() else { bail!("the root of the tree is not a directory") };
    planner.place_directory(&mut Vec::new(), children, Place::Root { label: (!options.label.is_empty()).then_some(label) })?;
    let (used, cluster) = (planner.next - 2, geometry.cluster_bytes());
    if used > u64::from(geometry.clusters) {
        bail!(
            "the files do not fit: they need {} bytes in clusters of {cluster}, a FAT volume of {} bytes has {} for them",
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
        bail!("`{}` is no FAT label: at most 11 upper-case ASCII letters, digits and simple signs", label.escape_debug());
    }
    let mut padded = [b' '; 11];
    padded[..label.len()].copy_from_slice(label.as_bytes());
    Ok(padded)
}

/// Where a directory stands, which decides its first entries.
enum Place {
    /// The root; it has the label and no dots.
    Root { label: Option<[u8; 11]> },
    /// Below a directory that begins at a cluster; 0 is the root, of any width.
    Below(u32),
}

struct Planner {
    geometry: Geometry,
    stamp: Stamp,
    /// Next free cluster; it may run past the end, so that the error can say how much is needed.
    next: u64,
    runs: Vec<Run>,
    fixed_root: Vec<u8>,
}

impl Planner {
    /// Takes clusters for `bytes` bytes and gives the first of them, 0 for no bytes.
    fn take(&mut self, bytes: u64, content: Content) -> u32 {
        let clusters = bytes.div_ceil(self.geometry.cluster_bytes());
        let first = if clusters == 0 { 0 } else { u32::try_from(self.next).unwrap_or(u32::MAX) };
        self.next = self.next.saturating_add(clusters);
        self.runs.push(Run { first, clusters: u32::try_from(clusters).unwrap_or(u32::MAX), content });
        first
    }

    /// Places a directory and all below it; gives its first cluster.
    fn place_directory(&mut self, path: &mut Vec<u8>, children: &Children, place: Place) -> Result<u32> {
        let shown = |path: &[u8]| format!("/{}", String::from_utf8_lossy(path));
        let names = names::assign(children.keys().map(Vec::as_slice)).with_context(|| format!("in `{}`", shown(path)))?;
        let extra = match &place {
            Place::Root { label } => usize::from(label.is_some()),
            Place::Below(_) => 2,
        };
        let slots = extra + names.iter().map(names::Name::slots).sum::<usize>();
        let fixed = self.geometry.fixed_root_entries().filter(|_| matches!(place, Place::Root { .. }));
        let most = fixed.map_or(MOST_SLOTS, |most| most as usize);
        if slots > most {
            bail!("`{}` needs {slots} directory entries (long names need several), there is room for {most}", shown(path));
        }
        // The run is taken before its children's, and filled when their clusters are known.
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
                        bail!("`{}` has {} bytes, a file on FAT at most {}", shown(path), content.len(), u32::MAX);
                    };
                    let cluster = self.take(content.len(), content.clone());
                    entries::named(name, ARCHIVE, self.stamp, cluster, size)
                }
                other => bail!("`{}` is {}, which FAT cannot hold", shown(path), kind_name(other)),
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
    /// Bytes of the whole volume.
    #[must_use]
    pub fn size(&self) -> u64 {
        u64::from(self.geometry.sectors) * 512
    }

    /// The width that was chosen, never [`Bits::Auto`].
    #[must_use]
    pub fn bits(&self) -> Bits {
        self.geometry.bits
    }

    /// Bytes that are still free.
    #[must_use]
    pub fn free(&self) -> u64 {
        u64::from(self.free_clusters()) * self.geometry.cluster_bytes()
    }

    fn free_clusters(&self) -> u32 {
        self.geometry.clusters - self.runs.iter().map(|run| run.clusters).sum::<u32>()
    }

    /// Writes the volume as the whole of `out`: what was there is cut away first.
    pub fn write(&self, out: &File) -> Result<()> {
        out.set_len(0).context("cannot empty the image file")?;
        out.set_len(self.size()).with_context(|| format!("cannot make the image file {} bytes long", self.size()))?;
        self.write_at(out, 0)
    }

    /// Writes the volume into `out` from `offset` on, where [`Layout::size`] bytes must read as zeros. What stays zero is not written.
    pub fn write_at(&self, out: &File, offset: u64) -> Result<()> {
        let put = |bytes: &[u8], at: u64| out.write_all_at(bytes, offset + at).context("cannot write the FAT volume");
        for (at, sector) in self.geometry.boot_sectors(self.label, self.volume_id, self.free_clusters()) {
            put(&sector, at)?;
        }
        let chains: Vec<(u32, u32)> = self.runs.iter().map(|run| (run.first, run.clusters)).collect();
        let table = self.geometry.table(&chains);
        for at in self.geometry.table_offsets() {
            put(&table, at)?;
        }
        put(&self.fixed_root, self.geometry.root_offset())?;
        for run in self.runs.iter().filter(|run| run.clusters > 0) {
            copy_content(&run.content, out, offset + self.geometry.cluster_offset(run.first))?;
        }
        Ok(())
    }
}
