//! Composes the whole root file system: finds all images first, reads them ahead on threads, writes the sections in linuxkit's order.

use crate::{
    container::{self, Ids},
    files::{FILES, put_files},
    go_json,
    kernel::put_kernel,
    layers::image_entries,
    places::Origin,
    rootfs::{Bundle, ComposeMeter, Options, RESOLV_LINK, RootfsWriter, Sink, Sources, finish_image},
    volumes::with_volumes,
    yml::{Container, Volume, Yml, full_name, image_references},
};
use anyhow::{Context as _, Result, anyhow, bail};
use filetree::{Content, Entry, EntryKind, Kind, Meta, TarWriter, Tree, entries_to_tree};
use oci::Image;
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    io::{BufWriter, Write},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

/// Finds images, for example in a cache.
pub trait Images: Sync {
    /// The image by its full name (`docker.io/…`). A missing image is an error, with a hint how to get it.
    fn find(&self, reference: &str) -> Result<Image>;
}

/// Sizes of the root file system.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// One for each part of the yml, in tar order.
    pub parts: Vec<Part>,
    /// Total size of files in bytes.
    pub bytes: u64,
    /// Number of entries in all.
    pub entries: u64,
}

/// Size of one image, or of the yml's files.
#[derive(Clone, Debug)]
pub struct Part {
    /// `kernel`, `init[1]`, `services[0]`, `files`.
    pub place: String,
    /// Full name of the image; empty if the part has none.
    pub image: String,
    /// Size of its files in bytes. A repeated image adds only its configuration.
    pub bytes: u64,
    /// Number of its entries.
    pub entries: u64,
}

/// How many images are read at the same time.
const READERS: usize = 4;
/// Package database of Alpine images; the databases of all init images are concatenated.
const APK_DATABASE: &str = "lib/apk/db/installed";

/// Writes the tar of the root file system that `yml` describes to `out`. Looks up all images first; the error names all missing
/// ones.
pub fn compose(yml: &Yml, images: &dyn Images, options: &Options, out: impl Write) -> Result<Summary> {
    let (tar, summary) = compose_into(yml, images, options, TarWriter::new(BufWriter::with_capacity(1 << 20, out)))?;
    tar.finish().context("cannot write the root file system's tar")?;
    Ok(summary)
}

/// The same as a tree: that of a reader of the tar, but its contents are in the layers of the images, and none is copied.
pub fn compose_tree(yml: &Yml, images: &dyn Images, options: &Options) -> Result<(Tree, Summary)> {
    let (entries, summary) = compose_into(yml, images, options, Vec::new())?;
    Ok((entries_to_tree(entries)?, summary))
}

/// The path of each entry of the root file system, and the image that it comes from: `linuxkit.files` for the yml's own files,
/// whose sources are not read.
pub fn sources(yml: &Yml, images: &dyn Images, options: &Options) -> Result<HashMap<Vec<u8>, String>> {
    let (mut yml, options) = (yml.clone(), Options { records: true, ..options.clone() });
    let files = yml.moby.files.take().unwrap_or_default();
    let mut sources = compose_into(&yml, images, &options, Sources::default())?.0.0;
    sources.extend(files.iter().map(|file| (file.path.trim_start_matches('/').as_bytes().to_vec(), FILES.to_owned())));
    Ok(sources)
}

fn compose_into<S: Sink>(yml: &Yml, images: &dyn Images, options: &Options, out: S) -> Result<(S, Summary)> {
    let found = find_images(yml, images, &options.arch)?;
    let wanted = unpacked_images(yml);
    let size = |name| found.get(name).map_or(0, |image: &Image| image.layers.iter().map(oci::Layer::size).sum());
    std::thread::scope(|scope| {
        let (wanted, found) = (&wanted, &found);
        let ahead = (0..READERS).map(|reader| {
            let (send, receive) = sync_channel(1);
            scope.spawn(move || read_ahead(wanted.iter().skip(reader).step_by(READERS), found, send));
            receive
        });
        let mut composer = Composer {
            yml,
            images: found,
            ids: ids(yml),
            ahead: ahead.collect(),
            sizes: wanted.iter().map(size).collect(),
            begun: 0,
            progress: &options.progress,
            rootfs: RootfsWriter::new(out, options),
            summary: Summary::default(),
            databases: Vec::new(),
        };
        composer.run()?;
        Ok(composer.finish())
    })
}

