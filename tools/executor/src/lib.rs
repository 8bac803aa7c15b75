//! Runs a plan: finds the nodes that are not up to date and makes them, in order and in parallel; writes logs and stamps, holds the lock of
//! `dist/` and shows progress. How a step is made is left to an engine (`tools/native`, `tools/linuxkit`). Depends on `plan`, `child` and
//! `common`.

#[macro_use]
extern crate common;

pub mod artifacts;
mod chunks;
mod content;
mod engine;
mod job;
mod keeping;
mod lock;
pub mod progress;
mod room;
mod schedule;
pub mod stamp;
mod take;
#[cfg(test)]
mod tests;
mod times;

pub use chunks::CopiedRange;
pub use content::DigestWriter;
pub use engine::{Engine, Making, making};
pub use job::Job;
pub use keeping::{KeptArtifact, kept_artifacts};
pub use lock::lock_tree;
pub use room::{Basis, Room, RoomNeed, free_room, is_full, must_be_made, needed_room};
pub use take::take_packages;
pub use times::{StepEnd, TimedRun, TimedStep, read_times};

use anyhow::{Context as _, Result};
use artifacts::ArtifactStore;
use common::{artifact::flush, display::seconds};
use keeping::{Entry, Put};
use plan::{Layout, Node, NodeId, Plan};
use stamp::Stamp;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// The result of a run.
#[derive(Debug, Default)]
pub struct RunSummary {
    /// The nodes that were made and the time each took, in the order in which they ended.
    pub made: Vec<(NodeId, Duration)>,
    /// The nodes whose files were taken from the store, likewise.
    pub taken: Vec<(NodeId, Duration)>,
    /// The warnings of the nodes.
    pub warnings: Vec<String>,
}

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The root of the tree: stamps have paths below it.
    pub tree: PathBuf,
    /// The build's folder, with its stamps and logs.
    pub layout: Layout,
    /// How many nodes run at once.
    pub jobs: usize,
    /// Whether the tools' output is shown.
    pub verbose: bool,
    /// Whether the content of artifacts is compared with their stamps, not only size and time.
    pub read_artifacts: bool,
    /// Where artifacts are kept for other builds.
    pub store: Option<Arc<dyn ArtifactStore>>,
}

/// Whether a node is up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is up to date, with this result.
    Fresh(String),
    /// It is not, for this reason, and its files will be taken from the store.
    Kept {
        /// Why it is due.
        reason: String,
        /// Bytes of its files.
        bytes: u64,
    },
    /// It must be made, for this reason.
    Stale(String),
}

impl State {
    /// Why something must be done; none if it is up to date.
    #[must_use]
    pub fn due(&self) -> Option<String> {
        match self {
            Self::Fresh(_) => None,
            Self::Kept { reason, .. } => Some(format!("{reason}; in the store")),
            Self::Stale(reason) => Some(reason.clone()),
        }
    }
}

/// The states of a plan's nodes.
pub type States = HashMap<NodeId, State>;

/// The state of every node. Makes nothing: a node counts as stale if one of its needs must be made, unless the store knows what will come
/// out.
pub fn survey(plan: &Plan, engine: &dyn Engine, options: &Options) -> Result<States> {
    let mut states = States::with_capacity(plan.nodes.len());
    // The results of nodes, also of those that are yet to be made.
    let mut results: HashMap<&NodeId, String> = HashMap::new();
    for node in &plan.nodes {
        let unknown = node.needs.iter().find(|need| !results.contains_key(&need.id));
        let state = match unknown.filter(|_| !is_package(node)) {
            Some(need) => State::Stale(format!("{} will be made", need.id)),
            None => {
                let needs = node.needs.iter().filter_map(|need| Some((need.id.to_string(), results.get(&need.id)?.clone())));
                let needs: BTreeMap<_, _> = needs.collect();
                let state = state_of(node, needs.clone(), engine, options)?;
                look_in_store(node, &needs, state, engine, options, &mut results)
            }
        };
        states.insert(node.id.clone(), state);
    }
    let wanted = wanted(plan, &states);
    // A missing node that nothing waits for, such as the base of a package that exists, need not be made.
    for (id, state) in &mut states {
        if !wanted.contains(id) && !matches!(state, State::Fresh(_)) {
            *state = State::Fresh(String::new());
        }
    }
    Ok(states)
}

