//! The command lines that `bench` compares us with, each as a person types it for the job, with no option that makes it slower. xshell
//! splits the lines into words; [`Cmd`] finds the programs, chooses the environment and accounts for the process.

use super::{Cmd, Tool, Tools};
use anyhow::{Context as _, Result};
use std::{path::Path, process::Command};
use xshell::{Shell, cmd};

/// `program` with the words that follow the first one of `line`.
fn typed(program: Cmd, line: xshell::Cmd<'_>) -> Cmd {
    program.args(Command::from(line).get_args())
}

/// What builds these command lines.
pub struct Rivals<'t> {
    tools: &'t Tools,
    sh: Shell,
}

impl<'t> Rivals<'t> {
    /// The command lines for the programs of `tools`.
    pub fn new(tools: &'t Tools) -> Result<Self> {
        Ok(Self { tools, sh: Shell::new()? })
    }

    /// xtask itself on the tree `root`.
    pub fn ourselves(&self, root: &Path) -> Result<Cmd> {
        let program = std::env::current_exe().context("cannot find our own program")?;
        Ok(Cmd::new(program, self.tools.environment()).named("xtask").arg("--root").arg(root))
    }

    /// Unpacks `tar` into the folder `out`.
    pub fn unpack(&self, tar: &Path, out: &Path) -> Result<Cmd> {
        Ok(typed(self.tools.helper("tar")?, cmd!(self.sh, "tar -xpf {tar} -C {out}")))
    }

    /// Packs the folder `tree` into the squashfs `out`, on all processors.
    pub fn mksquashfs(&self, tree: &Path, compressor: &str, out: &Path) -> Result<Cmd> {
        let line = cmd!(self.sh, "mksquashfs {tree} {out} -comp {compressor} -b 131072 -noappend -no-progress -quiet");
        Ok(typed(self.tools.cmd(Tool::Mksquashfs)?, line))
    }

    /// Makes the images of `genimage.cfg` in `folder`, from its folders `input` and `root`, in `output`. Fails if `tmp` exists.
    pub fn genimage(&self, folder: &Path) -> Result<Cmd> {
        let [root, tmp, input, output, config] = ["root", "tmp", "input", "output", "genimage.cfg"].map(|name| folder.join(name));
        let line = cmd!(self.sh, "genimage --rootpath {root} --tmppath {tmp} --inputpath {input} --outputpath {output} --config {config}");
        Ok(typed(self.tools.cmd(Tool::Genimage)?, line).dir(folder))
    }

    /// Converts the raw disk to a compressed qcow2 with qemu-img's own defaults.
    pub fn convert(&self, raw: &Path, out: &Path) -> Result<Cmd> {
        Ok(typed(self.tools.cmd(Tool::QemuImg)?, cmd!(self.sh, "qemu-img convert -c -f raw -O qcow2 {raw} {out}")))
    }

    /// The two questions that linuxkit asks git about one package, `folder` below the checkout `root`.
    pub fn git_of_package(&self, root: &Path, folder: &Path) -> Result<[Cmd; 2]> {
        let git = |line| -> Result<Cmd> { Ok(typed(self.tools.cmd(Tool::Git)?, line).dir(root)) };
        Ok([git(cmd!(self.sh, "git ls-tree --full-tree HEAD -- {folder}"))?, git(cmd!(self.sh, "git status --porcelain -- {folder}"))?])
    }

    /// Clones the repository `from` as the folder `to`.
    pub fn clone(&self, from: &Path, to: &Path) -> Result<Cmd> {
        Ok(typed(self.tools.cmd(Tool::Git)?, cmd!(self.sh, "git clone --quiet --no-hardlinks {from} {to}")))
    }

    /// Commits everything in the checkout `root`, also if nothing has changed.
    pub fn commit(&self, root: &Path) -> Result<[Cmd; 2]> {
        let git = |line| -> Result<Cmd> { Ok(typed(self.tools.cmd(Tool::Git)?, line).dir(root)) };
        let (name, mail) = ("user.name=bench", "user.email=bench@localhost");
        Ok([
            git(cmd!(self.sh, "git add --all"))?,
            git(cmd!(self.sh, "git -c {name} -c {mail} -c commit.gpgsign=false commit --quiet --no-verify --allow-empty -m bench"))?,
        ])
    }

    /// Compiles xtask and all that it depends on into the folder `target`.
    pub fn compile(&self, workspace: &Path, target: &Path) -> Result<Cmd> {
        let line = cmd!(self.sh, "cargo build --release --locked --quiet --package xtask --target-dir {target}");
        Ok(typed(self.tools.cmd(Tool::Cargo)?, line).dir(workspace))
    }

    /// Copies the file `from` with a hole wherever it has a block of zeros.
    pub fn copy_sparse(&self, from: &Path, to: &Path) -> Result<Cmd> {
        Ok(typed(self.tools.helper("cp")?, cmd!(self.sh, "cp --sparse=always {from} {to}")))
    }

    /// Packs the disk into a sparse tar through gzip.
    pub fn tar_sparse(&self, disk: &Path, out: &Path) -> Result<Cmd> {
        let folder = disk.parent().context("a disk has a folder")?;
        let name = disk.file_name().context("a disk has a name")?;
        Ok(typed(self.tools.helper("tar")?, cmd!(self.sh, "tar --mode=644 --owner=root --group=root -Sczf {out} -C {folder} {name}")))
    }

    /// Asks make what it would do for `goal` in a checkout of lf-edge/eve. The makefile asks linuxkit for tags even with `-n`.
    pub fn make_plan(&self, eve: &Path, goal: &str) -> Result<Cmd> {
        let linuxkit = self.tools.find(Tool::Linuxkit).map_err(|missing| anyhow::anyhow!("{missing}"))?;
        Ok(typed(self.tools.helper("make")?, cmd!(self.sh, "make -n {goal} LINUXKIT={linuxkit}")).dir(eve))
    }

    /// Fills in the template of the root file system with lf-edge/eve's script, which asks linuxkit for every package's tag first.
    pub fn parse_pkgs(&self, eve: &Path, arch: &str) -> Result<Cmd> {
        let script = eve.join("tools/parse-pkgs.sh");
        Ok(Cmd::new(script, self.tools.environment()).dir(eve).env("DOCKER_ARCH_TAG", arch).arg("images/rootfs.yml.in"))
    }
}
