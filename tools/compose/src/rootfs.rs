//! Writes images, bundles and single entries of the root file system, in their order: into a tar, with their origin as PAX records, or into
//! a list.

use crate::{
    go_json,
    layers::clean,
    places::{Origin, Places},
    spec::Runtime,
    yml::Mount,
};
use anyhow::Result;
use filetree::{Content, Entry, EntryKind, Kind, Meta, TarWriter};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    io::Write,
    path::PathBuf,
    sync::Arc,
};

/// PAX record: the image, or the part of linuxkit, that an entry comes from.
const SOURCE: &str = "LINUXKIT.source";
/// PAX record: the place in the yml that the entry belongs to.
const LOCATION: &str = "LINUXKIT.location";

const HOSTS: &str = "127.0.0.1       localhost\n::1     localhost ip6-localhost ip6-loopback\nfe00::0 ip6-localnet\n\
                     ff00::0 ip6-mcastprefix\nff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n";
const NO_RESOLV: &str = "\n# no resolv.conf configured\n";
/// `resolv.conf` of the running system; init images and volumes link to it.
pub(crate) const RESOLV_LINK: &str = "/run/resolvconf/resolv.conf";

/// Options of [`compose`](crate::compose()).
#[derive(Clone, Debug)]
pub struct Options {
    /// Architecture as in Go's `GOARCH`; an image for another one is an error. Empty accepts any.
    pub arch: String,
    /// Unix timestamp of all entries that are not from an image. linuxkit uses 1492533000.
    pub mtime: i64,
    /// Whether each entry has PAX records with its source. linuxkit versions of 2022 write none.
    pub records: bool,
    /// Base folder of relative `source:` paths in `files` (absolute): the yml's folder, or the tree's root. If empty, relative
    /// sources are errors.
    pub sources: PathBuf,
    /// Told how far it is, after each image.
    pub progress: ComposeMeter,
}

/// Gets the bytes of the layers whose files are written, and those of all layers.
#[derive(Clone)]
pub struct ComposeMeter(pub Arc<dyn Fn(u64, u64) + Send + Sync>);

impl Default for ComposeMeter {
    fn default() -> Self {
        Self(Arc::new(|_, _| {}))
    }
}

impl fmt::Debug for ComposeMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ComposeMeter")
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { arch: String::new(), mtime: 1_492_533_000, records: true, sources: PathBuf::new(), progress: ComposeMeter::default() }
    }
}

/// Applies linuxkit's changes to an image: replaces `etc/hosts` and `etc/resolv.conf`, and appends the entries that every
/// container needs, even if the image has them. `resolv`: link target of `etc/resolv.conf`; `None` writes an empty file.
pub(crate) fn finish_image(mut entries: Vec<Entry>, resolv: Option<&str>, mtime: i64) -> Vec<Entry> {
    let etc_resolv = || match resolv {
        Some(target) => Kind::Symlink(target.into()),
        None => text(NO_RESOLV),
    };
    let mut has_mtab = false;
    for entry in &mut entries {
        let kind = match &entry.path[..] {
            b"etc/hosts" => text(HOSTS),
            b"etc/resolv.conf" => etc_resolv(),
            b"etc/mtab" => {
                has_mtab = true;
                entry.meta.mtime = mtime;
                continue;
            }
            _ => continue,
        };
        entry.kind = EntryKind::Node(kind);
        entry.meta.mtime = mtime;
    }
    let mut add = |path: &str, mode: u32, kind: Kind| {
        entries.push(Entry { path: path.into(), meta: Meta::root(mode, mtime), kind: EntryKind::Node(kind) });
    };
    for path in ["dev", "dev/pts", "dev/shm", "etc"] {
        add(path, 0o755, dir());
    }
    add("etc/hosts", 0o644, text(HOSTS));
    if !has_mtab {
        add("etc/mtab", 0o755, Kind::Symlink(b"/proc/mounts".to_vec()));
    }
    add("etc/resolv.conf", 0o644, etc_resolv());
    for path in ["proc", "sys"] {
        add(path, 0o755, dir());
    }
    entries
}