/// The `state` of a node, with what the store has of it; notes the node's result if it is known.
fn look_in_store<'p>(
    node: &'p Node,
    needs: &BTreeMap<String, String>,
    state: State,
    engine: &dyn Engine,
    options: &Options,
    results: &mut HashMap<&'p NodeId, String>,
) -> State {
    let (result, state) = match state {
        State::Fresh(result) => (Some(result.clone()), State::Fresh(result)),
        State::Stale(reason) | State::Kept { reason, .. } => {
            let known = Entry::of(node, needs, engine, options).and_then(|entry| entry.result(node, options));
            match known {
                Some((result, Some(bytes))) => (Some(result), State::Kept { reason, bytes }),
                Some((result, None)) => (Some(result), State::Stale(reason)),
                None => (None, State::Stale(reason)),
            }
        }
    };
    results.extend(result.map(|result| (&node.id, result)));
    state
}

/// A package's tag depends on its content: if the image exists, its inputs need not be compared.
fn is_package(node: &Node) -> bool {
    matches!(node.id, NodeId::Package(..))
}

fn state_of(node: &Node, needs: BTreeMap<String, String>, engine: &dyn Engine, options: &Options) -> Result<State> {
    if node.step.is_always_due() {
        return Ok(State::Stale("it was asked for".into()));
    }
    if let Some(package) = node.step.package() {
        let missing = || State::Stale(format!("{} is not in the image cache", package.image));
        let found = engine.find_package(package)?;
        // Without a stamp, nobody knows from which state of the files the image was made.
        if found.is_some() && package.changes.is_some() {
            let stamp = Stamp::read(&options.layout.stamp(&node.id), &options.tree);
            let same = stamp.is_some_and(|mut stamp| stamp.stale(node, &BTreeMap::new(), &options.tree, false).is_none());
            if !same {
                return Ok(State::Stale("the image's tag does not show all changes in its files".into()));
            }
        }
        return Ok(found.map_or_else(missing, State::Fresh));
    }
    let path = options.layout.stamp(&node.id);
    let Some(mut stamp) = Stamp::read(&path, &options.tree) else { return Ok(State::Stale("it has not been made yet".into())) };
    if let Some(reason) = stamp.stale(node, &needs, &options.tree, options.read_artifacts) {
        return Ok(State::Stale(reason));
    }
    stamp.note_times(&path);
    Ok(State::Fresh(stamp.result()))
}

/// The goals and everything that they need, except the needs of packages that exist.
fn wanted<'p>(plan: &'p Plan, states: &States) -> HashSet<&'p NodeId> {
    let mut wanted = HashSet::with_capacity(plan.nodes.len());
    let mut pending: Vec<&NodeId> = plan.goals.iter().collect();
    let nodes = plan.by_id();
    while let Some(id) = pending.pop() {
        let Some(node) = nodes.get(id) else { continue };
        if !wanted.insert(&node.id) || is_package(node) && matches!(states.get(id), Some(State::Fresh(_))) {
            continue;
        }
        pending.extend(node.needs.iter().map(|need| &need.id));
    }
    wanted
}

/// Makes the nodes that are not up to date. The caller must hold the tree's lock.
pub fn run(plan: &Plan, engine: &dyn Engine, options: &Options) -> Result<RunSummary> {
    let states = survey(plan, engine, options)?;
    if states.values().all(|state| matches!(state, State::Fresh(_))) {
        return Ok(RunSummary::default());
    }
    schedule::run(plan, &wanted(plan, &states), engine, options)
}

/// Makes all `nodes` in order, without stamps: for helpers that work on files from the command line. The caller must hold the tree's lock.
pub fn run_always(nodes: &[Node], engine: &dyn Engine, options: &Options) -> Result<RunSummary> {
    let progress = Arc::new(progress::ProgressLine::new(nodes.len()));
    let mut outcome = RunSummary::default();
    std::thread::scope(|scope| {
        scope.spawn(|| progress.animate());
        let result = nodes.iter().try_for_each(|node| {
            let since = Instant::now();
            let job = Job::start(node, &options.layout.log(&node.id.file_stem()), options.verbose, &progress)?;
            progress.start(&node.id.to_string(), "it was asked for");
            let made = engine::make(engine, node, &job).and_then(|()| flush_all(&node.outputs));
            made.with_context(|| format!("{} failed after {}", node.id, seconds(since.elapsed())))?;
            outcome.warnings.extend(job.finish());
            outcome.made.push((node.id.clone(), since.elapsed()));
            progress.finish(&node.id.to_string(), None);
            Ok(())
        });
        progress.close();
        result.map(|()| outcome)
    })
}

