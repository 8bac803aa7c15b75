//! A plan as text, as JSON, and as a graph.

use super::{Node, Plan};
use serde_json::json;
use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
    path::Path,
};

impl Node {
    /// One line that describes the node's step, with paths relative to `root`.
    #[must_use]
    pub fn describe(&self, root: &Path) -> String {
        let short = |path: &Path| common::display::short(path, root).to_string();
        let step = self.step.describe(&short);
        match self.step.tool() {
            Some(tool) => format!("{step}, by {}", tool.reference),
            None => step,
        }
    }
}

impl Plan {
    /// The plan as text, one paragraph per node: its step, its needs, and the `reason` why it must be made.
    #[must_use]
    pub fn to_text(&self, root: &Path, reason: &dyn Fn(&Node) -> Option<String>) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            let _ = writeln!(text, "{}: {}", node.id, node.describe(root));
            for need in &node.needs {
                let _ = writeln!(text, "    after {} ({})", need.id, need.reason);
            }
            match reason(node) {
                Some(reason) => _ = writeln!(text, "    to do: {reason}"),
                None => text.push_str("    up to date\n"),
            }
        }
        text
    }

    /// The plan as JSON: the list of nodes in order; `due` is the reason or null, paths are absolute.
    #[must_use]
    pub fn to_json(&self, root: &Path, reason: &dyn Fn(&Node) -> Option<String>) -> serde_json::Value {
        let goals: HashSet<_> = self.goals.iter().collect();
        let node = |node: &Node| {
            let after: Vec<_> = node.needs.iter().map(|need| json!({ "id": need.id.to_string(), "because": need.reason })).collect();
            let inputs: BTreeMap<_, _> = node.inputs.iter().map(|input| (&input.name, &input.value)).collect();
            json!({
                "id": node.id.to_string(),
                "does": node.describe(root),
                "due": reason(node),
                "after": after,
                "inputs": inputs,
                "outputs": node.outputs,
                "goal": goals.contains(&node.id),
            })
        };
        self.nodes.iter().map(node).collect()
    }

    /// The plan as a graph in Graphviz's language.
    #[must_use]
    pub fn to_dot(&self) -> String {
        let mut text = String::from("digraph plan {\n  rankdir=LR;\n  node [shape=box];\n");
        for node in &self.nodes {
            let _ = writeln!(text, "  \"{}\";", node.id);
            for need in &node.needs {
                let _ = writeln!(text, "  \"{}\" -> \"{}\" [label=\"{}\"];", need.id, node.id, need.reason);
            }
        }
        text.push_str("}\n");
        text
    }
}
