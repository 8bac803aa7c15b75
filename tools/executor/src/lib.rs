//! Runs a plan: finds what is up to date, runs the rest in order and in parallel, keeps logs and stamps.

#[macro_use]
extern crate common;

mod engine;
mod job;
mod lock;
pub mod progress;
mod schedule;
pub mod stamp;

pub use engine::{Engine, Making, making};
pub use job::Job;
pub use lock::lock_tree;

use anyhow::{Context as _, Result};
use common::display::seconds;
use plan::{Layout, Node, NodeId, Plan};
use stamp::Stamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// What a run did.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Nodes that were made, with the time each took, in the order of their ends.
    pub made: Vec<(NodeId, Duration)>,
    /// What the nodes warned of.
    pub warnings: Vec<String>,
}

/// Which build a run makes, and how it runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The build, whose stamps and logs are kept.
    pub layout: Layout,
    /// How many nodes at once.
    pub jobs: usize,
    /// Whether the tools' output is shown.
    pub verbose: bool,
}

/// Whether a node is up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is, with this result.
    Fresh(String),
    /// It must be made, for this reason.
    Stale(String),
}

impl State {
    /// Why it must be made; none when it is up to date.
    #[must_use]
    pub fn due(&self) -> Option<&str> {
        match self {
            Self::Fresh(_) => None,
            Self::Stale(reason) => Some(reason),
        }
    }
}

/// The state of every node, without making anything: a node whose needs must be made counts as stale.
pub fn survey(plan: &Plan, engine: &dyn Engine, options: &Options) -> Result<BTreeMap<NodeId, State>> {
    let mut states: BTreeMap<NodeId, State> = BTreeMap::new();
    for node in &plan.nodes {
        let stale_need = node.needs.iter().find(|need| matches!(states.get(&need.id), Some(State::Stale(_))));
        let state = match (is_package(node), stale_need) {
            (false, Some(need)) => State::Stale(format!("{} will be made", need.id)),
            _ => {
                let results = node.needs.iter().filter_map(|need| match states.get(&need.id) {
                    Some(State::Fresh(result)) => Some((need.id.to_string(), result.clone())),
                    _ => None,
                });
                state_of(node, results.collect(), engine, options)?
            }
        };
        states.insert(node.id.clone(), state);
    }
    let wanted = wanted(plan, &states);
    // What nobody waits for (the base of a package that exists) need not be made, though it is not there.
    for (id, state) in &mut states {
        if !wanted.contains(id) && matches!(state, State::Stale(_)) {
            *state = State::Fresh(String::new());
        }
    }
    Ok(states)
}

/// A package is content under its own name: when its image exists, what it was made from does not matter.
fn is_package(node: &Node) -> bool {
    matches!(node.id, NodeId::Package(..))
}

fn state_of(node: &Node, needs: BTreeMap<String, String>, engine: &dyn Engine, options: &Options) -> Result<State> {
    if node.step.is_always_due() {
        return Ok(State::Stale("it was asked for".into()));
    }
    if let Some(package) = node.step.package() {
        let missing = || State::Stale(format!("{} is not in the image cache", package.image));
        return Ok(engine.find_package(package)?.map_or_else(missing, State::Fresh));
    }
    let Some(stamp) = Stamp::read(&options.layout.stamp(&node.id)) else { return Ok(State::Stale("it has not been made yet".into())) };
    Ok(stamp.stale(node, &needs).map_or_else(|| State::Fresh(stamp.result()), State::Stale))
}

/// The nodes that the goals wait for: all that they need, but not what a finished package was made from.
fn wanted(plan: &Plan, states: &BTreeMap<NodeId, State>) -> BTreeSet<NodeId> {
    let mut wanted = BTreeSet::new();
    let mut pending: Vec<&NodeId> = plan.goals.iter().collect();
    while let Some(id) = pending.pop() {
        let Some(node) = plan.node(id) else { continue };
        if !wanted.insert(id.clone()) || is_package(node) && matches!(states.get(id), Some(State::Fresh(_))) {
            continue;
        }
        pending.extend(node.needs.iter().map(|need| &need.id));
    }
    wanted
}

/// Makes what is not up to date. The caller holds the tree's lock.
pub fn run(plan: &Plan, engine: &dyn Engine, options: &Options) -> Result<Outcome> {
    let states = survey(plan, engine, options)?;
    if states.values().all(|state| matches!(state, State::Fresh(_))) {
        return Ok(Outcome::default());
    }
    schedule::run(plan, &wanted(plan, &states), engine, options)
}

/// Makes `nodes` in their order whatever there is, and keeps no stamps: for what a person asks for by the names of its files.
/// The caller holds the tree's lock.
pub fn run_always(nodes: &[Node], engine: &dyn Engine, options: &Options) -> Result<Outcome> {
    let progress = Arc::new(progress::Progress::new(nodes.len()));
    let mut outcome = Outcome::default();
    std::thread::scope(|scope| {
        scope.spawn(|| progress.animate());
        let result = nodes.iter().try_for_each(|node| {
            let since = Instant::now();
            let job = Job::start(node, &options.layout.log(&node.id.file_stem()), options.verbose, &progress)?;
            progress.start(&node.id.to_string(), "it was asked for");
            engine::make(engine, node, &job).with_context(|| format!("{} failed after {}", node.id, seconds(since.elapsed())))?;
            outcome.warnings.extend(job.finish());
            outcome.made.push((node.id.clone(), since.elapsed()));
            progress.finish(&node.id.to_string(), None);
            Ok(())
        });
        progress.close();
        result.map(|()| outcome)
    })
}

/// Makes one node if it must be, given the results of what it needs; gives its result and whether it was made.
fn bring_up_to_date(
    node: &Node,
    needs: BTreeMap<String, String>,
    engine: &dyn Engine,
    options: &Options,
    progress: &Arc<progress::Progress>,
) -> Result<(String, Option<Vec<String>>)> {
    let reason = match state_of(node, needs.clone(), engine, options)? {
        State::Fresh(result) => return Ok((result, None)),
        State::Stale(reason) => reason,
    };
    let job = Job::start(node, &options.layout.log(&node.id.file_stem()), options.verbose, progress)?;
    progress.start(&node.id.to_string(), &reason);
    let stamp = options.layout.stamp(&node.id);
    let before = Stamp::read(&stamp);
    // A node that fails half-way must not look finished because of an older stamp.
    let _ = std::fs::remove_file(&stamp);
    engine::make(engine, node, &job)?;
    if let Some(package) = node.step.package() {
        // Another program may keep the image where we do not look; then the image's name stands for it.
        let digest = engine.find_package(package)?.unwrap_or_else(|| package.image.to_string());
        return Ok((digest, Some(job.finish())));
    }
    let record = Stamp::of(node, needs)?;
    record.write(&stamp)?;
    if node.step.owns_its_outputs() {
        before.iter().flat_map(|before| before.gone(&record)).for_each(|path| drop(std::fs::remove_file(path)));
    }
    Ok((record.result(), Some(job.finish())))
}