/// A node that is up to date.
struct Done<'o> {
    result: String,
    /// How it got its files, and its warnings, if it was not up to date before.
    news: Option<(Source, Vec<String>)>,
    /// What is left to do. Nodes that need this one do not wait for it.
    rest: Option<Rest<'o>>,
}

/// Where the files of a node came from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Step,
    Store,
}

/// What follows when the files are on the disk: first the stamp, so that after a power loss none stands for half a file, then the entry in the
/// store.
struct Rest<'o> {
    outputs: Vec<PathBuf>,
    flush: JoinHandle<Result<()>>,
    stamp: Stamp,
    path: PathBuf,
    put: Option<Put<'o>>,
}

impl Rest<'_> {
    /// The inner result is whether the store got something. Its error is no failure of the build.
    fn finish(self) -> Result<Result<bool>> {
        self.flush
            .join()
            .unwrap_or_else(|_| Err(anyhow::anyhow!("the thread that writes to the disk panicked: this is a bug in xtask")))?;
        self.stamp.write(&self.path)?;
        Ok(self.put.map_or(Ok(false), |put| put.finish(&self.outputs).map(|()| true)))
    }
}

/// Begins to write the files of a node to the disk, in a thread of its own: meanwhile their digests are made.
fn start_flush(node: &Node) -> JoinHandle<Result<()>> {
    let outputs = node.outputs.clone();
    std::thread::spawn(move || flush_all(&outputs))
}

/// Waits until the files are on the disk.
fn flush_all(paths: &[PathBuf]) -> Result<()> {
    paths.iter().try_for_each(|path| flush(path).with_context(|| format!("cannot write `{}` to the disk", path.display())))
}

/// Takes one node from the store or makes it, if it is not up to date, given the results of its needs.
fn bring_up_to_date<'o>(
    node: &Node,
    needs: BTreeMap<String, String>,
    engine: &dyn Engine,
    options: &'o Options,
    progress: &Arc<progress::ProgressLine>,
) -> Result<Done<'o>> {
    let reason = match state_of(node, needs.clone(), engine, options)? {
        State::Fresh(result) => return Ok(Done { result, news: None, rest: None }),
        State::Stale(reason) | State::Kept { reason, .. } => reason,
    };
    let job = Job::start(node, &options.layout.log(&node.id.file_stem()), options.verbose, progress)?;
    progress.start(&node.id.to_string(), &reason);
    let path = options.layout.stamp(&node.id);
    let before = Stamp::read(&path, &options.tree);
    // Without this, a node that fails half-way would look complete because of its old stamp.
    let _ = std::fs::remove_file(&path);
    let entry = Entry::of(node, &needs, engine, options);
    let taken = entry.as_ref().map(|entry| entry.take(node, &needs, options, &job)).transpose()?.flatten();
    let (source, flush, stamp, put) = match taken {
        Some(stamp) => (Source::Store, start_flush(node), stamp, None),
        None => {
            engine::make(engine, node, &job).inspect_err(|_| {
                // Files get their names when they are whole, so those of before are still there; if not, the stamp tells.
                if let Some(before) = before.as_ref().filter(|_| !node.step.changes_in_place()) {
                    let _ = before.write(&path);
                }
            })?;
            if let Some(package) = node.step.package() {
                // If the image is in a store that the engine cannot inspect, use its name instead of its digest.
                let result = engine.find_package(package)?.unwrap_or_else(|| package.image.to_string());
                if package.changes.is_some() {
                    Stamp::of(node, BTreeMap::new(), &options.tree)?.write(&path)?;
                }
                return Ok(Done { result, news: Some((Source::Step, job.finish())), rest: None });
            }
            let flush = start_flush(node);
            let stamp = Stamp::of_made(node, needs, &options.tree, &job.written())?;
            let put = entry.map(|entry| entry.put_later(node, &stamp, options));
            (Source::Step, flush, stamp, put)
        }
    };
    if node.step.owns_its_outputs() {
        before.iter().flat_map(|before| before.gone(&stamp, &options.tree)).for_each(|path| drop(std::fs::remove_file(path)));
    }
    let result = stamp.result();
    let rest = Rest { outputs: node.outputs.clone(), flush, stamp, path, put };
    Ok(Done { result, news: Some((source, job.finish())), rest: Some(rest) })
}
