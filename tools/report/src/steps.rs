//! The plan as rows of the page.

use plan::{Node, NodeId, Plan};
use serde::Serialize;
use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

/// A step of the plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepRow {
    /// The node's id.
    pub id: String,
    /// What it does.
    pub does: String,
    /// Why it is due; none if it is up to date.
    pub due: Option<String>,
    /// Whether it was asked for.
    pub goal: bool,
    /// The steps before it, as indexes, each with the reason.
    pub needs: Vec<(usize, String)>,
    /// Its files, below the tree.
    pub outputs: Vec<String>,
}

/// The steps of `plan`, a plan for the tree at `root`; `due` says why a node must be made.
#[must_use]
pub fn steps_of(plan: &Plan, root: &Path, due: &dyn Fn(&Node) -> Option<String>) -> Vec<StepRow> {
    let places: HashMap<&NodeId, usize> = plan.nodes.iter().enumerate().map(|(at, node)| (&node.id, at)).collect();
    let goals: HashSet<&NodeId> = plan.goals.iter().collect();
    let short = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
    let row = |node: &Node| StepRow {
        id: node.id.to_string(),
        does: node.describe(root),
        due: due(node),
        goal: goals.contains(&node.id),
        needs: node.needs.iter().filter_map(|need| Some((*places.get(&need.id)?, need.reason.to_owned()))).collect(),
        outputs: node.outputs.iter().map(|path| short(path)).collect(),
    };
    plan.nodes.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::{Need, steps::WriteText};

    #[test]
    fn needs_are_indexes_of_earlier_rows() {
        let node = |name: &'static str, needs: &[&'static str]| Node {
            id: NodeId::Asked(name),
            inputs: vec![],
            needs: needs.iter().map(|need| Need { id: NodeId::Asked(need), reason: "it is first" }).collect(),
            outputs: vec![format!("/tree/dist/{name}").into()],
            step: WriteText { path: "/tree/dist/x".into(), text: String::new() }.into(),
        };
        let plan = Plan { nodes: vec![node("a", &[]), node("b", &["a"])], goals: vec![NodeId::Asked("b")] };
        let rows = steps_of(&plan, Path::new("/tree"), &|node| (node.id == NodeId::Asked("b")).then(|| "it is new".to_owned()));
        assert_eq!(rows[1].needs, [(0, "it is first".to_owned())]);
        assert_eq!((rows[0].due.as_deref(), rows[1].due.as_deref()), (None, Some("it is new")));
        assert_eq!((rows[0].goal, rows[1].goal, rows[1].outputs[0].as_str()), (false, true, "dist/b"));
    }
}
