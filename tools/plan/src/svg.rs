//! A plan as an SVG picture: layers from left to right, an edge for each need. No other program draws it.

use super::{NodeId, Plan};
use std::{
    collections::HashMap,
    fmt::{self, Write as _},
};

/// Sizes in pixels.
const CHARACTER: f64 = 7.3;
const PADDING: f64 = 10.0;
const HEIGHT: f64 = 24.0;
const GAP: f64 = 10.0;
/// Room for an edge that passes a layer.
const LANE: f64 = 8.0;
const BETWEEN: f64 = 70.0;
const MARGIN: f64 = 20.0;
/// How often the order in the layers, and then the heights, are improved.
const SWEEPS: usize = 12;

/// Colours follow the reader's setting for light and dark.
const STYLE: &str = "svg{font:12px ui-monospace,Menlo,Consolas,monospace;background:#fff}\
    .node rect{fill:#eef3fb;stroke:#4a6da7}.goal rect{fill:#dcefdc;stroke:#2f7d32;stroke-width:2}text{fill:#111}\
    .edge{fill:none;stroke:#8793a5;stroke-width:1.1}.edge:hover{stroke:#c4412b;stroke-width:2.5}\
    @media (prefers-color-scheme:dark){svg{background:#15181d}.node rect{fill:#222c3c;stroke:#7f9fd4}\
    .goal rect{fill:#1f3521;stroke:#6cc070}text{fill:#e8e8e8}.edge{stroke:#66748a}}";

/// A node, or the place where an edge passes a layer.
struct Item {
    /// The index of the node; none for a place of an edge.
    node: Option<usize>,
    layer: usize,
    y: f64,
    /// Items of the layer before and after that an edge leads to.
    before: Vec<usize>,
    after: Vec<usize>,
}

impl Item {
    fn height(&self) -> f64 {
        if self.node.is_some() { HEIGHT + GAP } else { LANE }
    }
}

/// An edge: indexes of nodes, its reason, and the items that it passes from one to the other.
struct Edge<'p> {
    from: usize,
    to: usize,
    reason: &'p str,
    items: Vec<usize>,
}

impl Plan {
    /// The plan as an SVG picture: each node is a group with the class `node`, each need a path with the class `edge`, and both say in a title
    /// what a pointer shows.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let mut drawing = Drawing::new(self);
        drawing.order();
        drawing.arrange();
        drawing.render()
    }
}

struct Drawing<'p> {
    plan: &'p Plan,
    names: Vec<String>,
    items: Vec<Item>,
    layers: Vec<Vec<usize>>,
    edges: Vec<Edge<'p>>,
}

impl<'p> Drawing<'p> {
    fn new(plan: &'p Plan) -> Self {
        let numbers: HashMap<&NodeId, usize> = plan.nodes.iter().enumerate().map(|(number, node)| (&node.id, number)).collect();
        let mut edges = Vec::new();
        for (to, node) in plan.nodes.iter().enumerate() {
            for need in &node.needs {
                if let Some(from) = numbers.get(&need.id) {
                    edges.push(Edge { from: *from, to, reason: need.reason, items: Vec::new() });
                }
            }
        }
        let layer_of = layers(plan.nodes.len(), &edges);
        let count = layer_of.iter().max().map_or(0, |last| last + 1);
        let item = |node: Option<usize>, layer: usize| Item { node, layer, y: 0.0, before: Vec::new(), after: Vec::new() };
        let mut items: Vec<Item> = layer_of.iter().enumerate().map(|(node, layer)| item(Some(node), *layer)).collect();
        for edge in &mut edges {
            let mut last = edge.from;
            edge.items.push(last);
            for layer in layer_of[edge.from] + 1..=layer_of[edge.to] {
                let next = if layer == layer_of[edge.to] {
                    edge.to
                } else {
                    items.push(item(None, layer));
                    items.len() - 1
                };
                items[last].after.push(next);
                items[next].before.push(last);
                edge.items.push(next);
                last = next;
            }
        }
        let mut layers = vec![Vec::new(); count];
        for (number, item) in items.iter().enumerate() {
            layers[item.layer].push(number);
        }
        Self { plan, names: plan.nodes.iter().map(|node| node.id.to_string()).collect(), items, layers, edges }
    }