fn text(text: &str) -> Kind {
    Kind::File { content: Content::from(text), link: None }
}

fn dir() -> Kind {
    Kind::Dir(BTreeMap::new())
}

/// Takes the entries of a root file system in their order.
pub(crate) trait Sink {
    fn append(&mut self, path: &[u8], meta: &Meta, kind: &EntryKind, records: &[(&str, &str)]) -> Result<()>;
}

impl<W: Write> Sink for TarWriter<W> {
    fn append(&mut self, path: &[u8], meta: &Meta, kind: &EntryKind, records: &[(&str, &str)]) -> Result<()> {
        Self::append(self, path, meta, kind, records)
    }
}

/// The entries that a reader of the tar would find.
impl Sink for Vec<Entry> {
    fn append(&mut self, path: &[u8], meta: &Meta, kind: &EntryKind, _: &[(&str, &str)]) -> Result<()> {
        // A tar has no time before 1970.
        let meta = Meta { mtime: meta.mtime.max(0), ..meta.clone() };
        self.push(Entry { path: path.to_owned(), meta, kind: kind.clone() });
        Ok(())
    }
}

/// The image of each path; of a path that several images have, the last one's.
#[derive(Default)]
pub(crate) struct Sources(pub HashMap<Vec<u8>, String>);

impl Sink for Sources {
    fn append(&mut self, path: &[u8], _: &Meta, _: &EntryKind, records: &[(&str, &str)]) -> Result<()> {
        let source = records.iter().find(|(key, _)| *key == SOURCE);
        self.0.extend(source.map(|(_, source)| (path.to_owned(), (*source).to_owned())));
        Ok(())
    }
}

/// Writer of a root file system.
pub(crate) struct RootfsWriter<'o, S: Sink> {
    out: S,
    options: &'o Options,
    /// For each image, the folder with the files of its first bundle.
    unpacked: HashMap<String, String>,
    places: Places,
    /// Folder that absolute links of the current image start in; empty means the root.
    root: Vec<u8>,
    /// Total size of files in bytes, and number of entries.
    pub written: (u64, u64),
}

impl<'o, S: Sink> RootfsWriter<'o, S> {
    pub(crate) fn new(out: S, options: &'o Options) -> Self {
        Self { out, options, unpacked: HashMap::new(), places: Places::default(), root: Vec::new(), written: (0, 0) }
    }

    pub(crate) fn mtime(&self) -> i64 {
        self.options.mtime
    }

