//! The command lines that `bench` measures: those of the tools that a person would use instead of us, and our own program's.
//! Each is as its manual shows it for the job, with no option that would make it slower.

use super::{Cmd, Tool, Tools};
use anyhow::{Context as _, Result};
use std::path::Path;

/// This program again, on the tree `root`.
pub fn ourselves(tools: &Tools, root: &Path) -> Result<Cmd> {
    let program = std::env::current_exe().context("cannot find our own program")?;
    Ok(Cmd::new(program, tools.environment()).named("xtask").arg("--root").arg(root))
}

/// The files of `tar` into the folder `out`.
pub fn unpack(tools: &Tools, tar: &Path, out: &Path) -> Result<Cmd> {
    Ok(tools.helper("tar")?.arg("-xpf").arg(tar).arg("-C").arg(out))
}

/// The folder `tree` as a squashfs `out`, on all processors.
pub fn mksquashfs(tools: &Tools, tree: &Path, compressor: &str, out: &Path) -> Result<Cmd> {
    let options = ["-comp", compressor, "-b", "131072", "-noappend", "-no-progress", "-quiet"];
    Ok(tools.cmd(Tool::Mksquashfs)?.arg(tree).arg(out).args(options))
}

/// The images of `genimage.cfg` in `folder`, from its folders `input` and `root` into `output`. It makes `tmp`, and fails
/// when that is there already.
pub fn genimage(tools: &Tools, folder: &Path) -> Result<Cmd> {
    let paths =
        [("--rootpath", "root"), ("--tmppath", "tmp"), ("--inputpath", "input"), ("--outputpath", "output"), ("--config", "genimage.cfg")];
    let cmd = tools.cmd(Tool::Genimage)?.dir(folder);
    Ok(paths.iter().fold(cmd, |cmd, (option, name)| cmd.arg(option).arg(folder.join(name))))
}

/// The raw disk as a compressed qcow2, with the options that qemu-img has by itself.
pub fn convert(tools: &Tools, raw: &Path, out: &Path) -> Result<Cmd> {
    Ok(tools.cmd(Tool::QemuImg)?.args(["convert", "-c", "-f", "raw", "-O", "qcow2"]).arg(raw).arg(out))
}

/// What linuxkit asks git about one package, `folder` below the checkout `root`.
pub fn git_of_package(tools: &Tools, root: &Path, folder: &Path) -> Result<[Cmd; 2]> {
    let git = || -> Result<Cmd> { Ok(tools.cmd(Tool::Git)?.dir(root)) };
    Ok([git()?.args(["ls-tree", "--full-tree", "HEAD", "--"]).arg(folder), git()?.args(["status", "--porcelain", "--"]).arg(folder)])
}

/// A clone of the repository `from` as the folder `to`.
pub fn clone(tools: &Tools, from: &Path, to: &Path) -> Result<Cmd> {
    Ok(tools.cmd(Tool::Git)?.args(["clone", "--quiet", "--no-hardlinks"]).arg(from).arg(to))
}

/// This program from its sources, with everything it is made from, into the folder `target`.
pub fn compile(tools: &Tools, workspace: &Path, target: &Path) -> Result<Cmd> {
    let words = ["build", "--release", "--locked", "--quiet", "--package", "xtask", "--target-dir"];
    Ok(tools.cmd(Tool::Cargo)?.dir(workspace).args(words).arg(target))
}
