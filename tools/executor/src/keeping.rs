//! Takes what a node makes from the store of artifacts, and puts it there.

use crate::{
    Job, Options, State,
    artifacts::{ArtifactKey, ArtifactRecord, ArtifactStore},
    engine::Engine,
    room::is_full,
    stamp::Stamp,
    state_of,
};
use plan::{Keep, Node, NodeId, Plan};
use std::collections::BTreeMap;

/// The entry of a node in the store.
pub(crate) struct Entry<'o> {
    store: &'o dyn ArtifactStore,
    key: ArtifactKey,
}

impl<'o> Entry<'o> {
    /// The entry of what `node` makes from the results `needs`; none if nothing of it is kept.
    pub(crate) fn of(node: &Node, needs: &BTreeMap<String, String>, engine: &dyn Engine, options: &'o Options) -> Option<Self> {
        let store = options.store.as_deref()?;
        if !may_be_kept(node) {
            return None;
        }
        let recipe = engine.recipe(&node.step)?;
        Some(Self { store, key: Stamp::key(node, needs, &options.tree, options.layout.path(), &recipe) })
    }

    /// The result of the node, and the bytes of its files if the store has them; none if it is unknown.
    pub(crate) fn result(&self, node: &Node, options: &Options) -> Option<(String, Option<u64>)> {
        let record = self.store.find(&self.key)?;
        let bytes = record.has_files().then(|| record.files.iter().map(|file| file.size).sum());
        Some((Stamp::expected(node, BTreeMap::new(), &record, &options.tree)?.result(), bytes))
    }

    /// Takes the files from the store and gives their stamp; none if they must be made. A damaged entry is removed; behind it a store of
    /// two places may have a good one. Fails if the disk has no room for the files: what the step makes would need as much.
    pub(crate) fn take(
        &self,
        node: &Node,
        needs: &BTreeMap<String, String>,
        options: &Options,
        job: &Job<'_>,
    ) -> anyhow::Result<Option<Stamp>> {
        const PLACES: usize = 2;
        for _ in 0..PLACES {
            let Some(record) = self.store.find(&self.key).filter(ArtifactRecord::has_files) else { return Ok(None) };
            let Some(expected) = Stamp::expected(node, needs.clone(), &record, &options.tree) else { return Ok(None) };
            match self.store.get(&self.key, &node.outputs, &|done, total| job.measure(done, total)) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) if is_full(&error) => return Err(error),
                Err(error) => {
                    job.warn(&format!("not taken from the store: {error:#}"));
                    return Ok(None);
                }
            }
            let found = Stamp::of(node, needs.clone(), &options.tree).ok();
            if let Some(found) = found.filter(|found| found.result() == expected.result()) {
                job.log(&format!("taken from the store: {}", self.key));
                return Ok(Some(found.taken()));
            }
            self.store.remove(&self.key);
            job.warn("its entry in the store was damaged and is removed");
        }
        Ok(None)
    }

    /// What is left to do when the node's files are made and on the disk.
    pub(crate) fn put_later(self, node: &Node, stamp: &Stamp, options: &Options) -> Put<'o> {
        Put { entry: self, record: stamp.record(node, &options.tree) }
    }
}

/// An artifact on the disk that is up to date and whose files other builds may take.
#[derive(Debug)]
pub struct KeptArtifact {
    /// Its key in stores.
    pub key: ArtifactKey,
    /// What a store knows of it.
    pub record: ArtifactRecord,
    /// Whether its files came from a store; else they were made here.
    pub is_taken: bool,
}

/// The artifacts of `plan` that are up to date and that other builds may take.
pub fn kept_artifacts(plan: &Plan, engine: &dyn Engine, options: &Options) -> anyhow::Result<Vec<KeptArtifact>> {
    let (mut results, mut kept) = (BTreeMap::<&NodeId, String>::new(), Vec::new());
    for node in &plan.nodes {
        let needs = node.needs.iter().filter_map(|need| Some((need.id.to_string(), results.get(&need.id)?.clone())));
        let needs: BTreeMap<String, String> = needs.collect();
        let result = match node.step.package() {
            // A package that was asked for by force is there all the same.
            Some(package) => engine.find_package(package)?,
            None => match state_of(node, needs.clone(), engine, options)? {
                State::Fresh(result) => Some(result),
                State::Stale(_) | State::Kept { .. } => None,
            },
        };
        let Some(result) = result else { continue };
        results.insert(&node.id, result);
        let stamp = if may_be_kept(node) { Stamp::read(&options.layout.stamp(&node.id), &options.tree) } else { None };
        if let (Some(stamp), Some(recipe)) = (stamp, engine.recipe(&node.step)) {
            let record = stamp.record(node, &options.tree);
            let key = Stamp::key(node, &needs, &options.tree, options.layout.path(), &recipe);
            let artifact = KeptArtifact { key, record, is_taken: stamp.is_taken() };
            kept.extend(Some(artifact).filter(|artifact| artifact.record.has_files()));
        }
    }
    Ok(kept)
}

/// Whether a store may have something of what `node` makes.
fn may_be_kept(node: &Node) -> bool {
    node.step.keep() != Keep::Never && !node.step.is_always_due() && !node.outputs.is_empty()
}

/// An artifact that was made and is not yet in the store.
pub(crate) struct Put<'o> {
    entry: Entry<'o>,
    record: ArtifactRecord,
}

impl Put<'_> {
    /// Puts the files at `places` into the store.
    pub(crate) fn finish(&self, places: &[std::path::PathBuf]) -> anyhow::Result<()> {
        self.entry.store.put(&self.entry.key, &self.record, places)
    }
}
