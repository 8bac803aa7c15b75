//! The command lines that `bench` measures: xtask's own, and those of the tools that do the same work. Each is as its manual shows it,
//! with no option that makes it slower.

use super::{Cmd, Tool, Tools};
use anyhow::{Context as _, Result};
use std::path::Path;

/// xtask, on the tree `root`.
pub fn ourselves(tools: &Tools, root: &Path) -> Result<Cmd> {
    let program = std::env::current_exe().context("cannot find our own program")?;
    Ok(Cmd::new(program, tools.environment()).named("xtask").arg("--root").arg(root))
}

/// Unpacks `tar` into the folder `out`.
pub fn unpack(tools: &Tools, tar: &Path, out: &Path) -> Result<Cmd> {
    Ok(tools.helper("tar")?.arg("-xpf").arg(tar).arg("-C").arg(out))
}

/// Packs the folder `tree` into the squashfs `out`, on all processors.
pub fn mksquashfs(tools: &Tools, tree: &Path, compressor: &str, out: &Path) -> Result<Cmd> {
    let options = ["-comp", compressor, "-b", "131072", "-noappend", "-no-progress", "-quiet"];
    Ok(tools.cmd(Tool::Mksquashfs)?.arg(tree).arg(out).args(options))
}

/// Makes the images of `genimage.cfg` in `folder`, from its folders `input` and `root`, in its folder `output`. Fails if its folder `tmp`
/// exists.
pub fn genimage(tools: &Tools, folder: &Path) -> Result<Cmd> {
    let paths =
        [("--rootpath", "root"), ("--tmppath", "tmp"), ("--inputpath", "input"), ("--outputpath", "output"), ("--config", "genimage.cfg")];
    let cmd = tools.cmd(Tool::Genimage)?.dir(folder);
    Ok(paths.iter().fold(cmd, |cmd, (option, name)| cmd.arg(option).arg(folder.join(name))))
}

/// Converts the raw disk to a compressed qcow2, with qemu-img's defaults.
pub fn convert(tools: &Tools, raw: &Path, out: &Path) -> Result<Cmd> {
    Ok(tools.cmd(Tool::QemuImg)?.args(["convert", "-c", "-f", "raw", "-O", "qcow2"]).arg(raw).arg(out))
}

/// The git commands that linuxkit runs for one package, `folder` below the checkout `root`.
pub fn git_of_package(tools: &Tools, root: &Path, folder: &Path) -> Result<[Cmd; 2]> {
    let git = || -> Result<Cmd> { Ok(tools.cmd(Tool::Git)?.dir(root)) };
    Ok([git()?.args(["ls-tree", "--full-tree", "HEAD", "--"]).arg(folder), git()?.args(["status", "--porcelain", "--"]).arg(folder)])
}

/// Clones the repository `from` into the folder `to`.
pub fn clone(tools: &Tools, from: &Path, to: &Path) -> Result<Cmd> {
    Ok(tools.cmd(Tool::Git)?.args(["clone", "--quiet", "--no-hardlinks"]).arg(from).arg(to))
}

/// Compiles xtask and its dependencies into the folder `target`.
pub fn compile(tools: &Tools, workspace: &Path, target: &Path) -> Result<Cmd> {
    let words = ["build", "--release", "--locked", "--quiet", "--package", "xtask", "--target-dir"];
    Ok(tools.cmd(Tool::Cargo)?.dir(workspace).args(words).arg(target))
}

/// Copies the file `from` with holes in place of zeros.
pub fn copy_sparse(tools: &Tools, from: &Path, to: &Path) -> Result<Cmd> {
    Ok(tools.helper("cp")?.arg("--sparse=always").arg(from).arg(to))
}

/// Packs the disk into a sparse tar.gz.
pub fn tar_sparse(tools: &Tools, disk: &Path, out: &Path) -> Result<Cmd> {
    let folder = disk.parent().context("a disk has a folder")?;
    let name = disk.file_name().context("a disk has a name")?;
    Ok(tools.helper("tar")?.args(["--mode=644", "--owner=root", "--group=root", "-Sczf"]).arg(out).arg("-C").arg(folder).arg(name))
}

/// `make -n` for `goal` in a checkout of lf-edge/eve. The Makefile asks linuxkit for tags even with `-n`.
pub fn make_plan(tools: &Tools, eve: &Path, goal: &str) -> Result<Cmd> {
    let mut linuxkit = std::ffi::OsString::from("LINUXKIT=");
    linuxkit.push(tools.find(Tool::Linuxkit).map_err(|missing| anyhow::anyhow!("{missing}"))?);
    Ok(tools.helper("make")?.dir(eve).args(["-n", goal]).arg(linuxkit))
}

/// Resolves the template of the root file system with lf-edge/eve's script, which first asks linuxkit for every package's tag.
pub fn parse_pkgs(tools: &Tools, eve: &Path, arch: &str) -> Result<Cmd> {
    let script = eve.join("tools/parse-pkgs.sh");
    Ok(Cmd::new(script, tools.environment()).dir(eve).env("DOCKER_ARCH_TAG", arch).arg("images/rootfs.yml.in"))
}
