//! `run-rootfs` and `run-grub` of a tree whose GRUB is inside rootfs.img: each boots a disk that is made for this run and holds nothing but
//! what comes out of rootfs.img, and for `run-rootfs` a configuration that only asks for a login prompt.

use super::{
    machine::{self, Options, Place, bus, setup},
    require,
};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::artifact::Pending;
use diskimage::{disk, eve::Kind, recipes};
use filetree::{Content, Node, Tree};
use std::{
    fs::{self, File},
    path::Path,
};
use vm::{Disk, as_make::Disks};

/// The size of the disk in bytes. Its end is free: IMGB and P3 are made there on the first boot.
const SIZE: u64 = 2 << 30;
/// CONFIG's grub.cfg: a login prompt on every console.
const SETTINGS: &str = "set_getty\n";

/// Boots `kinds` of partitions from the rootfs.img that was built last; `name` is that of the disk.
pub fn run(ctx: &Ctx, options: &Options, name: &str, kinds: &[Kind]) -> Result<()> {
    let place = Place::find(ctx)?;
    let rootfs = place.build.part("rootfs.img");
    require(ctx, &rootfs, "rootfs")?;
    let out = place.build.run().join(format!("{name}.raw"));
    let disk = Disk::image(&out, "raw", bus(ctx, options));
    let setup = setup(ctx, options, &place, vec![disk], Disks::LastNamed)?;
    if ctx.globals.dry_run {
        return machine::dry_run(ctx, &setup, &[]);
    }
    machine::ensure_tools(ctx, &setup, &[])?;
    let folder = place.build.run();
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let locks = machine::claim(&setup, &place, Some(&out), false)?;
    make(&rootfs, kinds, &out)?;
    machine::boot(ctx, options, setup, locks)
}

/// Makes the disk at `out`.
fn make(rootfs: &Path, kinds: &[Kind], out: &Path) -> Result<()> {
    let mut parts = recipes::Parts::default().rootfs(rootfs)?;
    let config = out.with_extension("config");
    if kinds.contains(&Kind::Conf) {
        let mut files = Tree::new();
        files.insert("grub.cfg", Node::file(0o644, 0, Content::from(SETTINGS)))?;
        let file = File::create(&config).with_context(|| format!("cannot write `{}`", config.display()))?;
        recipes::config(&files, 0)?.write(&file)?;
        parts = parts.config(&config)?;
    }
    let layout = disk::layout(recipes::disk(kinds, SIZE, &parts, 0)?)?;
    let pending = Pending::new(out)?;
    layout.write(&pending.create()?)?;
    pending.commit()
}
