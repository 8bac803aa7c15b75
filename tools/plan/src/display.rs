//! A plan as text, for programs, and as a graph.

use super::{Action, Node, Plan};
use knobs::{ImageFormat, RootfsFormat};
use serde_json::json;
use std::{collections::BTreeMap, fmt::Write as _, path::Path};

impl Node {
    /// One line: what the node does, with paths below `root` shortened.
    #[must_use]
    pub fn describe(&self, root: &Path) -> String {
        let short = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
        let step = match &self.action {
            Action::WriteText { path, text } => format!("write `{}` to {}", text.trim_end(), short(path)),
            Action::BuildPackage(job) => format!("{} {} as {}", job.work, short(&job.dir), job.image),
            Action::ResolveYml { template, out, .. } => format!("fill in the tags of {}: {}", short(template), short(out)),
            Action::ComposeRootfs { yml, images, out, .. } => {
                format!("compose {} and {} images of this tree: {}", short(yml), images.len(), short(out))
            }
            Action::PackRootfs { tar, out, link, format, compression, limit, .. } => {
                let most = if *limit == u64::MAX { String::new() } else { format!("at most {limit} bytes") };
                let format = match format {
                    RootfsFormat::Squash if most.is_empty() => format!("squashfs ({compression})"),
                    RootfsFormat::Squash => format!("squashfs ({compression}, {most})"),
                    RootfsFormat::Ext4 if most.is_empty() => "ext4".to_owned(),
                    RootfsFormat::Ext4 => format!("ext4 ({most})"),
                };
                let link = link.as_ref().map_or_else(String::new, |link| format!(", linked as {}", short(link)));
                format!("pack {} as {format}: {}{link}", short(tar), short(out))
            }
            Action::MakeConfig { conf_dir, files, origin, out, .. } => {
                let what = if files.is_empty() { format!("{}/", short(conf_dir)) } else { files.join(", ") };
                format!("pack {what} and {origin} as FAT, 1 MiB, label EVE: {}", short(out))
            }
            Action::MakePersist { out } => format!("write 1 MiB of zeros: {}", short(out)),
            Action::ExportParts { image, out, entries, .. } => format!("take {} out of {image}: {}", entries.join(", "), short(out)),
            Action::CopyFiles { from, to } => {
                let from: Vec<String> = from.iter().map(|path| short(path)).collect();
                format!("copy {} to {}", from.join(" and "), short(to))
            }
            Action::MakeDisk(job) => format!("partition a disk ({}) with {}: {}", job.words.join(" "), short(&job.parts), short(&job.out)),
            Action::MakeStick(job) => {
                let config = job.config.as_ref().map(|path| short(path));
                let on = [job.dump.then(|| "dump/".to_owned()), job.identity.then(|| "identity/".to_owned()), config];
                format!("make a USB stick with {}: {}", on.into_iter().flatten().collect::<Vec<_>>().join(", "), short(&job.out))
            }
            Action::MakeIso { parts, tar, out, .. } => {
                format!("make an ISO that boots, of {}: {}", short(tar.as_ref().unwrap_or(parts)), short(out))
            }
            Action::TakeOut { tar, entry, out } => format!("take {entry} out of {}: {}", short(tar), short(out)),
            Action::MakeNet { parts, out, .. } => format!("pack what a netboot needs, of {}: {}", short(parts), short(out)),
            Action::ConvertDisk { raw, format, size_mib, out, .. } => match format {
                ImageFormat::Gcp => format!("grow {} to {size_mib} MiB and archive it: {}", short(raw), short(out)),
                other => format!("convert {} to {other}, {size_mib} MiB: {}", short(raw), short(out)),
            },
            Action::MakeSbom { tar, out, image, .. } => format!("list what is in {} by {image}: {}", short(tar), short(out)),
            Action::BuildEve(job) => format!(
                "{} {} as {}",
                job.work,
                short(&job.context),
                job.calls.iter().map(|(tag, _)| tag.as_str()).collect::<Vec<_>>().join(", ")
            ),
            Action::Link { link, target } => format!("link {} to {}", short(link), target.display()),
        };
        match self.action.tool() {
            Some(tool) => format!("{step}, by {}", tool.reference),
            None => step,
        }
    }
}

impl Plan {
    /// The plan as text, a node a paragraph: what it does, why (`reason` per node), what it needs.
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

    /// The plan for programs: a list of nodes in their order, `due` with the reason or null, paths absolute.
    #[must_use]
    pub fn to_json(&self, root: &Path, reason: &dyn Fn(&Node) -> Option<String>) -> serde_json::Value {
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
                "goal": self.goals.contains(&node.id),
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