    pub(crate) fn options(&self) -> &'o Options {
        self.options
    }

    pub(crate) fn finish(self) -> S {
        self.out
    }

    /// Writes one entry with its origin and additional PAX `records`: below a link to a folder, into that folder. Fails if an
    /// earlier entry would disappear (rules: [`Places`]).
    pub(crate) fn put(&mut self, path: &[u8], meta: &Meta, kind: &EntryKind, from: Origin<'_>, records: &[(String, String)]) -> Result<()> {
        let mut all: Vec<(&str, &str)> = records.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        if self.options.records {
            all.extend([(SOURCE, from.source), (LOCATION, from.location)]);
        }
        let path = &self.places.take(&self.root, path, kind, from)?;
        let resolved;
        let kind = match kind {
            EntryKind::HardLink(target) => {
                resolved = EntryKind::HardLink(self.places.target(&self.root, target)?);
                &resolved
            }
            kind => kind,
        };
        if let EntryKind::Node(Kind::File { content, .. }) = kind {
            self.written.0 += content.len();
        }
        self.written.1 += 1;
        self.out.append(path, meta, kind, &all)
    }

    /// Writes an entry of linuxkit's own: owner root, default mtime.
    pub(crate) fn make(&mut self, path: &str, mode: u32, kind: Kind, from: Origin<'_>) -> Result<()> {
        self.put(path.as_bytes(), &Meta::root(mode, self.mtime()), &EntryKind::Node(kind), from, &[])
    }

    pub(crate) fn make_dir(&mut self, path: &str, from: Origin<'_>) -> Result<()> {
        self.make(path, 0o755, dir(), from)
    }

    /// Writes the folder and its parents.
    pub(crate) fn make_dirs(&mut self, path: &str, from: Origin<'_>) -> Result<()> {
        for (at, _) in path.match_indices('/').chain([(path.len(), "")]) {
            self.make_dir(&path[..at], from)?;
        }
        Ok(())
    }

    /// Writes an image's entries below the folder `prefix`; empty means the root.
    pub(crate) fn put_image(&mut self, prefix: &str, entries: &[Entry], from: Origin<'_>) -> Result<()> {
        let root = self.places.target(&[], prefix.as_bytes())?;
        self.root.clone_from(&root);
        let below = |path: &[u8]| if root.is_empty() { path.to_vec() } else { [&root[..], b"/", path].concat() };
        for entry in entries {
            match &entry.kind {
                EntryKind::HardLink(target) => {
                    let target = EntryKind::HardLink(below(&clean(target)?));
                    self.put(&below(&entry.path), &entry.meta, &target, from, &[])?;
                }
                kind => self.put(&below(&entry.path), &entry.meta, kind, from, &[])?,
            }
        }
        self.root.clear();
        Ok(())
    }

    /// Whether a bundle of this image was written.
    pub(crate) fn has_bundle(&self, reference: &str) -> bool {
        self.unpacked.contains_key(reference)
    }

    /// Writes a bundle into the folder `at`. `entries` are the image's; unused if the image has a bundle already.
    pub(crate) fn put_bundle(&mut self, at: &str, entries: &[Entry], bundle: Bundle, from: Origin<'_>) -> Result<()> {
        let Bundle { config, mut runtime, readonly } = bundle;
        let elsewhere = self.unpacked.get(from.source).cloned();
        let root = match &elsewhere {
            Some(root) => {
                self.make_dirs(at, from)?;
                root.clone()
            }
            None => {
                let root = format!("{at}/{}", if readonly { "rootfs" } else { "lower" });
                self.make_dirs(&root, from)?;
                self.put_image(&root, entries, from)?;
                self.unpacked.insert(from.source.to_owned(), root.clone());
                root
            }
        };
        self.make(&format!("{at}/config.json"), 0o644, Kind::File { content: config.into(), link: None }, from)?;
        let mount = |kind: &str, source: &str, at: String, options: &[String]| Mount {
            destination: format!("/{at}"),
            kind: kind.to_owned(),
            source: source.to_owned(),
            options: options.to_vec(),
            ..Mount::default()
        };
        let (merged, tmp) = (format!("{at}/rootfs"), format!("{at}/tmp"));
        let own = if readonly {
            if elsewhere.is_some() {
                self.make_dir(&merged, from)?;
            }
            vec![mount("", &format!("/{root}"), merged, &["bind".to_owned()])]
        } else {
            self.make_dir(&tmp, from)?;
            self.make_dir(&merged, from)?;
            let layers = [format!("lowerdir=/{root}"), format!("upperdir=/{tmp}/upper"), format!("workdir=/{tmp}/work")];
            vec![
                mount("tmpfs", "tmpfs", tmp.clone(), &[]),
                // Hides the upper layer from other mount namespaces.
                mount("", "", tmp, &["remount".to_owned(), "private".to_owned()]),
                mount("overlay", "overlay", merged, &layers),
            ]
        };
        runtime.mounts.splice(..0, own);
        let runtime = Kind::File { content: go_json::to_vec(&runtime)?.into(), link: None };
        self.make(&format!("{at}/runtime.json"), 0o644, runtime, from)
    }
}

/// Documents of a bundle.
pub(crate) struct Bundle {
    /// Content of config.json.
    pub config: Vec<u8>,
    pub runtime: Runtime,
    pub readonly: bool,
}
