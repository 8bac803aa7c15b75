//! Takes the images of packages from elsewhere before anything is built, from the top of the plan down: the base of a package that could be
//! taken is not needed.

use crate::{Engine, Options, State, progress::ProgressLine, survey};
use anyhow::Result;
use plan::{Node, NodeId, Plan, steps::BuildPackage};
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    thread,
};

/// Takes what `engine` can take of the packages that are due, and returns them. The engine says itself what it could not take.
pub fn take_packages(plan: &Plan, engine: &dyn Engine, options: &Options) -> Result<Vec<NodeId>> {
    let (mut tried, mut taken) = (BTreeSet::<NodeId>::new(), Vec::new());
    loop {
        let states = survey(plan, engine, options)?;
        let is_due = |id: &NodeId| matches!(states.get(id), Some(State::Stale(_)));
        let open: Vec<(&Node, &BuildPackage)> = plan
            .nodes
            .iter()
            .filter(|node| is_due(&node.id) && !tried.contains(&node.id) && !node.step.is_always_due())
            .filter_map(|node| Some((node, node.step.package()?)))
            .collect();
        let below: BTreeSet<&NodeId> = open.iter().flat_map(|(node, _)| node.needs.iter().map(|need| &need.id)).collect();
        let top: Vec<_> = open.iter().map(|(node, package)| (&node.id, *package)).filter(|(id, _)| !below.contains(id)).collect();
        if top.is_empty() {
            return Ok(taken);
        }
        taken.extend(take_all(&top, engine, options.jobs)?);
        tried.extend(top.into_iter().map(|(id, _)| id.clone()));
    }
}

/// Takes several packages at once.
fn take_all(packages: &[(&NodeId, &BuildPackage)], engine: &dyn Engine, jobs: usize) -> Result<Vec<NodeId>> {
    let display = ProgressLine::new(packages.len());
    let (next, taken) = (Mutex::new(packages.iter()), Mutex::new(Vec::new()));
    let work = || -> Result<()> {
        loop {
            let package = next.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((id, package)) = package else { return Ok(()) };
            let name = id.to_string();
            display.begin(&name);
            let is_taken = engine.take_package(package, &|done, total| display.measure(&name, done, total));
            display.finish(&name, None);
            if is_taken? {
                taken.lock().unwrap_or_else(PoisonError::into_inner).push((*id).clone());
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| display.animate());
        let threads: Vec<_> = (0..jobs.clamp(1, packages.len())).map(|_| scope.spawn(work)).collect();
        let ended: Vec<_> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
        display.close();
        ended.into_iter().try_for_each(|ended| ended.unwrap_or_else(|_| Err(anyhow::anyhow!("a thread has panicked"))))
    })?;
    Ok(taken.into_inner().unwrap_or_else(PoisonError::into_inner))
}
