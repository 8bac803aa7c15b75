//! Runs a build step with a stage as its whole world: own mounts, processes, network and users, nothing of this machine in
//! sight. This program starts itself for it ([`inside`]), so no other tool is needed, by root or by an ordinary user.

pub mod inside;
mod stage;

use anyhow::{Context as _, Result};
use child::{Cmd, Output, Tools};
use filetree::Tree;
use pkgbuild::builder::Step;
use stage::Stage;
use std::path::PathBuf;

/// The first word of our own command line when we are started as the sandbox's inner half.
pub const INNER: &str = "__sandbox";

/// Runs steps below one folder.
pub struct Sandbox<'t> {
    tools: &'t Tools,
    folder: PathBuf,
    output: Output,
}

impl<'t> Sandbox<'t> {
    /// Stages are laid out in `folder` for the time of a step; the step's lines go to `output`.
    #[must_use]
    pub fn new(tools: &'t Tools, folder: PathBuf, output: Output) -> Self {
        Self { tools, folder, output }
    }

    /// Runs `step` and takes over into `stage` what it changed.
    pub fn run(&self, step: &Step, stage: &mut Tree) -> Result<()> {
        let laid_out =
            Stage::lay_out(stage, &step.mounts, &self.folder).with_context(|| format!("{}: cannot lay out the stage", step.place))?;
        let program = std::env::current_exe().context("cannot find our own program")?;
        let order = inside::Order {
            root: laid_out.root().to_owned(),
            workdir: step.workdir.clone(),
            network: step.network,
            argv: step.argv.clone(),
            env: step.env.clone().into_iter().collect(),
        };
        Cmd::new(program, self.tools.environment())
            .named(step.argv.first().map_or("the step", String::as_str))
            .step(format!("running {}", step.place))
            .arg(INNER)
            .arg(serde_json::to_string(&order)?)
            .umask(0o022)
            .output(&self.output)
            .run()?;
        let after = laid_out.take_over(stage, step.source_date_epoch)?;
        *stage = after;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use filetree::{Content, Kind, Node};
    use std::collections::BTreeMap;

    /// The test binary is not xtask, so the inner half is tried by xtask's own tests of builds; here: laying out and taking over.
    #[test]
    fn what_a_step_leaves_alone_keeps_its_owner_and_time() {
        let folder = tempfile::tempdir().expect("folder");
        let mut tree = Tree::new();
        let mut kept = Node::file(0o4711, 5, Content::from("kept"));
        kept.meta.uid = 42;
        kept.meta.xattrs = BTreeMap::from([("security.capability".to_owned(), vec![1])]);
        tree.insert("etc/kept", kept).expect("insert");
        tree.insert("etc/changed", Node::file(0o644, 5, Content::from("old"))).expect("insert");
        tree.insert("etc/gone", Node::file(0o644, 5, Content::from("old"))).expect("insert");
        tree.insert("dev/null", Node { meta: filetree::Meta::root(0o666, 0), kind: Kind::CharDevice { major: 1, minor: 3 } })
            .expect("insert");
        let stage = Stage::lay_out(&tree, &[], folder.path()).expect("laid out");
        let etc = stage.root().join("etc");
        std::fs::write(etc.join("changed"), "new and longer").expect("write");
        std::fs::write(etc.join("made"), "made").expect("write");
        std::fs::remove_file(etc.join("gone")).expect("remove");
        let after = stage.take_over(&tree, 100).expect("taken over");
        let kept = after.get("etc/kept").expect("kept");
        assert_eq!((kept.meta.uid, kept.meta.mode, kept.meta.mtime, kept.meta.xattrs.len()), (42, 0o4711, 5, 1));
        let Kind::File { content, .. } = &after.get("etc/changed").expect("changed").kind else { unreachable!("a file") };
        assert_eq!(content.read_all().expect("read"), b"new and longer");
        let made = after.get("etc/made").expect("made");
        assert_eq!((made.meta.uid, made.meta.gid, made.meta.mtime), (0, 0, 100));
        assert!(after.get("etc/gone").is_none());
        assert!(matches!(after.get("dev/null").expect("device").kind, Kind::CharDevice { .. }));
    }
}
