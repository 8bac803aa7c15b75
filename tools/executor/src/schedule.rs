//! Starts nodes in parallel, each after all nodes that it needs; after the first failure it starts no more.

use super::{Done, Options, Rest, RunSummary, Source, bring_up_to_date, progress::ProgressLine};
use crate::{
    Engine,
    times::{Recorder, StepEnd, TimedStep},
};
use anyhow::Result;
use common::display::{seconds, size};
use plan::{Node, NodeId, Plan};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Instant,
};

#[derive(Default)]
struct Books {
    started: BTreeSet<NodeId>,
    results: BTreeMap<NodeId, String>,
    outcome: RunSummary,
    times: Vec<TimedStep>,
    failure: Option<anyhow::Error>,
    /// Whether something was added to the store.
    kept: bool,
    /// Whether the store could not be written: that is said once.
    store_fails: bool,
}

struct Shared<'p> {
    nodes: Vec<&'p Node>,
    books: Mutex<Books>,
    changed: Condvar,
    progress: Arc<ProgressLine>,
    since: Instant,
}

pub(super) fn run(plan: &Plan, wanted: &HashSet<&NodeId>, engine: &dyn Engine, options: &Options) -> Result<RunSummary> {
    let nodes: Vec<&Node> = plan.nodes.iter().filter(|node| wanted.contains(&node.id)).collect();
    let progress = Arc::new(ProgressLine::new(nodes.len()));
    let shared = Shared { nodes, books: Mutex::default(), changed: Condvar::new(), progress, since: Instant::now() };
    let recorder = Recorder::start(&options.layout, options.jobs);
    std::thread::scope(|scope| {
        scope.spawn(|| shared.progress.animate());
        let workers: Vec<_> = (0..options.jobs.max(1)).map(|_| scope.spawn(|| work(&shared, scope, wanted, engine, options))).collect();
        for worker in workers {
            drop(worker.join());
        }
        shared.progress.close();
    });
    let seconds = shared.since.elapsed().as_secs_f64();
    let mut books = shared.books.into_inner().unwrap_or_else(PoisonError::into_inner);
    recorder.finish(seconds, std::mem::take(&mut books.times));
    if let Some(store) = options.store.as_deref().filter(|_| books.kept) {
        store.tidy();
    }
    books.failure.map_or(Ok(books.outcome), Err)
}

impl Shared<'_> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what is left of a node. Ends the run if it fails; a store that fails is a warning.
    fn finish(&self, mut rest: Rest<'_>) {
        if self.lock().store_fails {
            rest.put = None;
        }
        match rest.finish() {
            Ok(Ok(kept)) => self.lock().kept |= kept,
            Ok(Err(error)) => {
                let mut books = self.lock();
                if !std::mem::replace(&mut books.store_fails, true) {
                    let line = format!("{error:#}; the build goes on without it");
                    self.progress.line(&format!("warning: {line}"));
                    books.outcome.warnings.push(line);
                }
            }
            Err(error) => {
                self.lock().failure.get_or_insert(error);
                self.changed.notify_all();
            }
        }
    }

    /// Waits for a node that can start; none if all are done or one has failed.
    fn next(&self, wanted: &HashSet<&NodeId>) -> Option<(&Node, BTreeMap<String, String>)> {
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
                let results = node.needs.iter().filter_map(|need| Some((need.id.to_string(), books.results.get(&need.id)?.clone())));
                return Some((node, results.collect()));
            }
            books = self.changed.wait(books).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn work<'s, 'o: 's>(
    shared: &'s Shared<'_>,
    scope: &'s std::thread::Scope<'s, '_>,
    wanted: &HashSet<&NodeId>,
    engine: &dyn Engine,
    options: &'o Options,
) {
    while let Some((node, needs)) = shared.next(wanted) {
        let since = Instant::now();
        // After a panic the other threads must not wait for this node.
        let made = catch_unwind(AssertUnwindSafe(|| bring_up_to_date(node, needs, engine, options, &shared.progress)));
        let result = made.unwrap_or_else(|_| Err(anyhow::anyhow!("the step panicked: this is a bug in xtask")));
        let mut books = shared.lock();
        let end = match &result {
            Ok(Done { news: None, .. }) => None,
            Ok(Done { news: Some((Source::Store, _)), .. }) => Some(StepEnd::Taken),
            Ok(_) => Some(StepEnd::Made),
            Err(_) => Some(StepEnd::Failed),
        };
        if let Some(end) = end {
            let (start, seconds) = ((since - shared.since).as_secs_f64(), since.elapsed().as_secs_f64());
            books.times.push(TimedStep { node: node.id.to_string(), start, seconds, end });
        }
        match result {
            Ok(Done { result, news, rest }) => {
                books.results.insert(node.id.clone(), result);
                let note = news.as_ref().map(|(source, _)| note(node, *source));
                if let Some(rest) = rest {
                    scope.spawn(move || shared.finish(rest));
                }
                if let Some((source, warnings)) = news {
                    let done = if source == Source::Store { &mut books.outcome.taken } else { &mut books.outcome.made };
                    done.push((node.id.clone(), since.elapsed()));
                    books.outcome.warnings.extend(warnings);
                }
                shared.progress.finish(&node.id.to_string(), note.as_deref());
            }
            Err(error) => {
                let failed = format!("{} failed after {}", node.id, seconds(since.elapsed()));
                books.failure.get_or_insert(error.context(failed));
            }
        }
        shared.changed.notify_all();
    }
}

