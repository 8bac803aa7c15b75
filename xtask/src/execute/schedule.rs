//! Order and parallelism: a node starts when all that it needs is done; the first failure stops new starts.

use super::{
    Options, Outcome, bring_up_to_date,
    progress::{Progress, seconds, size},
};
use crate::{
    engine::Engine,
    plan::{Node, NodeId, Plan},
};
use anyhow::{Context as _, Result};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Condvar, Mutex, PoisonError},
    time::Instant,
};

#[derive(Default)]
struct Books {
    started: BTreeSet<NodeId>,
    results: BTreeMap<NodeId, String>,
    running: usize,
    outcome: Outcome,
    failure: Option<anyhow::Error>,
}

struct Shared<'p> {
    nodes: Vec<&'p Node>,
    books: Mutex<Books>,
    changed: Condvar,
    progress: Progress,
}

pub(super) fn run(plan: &Plan, wanted: &BTreeSet<NodeId>, engine: &dyn Engine, options: &Options) -> Result<Outcome> {
    let nodes: Vec<&Node> = plan.nodes.iter().filter(|node| wanted.contains(&node.id)).collect();
    let progress = Progress::new(nodes.len());
    let shared = Shared { nodes, books: Mutex::default(), changed: Condvar::new(), progress };
    std::thread::scope(|scope| {
        scope.spawn(|| shared.progress.animate());
        let workers: Vec<_> = (0..options.jobs.max(1)).map(|_| scope.spawn(|| work(&shared, wanted, engine, options))).collect();
        for worker in workers {
            // A worker that panicked left its node unfinished; the others stop because of it.
            if worker.join().is_err() {
                shared.lock().failure.get_or_insert_with(|| anyhow::anyhow!("a worker broke: this is a defect of xtask"));
                shared.changed.notify_all();
            }
        }
        shared.progress.close();
    });
    let books = shared.books.into_inner().unwrap_or_else(PoisonError::into_inner);
    match books.failure {
        Some(failure) => Err(failure),
        None => Ok(books.outcome),
    }
}

impl Shared<'_> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a node that can start; none when all are done or one has failed.
    fn next(&self, wanted: &BTreeSet<NodeId>) -> Option<(&Node, BTreeMap<String, String>)> {
        let mut books = self.lock();
        loop {
            if books.failure.is_some() || books.results.len() == self.nodes.len() {
                return None;
            }
            let ready = self.nodes.iter().find(|node| {
                !books.started.contains(&node.id)
                    && node.needs.iter().all(|need| !wanted.contains(&need.id) || books.results.contains_key(&need.id))
            });
            if let Some(node) = ready {
                books.started.insert(node.id.clone());
                books.running += 1;
                let results = node.needs.iter().filter_map(|need| Some((need.id.to_string(), books.results.get(&need.id)?.clone())));
                return Some((node, results.collect()));
            }
            books = self.changed.wait(books).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn work(shared: &Shared<'_>, wanted: &BTreeSet<NodeId>, engine: &dyn Engine, options: &Options) {
    while let Some((node, needs)) = shared.next(wanted) {
        let since = Instant::now();
        let result = bring_up_to_date(node, needs, engine, options, &shared.progress);
        let mut books = shared.lock();
        books.running -= 1;
        match result {
            Ok((result, made)) => {
                books.results.insert(node.id.clone(), result);
                let note = made.is_some().then(|| note(node));
                if let Some(warnings) = made {
                    books.outcome.made.push((node.id.clone(), since.elapsed()));
                    books.outcome.warnings.extend(warnings);
                }
                shared.progress.finish(&node.id.to_string(), note.as_deref());
            }
            Err(error) => {
                let failed = format!("{} failed after {}", node.id, seconds(since.elapsed()));
                let error = Err::<(), _>(error).context(failed);
                if let Err(error) = error {
                    books.failure.get_or_insert(error);
                }
            }
        }
        shared.changed.notify_all();
    }
}

/// What a node made, in a few words.
fn note(node: &Node) -> String {
    let bytes: Option<u64> = node.outputs.iter().map(|path| path.symlink_metadata().ok().filter(|m| m.is_file()).map(|m| m.len())).sum();
    match bytes {
        Some(bytes) if !node.outputs.is_empty() => format!("made, {}", size(bytes)),
        _ => "made".to_owned(),
    }
}