    /// Orders each layer by the middle of the neighbours' positions, forwards and backwards, so that fewer edges cross; keeps the best order.
    fn order(&mut self) {
        let mut best = (self.crossings(), self.layers.clone());
        for sweep in 0..SWEEPS {
            let forwards = sweep % 2 == 0;
            let count = self.layers.len();
            for step in 0..count {
                let layer = if forwards { step } else { count - 1 - step };
                let positions = self.positions();
                let middle = |item: &usize| {
                    let near = if forwards { &self.items[*item].before } else { &self.items[*item].after };
                    let sum: usize = near.iter().map(|near| positions[*near]).sum();
                    if near.is_empty() { positions[*item] as f64 } else { sum as f64 / near.len() as f64 }
                };
                let mut keyed: Vec<(f64, usize)> = self.layers[layer].iter().map(|item| (middle(item), *item)).collect();
                keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
                self.layers[layer] = keyed.into_iter().map(|(_, item)| item).collect();
            }
            let crossings = self.crossings();
            if crossings < best.0 {
                best = (crossings, self.layers.clone());
            }
        }
        self.layers = best.1;
    }

    fn positions(&self) -> Vec<usize> {
        let mut positions = vec![0; self.items.len()];
        for layer in &self.layers {
            layer.iter().enumerate().for_each(|(position, item)| positions[*item] = position);
        }
        positions
    }

    fn crossings(&self) -> usize {
        let positions = self.positions();
        let mut sum = 0;
        for layer in &self.layers {
            let pairs: Vec<(usize, usize)> =
                layer.iter().flat_map(|item| self.items[*item].after.iter().map(|after| (positions[*item], positions[*after]))).collect();
            for (at, one) in pairs.iter().enumerate() {
                sum += pairs[at + 1..].iter().filter(|two| (one.0 < two.0 && one.1 > two.1) || (one.0 > two.0 && one.1 < two.1)).count();
            }
        }
        sum
    }

    /// Moves each item towards its neighbours, without overlaps.
    fn arrange(&mut self) {
        for sweep in 0..SWEEPS {
            for number in 0..self.layers.len() {
                let layer = self.layers[if sweep % 2 == 0 { number } else { self.layers.len() - 1 - number }].clone();
                let wanted = |item: &Item| {
                    let near: Vec<f64> = item.before.iter().chain(&item.after).map(|near| self.items[*near].y).collect();
                    if near.is_empty() { item.y } else { near.iter().sum::<f64>() / near.len() as f64 }
                };
                let wanted: Vec<f64> = layer.iter().map(|item| wanted(&self.items[*item])).collect();
                let (mut places, mut end) = (Vec::new(), f64::NEG_INFINITY);
                for (item, wanted) in layer.iter().zip(&wanted) {
                    let half = self.items[*item].height() / 2.0;
                    let y = wanted.max(end + half);
                    end = y + half;
                    places.push(y);
                }
                let shift = wanted.iter().zip(&places).map(|(wanted, place)| wanted - place).sum::<f64>() / layer.len().max(1) as f64;
                layer.iter().zip(places).for_each(|(item, place)| self.items[*item].y = place + shift);
            }
        }
        let top = self.items.iter().map(|item| item.y - item.height() / 2.0).fold(f64::INFINITY, f64::min);
        self.items.iter_mut().for_each(|item| item.y += MARGIN - top);
    }

    fn width(&self, item: usize) -> f64 {
        self.items[item].node.map_or(0.0, |node| self.names[node].chars().count() as f64 * CHARACTER + 2.0 * PADDING)
    }