/// A note about a node's result.
fn note(node: &Node, source: Source) -> String {
    let how = if source == Source::Store { "taken from the store" } else { "made" };
    let bytes: Option<u64> = node.outputs.iter().map(|path| path.symlink_metadata().ok().filter(|m| m.is_file()).map(|m| m.len())).sum();
    match bytes {
        Some(bytes) if !node.outputs.is_empty() => format!("{how}, {}", size(bytes)),
        _ => how.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Making;
    use anyhow::Context as _;
    use plan::{Layout, Need, steps};
    use std::{any::Any, path::PathBuf, time::Duration};

    /// Writes small files slowly; panics at the text `broken`.
    struct Slow;

    macro_rules! slow_engine {
        ($($method:ident $step:ident,)*) => {
            impl Engine for Slow {
                fn find_package(&self, _: &steps::BuildPackage) -> Result<Option<String>> {
                    Ok(None)
                }

                $(fn $method<'e>(&'e self, step: &'e steps::$step) -> Result<Making<'e>> {
                    write_slowly(step)
                })*
            }
        };
    }
    plan::for_each_step!(slow_engine);

    fn write_slowly(step: &dyn Any) -> Result<Making<'_>> {
        let steps::WriteText { path, text } = step.downcast_ref().context("only texts")?;
        Ok(Making::by(move |_| {
            std::thread::sleep(Duration::from_millis(20));
            assert!(text != "broken", "a defect");
            Ok(std::fs::write(path, text)?)
        }))
    }

    fn text(folder: &std::path::Path, name: &'static str, text: &str, needs: &[&'static str]) -> Node {
        let path: PathBuf = folder.join(name);
        let needs = needs.iter().map(|need| Need { id: NodeId::Asked(need), reason: "it is first" }).collect();
        Node {
            id: NodeId::Asked(name),
            inputs: vec![],
            needs,
            outputs: vec![path.clone()],
            step: steps::WriteText { path, text: text.into() }.into(),
        }
    }

    fn outcome(words: &str) -> (Result<Vec<String>>, Vec<crate::TimedStep>) {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path();
        let nodes = vec![text(path, "a", words, &[]), text(path, "b", "b", &["a"]), text(path, "c", "c", &["a", "b"])];
        let plan = Plan { nodes, goals: vec![] };
        let wanted = plan.nodes.iter().map(|node| &node.id).collect();
        let options = Options {
            tree: path.into(),
            layout: Layout::at(path.join("books")),
            jobs: 4,
            verbose: false,
            read_artifacts: false,
            store: None,
        };
        let made = run(&plan, &wanted, &Slow, &options).map(|outcome| outcome.made.iter().map(|(id, _)| id.to_string()).collect());
        (made, crate::read_times(&options.layout).pop().expect("a run").steps)
    }

    #[test]
    fn nodes_wait_for_each_other_and_a_broken_one_ends_it_all() {
        let (made, times) = outcome("fine");
        assert_eq!(made.expect("made"), ["a", "b", "c"]);
        assert!(times.len() == 3 && times[1].start >= times[0].start + times[0].seconds && times[0].seconds >= 0.02, "{times:?}");
        let (made, times) = outcome("broken");
        assert!(times.len() == 1 && times[0].end == StepEnd::Failed, "{times:?}");
        let error = format!("{:#}", made.expect_err("broken"));
        assert!(error.starts_with("a failed after") && error.ends_with("the step panicked: this is a bug in xtask"), "{error}");
    }
}