/// The images of the yml by full name.
fn find_images(yml: &Yml, images: &dyn Images, arch: &str) -> Result<BTreeMap<String, Image>> {
    let mut found = BTreeMap::new();
    let mut missing = Vec::new();
    for reference in image_references(yml) {
        let name = full_name(&reference.image);
        if found.contains_key(&name) {
            continue;
        }
        match images.find(&name) {
            Ok(image) if !arch.is_empty() && image.arch != arch => {
                missing.push((reference, anyhow!("it is for {} instead of {arch}", image.arch)));
            }
            Ok(image) => {
                found.insert(name, image);
            }
            Err(error) => missing.push((reference, error)),
        }
    }
    if !missing.is_empty() {
        let lines: Vec<String> = missing.iter().map(|(r, error)| format!("\n  {}: `{}`: {error:#}", r.place, r.image)).collect();
        bail!("`{}` needs {} that cannot be found:{}", yml.name, count(missing.len(), "image"), lines.concat());
    }
    Ok(found)
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Names of the images whose files go into the tar, in tar order, with repetitions.
fn unpacked_images(yml: &Yml) -> Vec<String> {
    let moby = &yml.moby;
    let mut list = Vec::new();
    let volumes = moby.volumes().iter().map(|volume| &volume.image);
    for image in [&moby.kernel.image].into_iter().chain(moby.init.iter().flatten()).chain(volumes) {
        if !image.is_empty() {
            list.push(full_name(image));
        }
    }
    let mut bundles = HashSet::new();
    for container in moby.containers().into_iter().flat_map(|(_, containers)| containers) {
        let name = full_name(&container.image);
        if bundles.insert(name.clone()) {
            list.push(name);
        }
    }
    list
}

/// Reads, checks and decompresses the next one of the `wanted` images while the writer writes the current one.
fn read_ahead<'w>(wanted: impl Iterator<Item = &'w String>, found: &BTreeMap<String, Image>, send: SyncSender<Result<Vec<Entry>>>) {
    for name in wanted {
        let entries = found.get(name).context("internal error: an image was not looked up").and_then(image_entries);
        // The receiver is dropped after an error of the writer.
        if send.send(entries).is_err() {
            return;
        }
    }
}

/// Numbers of containers, by which owners may be named; the last container of a name wins.
fn ids(yml: &Yml) -> Ids {
    let containers = yml.moby.containers().into_iter().flat_map(|(_, containers)| containers);
    containers.zip(100..).map(|(container, id)| (container.name.clone(), id)).collect()
}

struct Composer<'a, S: Sink> {
    yml: &'a Yml,
    images: &'a BTreeMap<String, Image>,
    ids: Ids,
    /// Entries of the next images, the first of them first.
    ahead: VecDeque<Receiver<Result<Vec<Entry>>>>,
    /// Bytes of the layers of each image, in the same order.
    sizes: Vec<u64>,
    /// Number of images that were received.
    begun: usize,
    progress: &'a ComposeMeter,
    rootfs: RootfsWriter<'a, S>,
    summary: Summary,
    databases: Vec<Content>,
}

