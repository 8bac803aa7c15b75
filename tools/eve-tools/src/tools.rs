//! The tools that turn a tar on standard input into an image, and the names of all tools.

use crate::{Environment, USAGE, disk, eve, input, iso, output::Output};
use anyhow::{Context as _, Result, bail};
use diskimage::{recipes, squashfs::Compressor};
use filetree::Tree;
use std::{
    fs::File,
    io::{IsTerminal as _, copy, stdout},
    path::Path,
};

/// A tool: a function of arguments and environment.
pub type Tool = fn(&[String], &Environment) -> Result<()>;

/// The tool of this name; the second name is that of the script in EVE's image.
pub fn by_name(name: &str) -> Option<Tool> {
    match name {
        "mkconf" | "make-config" => Some(make_config),
        "mkrootfs-squash" | "make-rootfs" => Some(make_squashfs),
        "mkrootfs-ext4" => Some(make_ext4),
        "mkimage-raw-efi" | "mkverification-raw-efi" | "make-raw" => Some(disk::make_raw),
        "mkimage-iso-efi" | "make-efi" => Some(iso::make_iso),
        "eve" => Some(eve::make_artifact),
        _ => None,
    }
}

fn make_config(args: &[String], environment: &Environment) -> Result<()> {
    let [out] = args else { bail!("mkconf takes one argument, the image to write, not {}\n{USAGE}", args.len()) };
    if environment.version.is_empty() {
        bail!("ROOTFS_VERSION is not set: the configuration contains the version");
    }
    let tar = input::read_stdin(environment)?;
    let epoch = input::epoch(environment, &tar)?;
    let origin = recipes::origin_name(epoch, &environment.version)?;
    let layout = recipes::config(&recipes::config_tree_of_tar(tar, &origin, epoch)?, epoch)?;
    let output = Output::open(Path::new(out))?;
    layout.write(output.file())?;
    output.commit()
}

/// File that makerootfs.sh mounts to receive the image.
const ROOTFS: &str = "/rootfs.img";

fn make_squashfs(args: &[String], environment: &Environment) -> Result<()> {
    make_rootfs("mkrootfs-squash", args, environment, |tree, epoch, out| {
        recipes::pack_rootfs(tree, Compressor::Xz { bcj: Vec::new() }, epoch, out).map(drop)
    })
}

fn make_ext4(args: &[String], environment: &Environment) -> Result<()> {
    make_rootfs("mkrootfs-ext4", args, environment, |tree, epoch, out| recipes::ext4_rootfs(tree, epoch)?.write(out))
}

/// Makes a root file system image with `pack`, which writes to an empty file.
fn make_rootfs(name: &str, args: &[String], environment: &Environment, pack: impl Fn(Tree, i64, &mut File) -> Result<()>) -> Result<()> {
    let out = match args {
        [] => Path::new(ROOTFS).is_file().then_some(ROOTFS),
        [out] => Some(out.as_str()),
        _ => bail!("{name} takes at most one argument, the image to write, not {}\n{USAGE}", args.len()),
    };
    if out.is_none() && stdout().is_terminal() {
        bail!("the image goes to standard output, which is a terminal\n{USAGE}");
    }
    let tar = input::read_stdin(environment)?;
    let epoch = input::epoch(environment, &tar)?;
    match out {
        Some(out) => {
            let mut output = Output::open(Path::new(out))?;
            pack(tar, epoch, output.file_mut())?;
            output.commit()
        }
        None => {
            let mut file = input::temporary_file(environment)?;
            pack(tar, epoch, &mut file)?;
            std::io::Seek::rewind(&mut file).context("cannot rewind the image")?;
            copy(&mut file, &mut stdout().lock()).map(drop).context("cannot write the image to standard output")
        }
    }
}
