//! The outer half of the sandbox: writes the stage, starts this program again as the inner half, and reads the stage back.

use crate::{INNER, inside, stage::Stage};
use anyhow::{Context as _, Error, Result, bail};
use child::{Cmd, Output, Tools, terminal::Kept};
use filetree::{Kind, Tree};
use pkgbuild::builder::Step;
use std::{os::fd::AsRawFd as _, path::PathBuf};

/// The shells of a stage, the best first.
const SHELLS: [&[&str]; 4] = [&["/bin/bash"], &["/bin/sh"], &["/bin/busybox", "sh"], &["/bin/dash"]];

/// Runs steps below one folder.
pub struct Sandbox<'t> {
    tools: &'t Tools,
    folder: PathBuf,
    output: Output,
}

impl<'t> Sandbox<'t> {
    /// Writes stages to `folder` while their step runs, and the step's lines to `output`.
    #[must_use]
    pub fn new(tools: &'t Tools, folder: PathBuf, output: Output) -> Self {
        Self { tools, folder, output }
    }

    /// Runs `step` on `stage`, and applies its changes to `stage`. If the step fails, `failed` gets the error and the files as the step
    /// left them, which are removed when it returns the error for the caller.
    pub fn run(&self, step: &Step, stage: &mut Tree, failed: impl FnOnce(Error, &Failed<'_>) -> Error) -> Result<()> {
        let written = self.write(step, stage)?;
        let command = self.command(step, &written)?.step(format!("running {}", step.place));
        if let Err(error) = command.output(&self.output).run() {
            return Err(failed(error, &Failed { sandbox: self, step, stage, written: &written }));
        }
        *stage = written.read_back(stage, step.source_date_epoch)?;
        Ok(())
    }

    /// Opens a shell on our terminal where `step` runs, with its environment, folder and mounts. All changes are discarded.
    pub fn open_shell(&self, step: &Step, stage: &Tree) -> Result<()> {
        let shell = find_shell(step, stage)?;
        self.open_in(&self.write(step, stage)?, step, shell)
    }

    fn open_in(&self, written: &Stage, step: &Step, shell: &[&str]) -> Result<()> {
        let step = Step { argv: shell.iter().map(|word| (*word).to_owned()).collect(), ..step.clone() };
        let _kept = Kept::now();
        // The status is that of the last command that was typed.
        self.command(&step, written)?.step("running a shell").foreground().status_ok().map(drop)
    }

    fn write(&self, step: &Step, stage: &Tree) -> Result<Stage> {
        Stage::write(stage, &step.mounts, &self.folder).with_context(|| format!("{}: cannot write the stage", step.place))
    }

    /// The command that runs the step in the written stage.
    fn command(&self, step: &Step, written: &Stage) -> Result<Cmd> {
        let program = std::env::current_exe().context("cannot find our own program")?;
        let order = inside::Order {
            root: written.root(),
            workdir: step.workdir.clone(),
            network: step.network,
            argv: step.argv.clone(),
            env: step.env.clone().into_iter().collect(),
        };
        let order = order.to_fd()?;
        Ok(Cmd::new(program, self.tools.environment())
            .named(step.argv.first().map_or("the step", String::as_str))
            .arg(INNER)
            .arg(order.as_raw_fd().to_string())
            .keep_fd(order)
            .umask(0o022))
    }
}

/// A step that failed, and its files as long as this exists.
pub struct Failed<'f> {
    sandbox: &'f Sandbox<'f>,
    step: &'f Step,
    stage: &'f Tree,
    written: &'f Stage,
}

impl Failed<'_> {
    /// Opens a shell on our terminal among these files, with the step's environment, folder and mounts.
    pub fn open_shell(&self) -> Result<()> {
        self.sandbox.open_in(self.written, self.step, find_shell(self.step, self.stage)?)
    }
}

/// The best shell that the stage has.
fn find_shell(step: &Step, stage: &Tree) -> Result<&'static [&'static str]> {
    let shell = SHELLS.iter().find(|shell| {
        let place = stage.resolve(shell[0], true);
        place.ok().and_then(|place| stage.get(place)).is_some_and(|node| matches!(node.kind, Kind::File { .. }))
    });
    let Some(shell) = shell else {
        bail!("{}: the stage has no shell: neither {}", step.place, SHELLS.map(|shell| shell[0]).join(" nor "))
    };
    Ok(shell)
}

#[cfg(test)]
mod tests {
    use super::*;
    use filetree::{Content, Node};
    use std::collections::BTreeMap;

    /// The test binary is not xtask, so xtask's tests of builds test the inner half; this test writes a stage and reads it back.
    #[test]
    fn files_that_a_step_does_not_change_keep_owner_and_time() {
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
        let stage = Stage::write(&tree, &[], folder.path()).expect("written");
        let etc = stage.root().join("etc");
        std::fs::write(etc.join("changed"), "new and longer").expect("write");
        std::fs::write(etc.join("made"), "made").expect("write");
        std::fs::remove_file(etc.join("gone")).expect("remove");
        let after = stage.read_back(&tree, 100).expect("read back");
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