impl<S: Sink> Composer<'_, S> {
    fn run(&mut self) -> Result<()> {
        let moby = &self.yml.moby;
        if !moby.kernel.image.is_empty() {
            self.part("kernel", &moby.kernel.image, Self::kernel)?;
        }
        for (number, image) in moby.init.iter().flatten().enumerate() {
            self.part(&format!("init[{number}]"), image, Self::init)?;
        }
        self.merge_databases()?;
        for (number, volume) in moby.volumes().iter().enumerate() {
            self.part(&format!("volume[{number}]"), &volume.image, |composer, from| composer.volume(volume, from))?;
        }
        for (section, containers) in moby.containers() {
            for (number, container) in containers.iter().enumerate() {
                // Services have no order; the other sections run in the order of their names.
                let order = if section == "services" { String::new() } else { format!("{number:03}-") };
                let at = format!("containers/{section}/{order}{}", container.name);
                self.part(&format!("{section}[{number}]"), &container.image, |composer, from| composer.container(container, &at, from))?;
            }
        }
        self.part("files", "", |composer, _| put_files(composer.yml, &composer.ids, &mut composer.rootfs))
    }

    /// Runs `write` for one part of the yml and records its size.
    fn part(&mut self, place: &str, image: &str, write: impl FnOnce(&mut Self, Origin<'_>) -> Result<()>) -> Result<()> {
        let before = self.rootfs.written;
        let image = if image.is_empty() { String::new() } else { full_name(image) };
        let done = write(self, Origin { source: &image, location: place });
        if place == "files" {
            done?;
        } else {
            done.with_context(|| format!("`{}`: {place}: image `{image}`", self.yml.name))?;
        }
        let (bytes, entries) = (self.rootfs.written.0 - before.0, self.rootfs.written.1 - before.1);
        self.summary.parts.push(Part { place: place.to_owned(), image, bytes, entries });
        Ok(())
    }

    fn next_image(&mut self, resolv: Option<&str>) -> Result<Vec<Entry>> {
        self.tell(self.begun);
        let entries = self.ahead.front().context("internal error: no reader")?.recv().context("internal error: no image left")??;
        self.ahead.rotate_left(1);
        self.begun += 1;
        Ok(finish_image(entries, resolv, self.rootfs.mtime()))
    }

    /// Tells that the files of the first `images` images are written.
    fn tell(&self, images: usize) {
        (self.progress.0)(self.sizes.iter().take(images).sum(), self.sizes.iter().sum());
    }

    fn kernel(&mut self, from: Origin<'_>) -> Result<()> {
        let entries = self.next_image(None)?;
        put_kernel(&self.yml.moby.kernel, &entries, from, &mut self.rootfs)
    }

    fn init(&mut self, from: Origin<'_>) -> Result<()> {
        let entries = self.next_image(Some(RESOLV_LINK))?;
        for entry in &entries {
            if let EntryKind::Node(Kind::File { content, .. }) = &entry.kind
                && entry.path == APK_DATABASE.as_bytes()
            {
                self.databases.push(content.clone());
            }
        }
        self.rootfs.put_image("", &entries, from)
    }

    /// Writes the concatenated databases of several init images; otherwise only the last one would be visible.
    fn merge_databases(&mut self) -> Result<()> {
        if self.databases.len() < 2 {
            return Ok(());
        }
        let mut all = Vec::new();
        for database in std::mem::take(&mut self.databases) {
            all.extend(database.read_all()?);
            all.extend(b"\n\n");
        }
        let kind = EntryKind::Node(Kind::File { content: all.into(), link: None });
        let from = Origin { source: "LINUXKIT.apkinit", location: "init" };
        self.rootfs.put(APK_DATABASE.as_bytes(), &Meta::root(0o644, 0), &kind, from, &[])
    }

    fn volume(&mut self, volume: &Volume, from: Origin<'_>) -> Result<()> {
        let at = format!("containers/volumes/{}", volume.name);
        let lower = format!("{at}/lower");
        if volume.image.is_empty() {
            self.rootfs.make_dirs(&lower, Origin { source: "empty", ..from })?;
        } else {
            self.rootfs.make_dirs(&lower, from)?;
            let entries = self.next_image(Some(RESOLV_LINK))?;
            self.rootfs.put_image(&lower, &entries, from)?;
        }
        let own = Origin { source: "linuxkit.volumes", ..from };
        self.rootfs.make_dir(&format!("{at}/tmp"), own)?;
        self.rootfs.make_dir(&format!("{at}/merged"), own)
    }

    fn container(&mut self, container: &Container, at: &str, from: Origin<'_>) -> Result<()> {
        let image = self.images.get(from.source).context("internal error: an image was not looked up")?;
        let settings = with_volumes(&container.settings, self.yml.moby.volumes())?;
        let (spec, runtime) = container::render(&settings, &image.config, &self.ids)?;
        let entries = if self.rootfs.has_bundle(from.source) { Vec::new() } else { self.next_image(None)? };
        let bundle = Bundle { config: go_json::to_vec(&spec)?, runtime, readonly: spec.root.readonly };
        self.rootfs.put_bundle(at, &entries, bundle, from)
    }

    fn finish(self) -> (S, Summary) {
        self.tell(self.begun);
        let mut summary = self.summary;
        (summary.bytes, summary.entries) = self.rootfs.written;
        (self.rootfs.finish(), summary)
    }
}
