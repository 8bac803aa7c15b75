//! The record of the last runs: when each step began and how long it took, for people who want to know where the time went. Nothing else
//! reads it; a record that is missing or damaged counts as empty.

use common::artifact::write_atomically;
use plan::Layout;
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many runs are kept.
const RUNS: usize = 20;

/// A run that made something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TimedRun {
    /// When it began, as a Unix timestamp.
    pub began: u64,
    /// How many steps could run at once.
    pub jobs: usize,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The steps, in the order in which they ended.
    pub steps: Vec<TimedStep>,
}

/// A step of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimedStep {
    /// The node's id.
    pub node: String,
    /// When it began, in seconds after the run.
    pub start: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How it ended.
    pub end: StepEnd,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepEnd {
    /// Its files were made.
    Made,
    /// Its files were taken from the store.
    Taken,
    /// It failed.
    Failed,
}

/// The last runs of a build, the oldest first.
#[must_use]
pub fn read_times(layout: &Layout) -> Vec<TimedRun> {
    std::fs::read(layout.times()).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Adds a run that begins now to the record when it is over. Errors do not matter.
pub(crate) struct Recorder<'l> {
    layout: &'l Layout,
    began: u64,
    jobs: usize,
}

impl<'l> Recorder<'l> {
    pub(crate) fn start(layout: &'l Layout, jobs: usize) -> Self {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Self { layout, began, jobs }
    }

    pub(crate) fn finish(self, seconds: f64, steps: Vec<TimedStep>) {
        if steps.is_empty() {
            return;
        }
        let mut runs = read_times(self.layout);
        runs.push(TimedRun { began: self.began, jobs: self.jobs, seconds, steps });
        let late = runs.len().saturating_sub(RUNS);
        if let Ok(text) = serde_json::to_vec(&runs[late..]) {
            let _ = write_atomically(&self.layout.times(), &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_runs_are_kept_and_a_damaged_record_is_empty() {
        let folder = tempfile::tempdir().expect("folder");
        let layout = Layout::at(folder.path());
        std::fs::create_dir(folder.path().join("logs")).expect("folder");
        std::fs::write(layout.times(), "[{").expect("file");
        assert!(read_times(&layout).is_empty());
        Recorder::start(&layout, 2).finish(1.0, Vec::new());
        assert!(read_times(&layout).is_empty(), "a run without steps is no run");
        for number in 0..RUNS + 3 {
            let step = TimedStep { node: format!("step {number}"), start: 0.5, seconds: 0.25, end: StepEnd::Made };
            Recorder::start(&layout, 2).finish(1.0, vec![step]);
        }
        let runs = read_times(&layout);
        assert_eq!((runs.len(), runs[0].steps[0].node.as_str()), (RUNS, "step 3"));
        assert!(runs[0].began > 1_700_000_000 && runs[0].jobs == 2);
    }
}
