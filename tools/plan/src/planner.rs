//! The state and helpers that the planning functions share. Each planning function is in its step's file below `steps/`.

use crate::{Capabilities, Dist, Facts, ImageRef, Input, Layout, Need, Node, NodeId, Plan, Step};
use anyhow::Result;
use knobs::Knobs;
use std::{collections::HashSet, path::PathBuf};

/// Makes a plan from knobs and facts of the tree.
pub struct Planner<'p> {
    pub knobs: &'p Knobs,
    pub facts: &'p dyn Facts,
    pub can: Capabilities,
    pub dist: Dist,
    pub layout: Layout,
    plan: Plan,
    known: HashSet<NodeId>,
}

/// An edge to the node `id`.
pub fn need(id: &NodeId, reason: &'static str) -> Need {
    Need { id: id.clone(), reason }
}

/// An input of a node.
pub fn input(name: &str, value: impl ToString) -> Input {
    Input { name: name.to_owned(), value: value.to_string() }
}

/// The tool's image as an input: another image may make another artifact.
pub fn tool_input(tool: Option<&ImageRef>) -> Option<Input> {
    tool.map(|image| input("tool", &image.reference))
}

impl<'p> Planner<'p> {
    pub fn new(knobs: &'p Knobs, facts: &'p dyn Facts) -> Self {
        let dist = Dist::of(facts.root());
        let layout = dist.version(knobs.image.arch, facts.version());
        Self { knobs, facts, can: facts.capabilities(), dist, layout, plan: Plan::default(), known: HashSet::new() }
    }

    pub fn finish(self, goals: Vec<NodeId>) -> Plan {
        Plan { goals, ..self.plan }
    }

    /// Whether the plan has the node.
    pub fn has(&self, id: &NodeId) -> bool {
        self.known.contains(id)
    }

    /// Adds a node to the plan unless it exists, and returns its id. Its needs must have been added before.
    pub fn add(
        &mut self,
        id: NodeId,
        inputs: Vec<Input>,
        needs: Vec<Need>,
        outputs: impl IntoIterator<Item = PathBuf>,
        step: impl Into<Step>,
    ) -> NodeId {
        if self.known.insert(id.clone()) {
            debug_assert!(needs.iter().all(|need| self.has(&need.id)), "{id} comes before what it needs");
            self.plan.nodes.push(Node { id: id.clone(), step: step.into(), inputs, needs, outputs: outputs.into_iter().collect() });
        }
        id
    }

    /// The input for the timestamp of files that carry none.
    pub fn time(&self) -> Input {
        input("time", self.facts.epoch())
    }

    /// `0.0.0-main-1234abcd-kvm-amd64`.
    pub fn full_version(&self) -> String {
        format!("{}-{}-{}", self.facts.version(), self.knobs.image.hv, self.knobs.image.arch)
    }

    /// [`Capabilities::platform_suffix`] of PLATFORM.
    pub fn platform_suffix(&self) -> String {
        self.can.platform_suffix(&self.knobs.image.platform)
    }

    /// The tool image whose container does a step, if the engine uses containers. If this tree must build the image, adds that to `needs`.
    pub fn tool(&mut self, package: &str, needs: &mut Vec<Need>) -> Result<Option<ImageRef>> {
        if !self.can.tools_run_in_containers {
            return Ok(None);
        }
        if !self.can.packages_are_published {
            needs.push(need(&self.package(package, self.knobs.host_arch, &mut Vec::new())?, "its image does the work"));
        }
        Ok(Some(ImageRef { reference: self.facts.package(package)?.plain, arch: self.knobs.host_arch }))
    }
}