    /// Left end and width of each layer.
    fn columns(&self) -> Vec<(f64, f64)> {
        let mut left = MARGIN;
        let mut columns = Vec::new();
        for layer in &self.layers {
            let width = layer.iter().map(|item| self.width(*item)).fold(0.0, f64::max);
            columns.push((left, width));
            left += width + BETWEEN;
        }
        columns
    }

    fn render(&self) -> String {
        let columns = self.columns();
        let width = columns.last().map_or(0.0, |(left, width)| left + width) + MARGIN;
        let height = self.items.iter().map(|item| item.y + item.height() / 2.0).fold(0.0, f64::max) + MARGIN;
        let mut text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\n<title>The plan of {}</title>\n<style>{STYLE}</style>\n",
            Escaped(&self.plan.goals.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        );
        for edge in &self.edges {
            let (from, to) = (Escaped(&self.names[edge.from]), Escaped(&self.names[edge.to]));
            let path = self.path(edge, &columns);
            let _ = writeln!(
                text,
                "<path class=\"edge\" data-from=\"{from}\" data-to=\"{to}\" d=\"{path}\"><title>{to} after {from}: {}</title></path>",
                Escaped(edge.reason)
            );
        }
        for (number, node) in self.plan.nodes.iter().enumerate() {
            let (item, name) = (&self.items[number], Escaped(&self.names[number]));
            let (left, width) = (columns[item.layer].0, self.width(number));
            let class = if self.plan.goals.contains(&node.id) { "node goal" } else { "node" };
            let (top, baseline) = (item.y - HEIGHT / 2.0, item.y + 4.0);
            let _ = writeln!(
                text,
                "<g class=\"{class}\"><title>{name}</title><rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{HEIGHT}\" rx=\"4\"/>\
                 <text x=\"{:.1}\" y=\"{baseline:.1}\">{name}</text></g>",
                left + PADDING
            );
        }
        text.push_str("</svg>\n");
        text
    }

    /// The curve of an edge: from the right end of a node, through its lanes, to the left end of the other.
    fn path(&self, edge: &Edge<'_>, columns: &[(f64, f64)]) -> String {
        let mut path = String::new();
        let mut at = (0.0, 0.0);
        for (step, number) in edge.items.iter().enumerate() {
            let item = &self.items[*number];
            let (left, width) = columns[item.layer];
            if step == 0 {
                at = (left + self.width(*number), item.y);
                let _ = write!(path, "M{:.1} {:.1}", at.0, at.1);
                // A short node does not reach the end of its column.
                at.0 = left + width;
                let _ = write!(path, "H{:.1}", at.0);
                continue;
            }
            let middle = (at.0 + left) / 2.0;
            let _ = write!(path, "C{middle:.1} {:.1} {middle:.1} {:.1} {left:.1} {:.1}", at.1, item.y, item.y);
            at = (left, item.y);
            if item.node.is_none() {
                at.0 += width;
                let _ = write!(path, "H{:.1}", at.0);
            }
        }
        path
    }
}

/// The layer of each node: as late as what needs it allows, so that edges are short.
fn layers(nodes: usize, edges: &[Edge<'_>]) -> Vec<usize> {
    // Distance from the end. The nodes that one needs precede it in a plan.
    let mut from_end = vec![0; nodes];
    for node in (0..nodes).rev() {
        let distance = edges.iter().filter(|edge| edge.from == node).map(|edge| from_end[edge.to] + 1).max();
        from_end[node] = distance.unwrap_or(0);
    }
    let longest = from_end.iter().max().copied().unwrap_or(0);
    from_end.into_iter().map(|distance| longest - distance).collect()
}

/// A text in XML.
#[derive(Clone, Copy)]
struct Escaped<'t>(&'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            letter if letter.is_control() => f.write_str(" "),
            letter => f.write_char(letter),
        })
    }
}
