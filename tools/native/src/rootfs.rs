//! Composes a root file system from a yml, as rootfs.tar or to pack it into rootfs.img.

use super::{BLOCKS_LIMIT, NativeEngine, files, keys::Pair, signing::sign_boot, verity};
use anyhow::{Context as _, Result, bail};
use common::{Arch, artifact::Pending, artifact::link_atomically, display::size};
use compose::{ComposeMeter, Images, Options, Summary, Yml};
use diskimage::{
    recipes,
    squashfs::{BlockStore, Compressor},
};
use executor::{DigestWriter, Job};
use filetree::Tree;
use knobs::{Compression, RootfsFormat};
use plan::steps::{ComposeRootfs, PackRootfs, RootfsFiles};
use secureboot::variable::Variable;
use std::{io::BufWriter, path::Path};

/// Finds images of the cache for one architecture.
struct CachedImages<'n> {
    native: &'n NativeEngine,
    arch: Arch,
}

impl Images for CachedImages<'_> {
    fn find(&self, reference: &str) -> Result<oci::Image> {
        self.native.image_by_name(reference, self.arch)
    }
}

pub(super) fn compose(native: &NativeEngine, step: &ComposeRootfs, job: &Job<'_>) -> Result<()> {
    let (yml, options) = composition(step, ComposeMeter(job.meter()))?;
    let (images, out) = (CachedImages { native, arch: step.arch }, &step.out);
    let pending = Pending::new(out)?;
    let mut writer = DigestWriter::new(BufWriter::with_capacity(1 << 20, pending.create()?));
    let summary = compose::compose(&yml, &images, &options, &mut writer)?;
    let digest = writer.finish().with_context(|| format!("cannot write `{}`", out.display()))?;
    job.log(&format!("{summary:?}"));
    if !files::put_own_into(pending.part(), step)? {
        digest.into_iter().for_each(|digest| job.wrote(out, digest));
    }
    pending.commit_before_stamp()
}

/// The yml that a step composes, and how.
fn composition(step: &ComposeRootfs, progress: ComposeMeter) -> Result<(Yml, Options)> {
    let ComposeRootfs { yml, arch, sources, .. } = step;
    let text = std::fs::read_to_string(yml).with_context(|| format!("cannot read `{}`", yml.display()))?;
    let yml = Yml::parse(&text, &yml.display().to_string())?;
    Ok((yml, Options { arch: arch.to_string(), sources: sources.clone(), progress, ..Options::default() }))
}

/// The files of a root file system. Those of images stay in the layers of the cache.
fn tree(native: &NativeEngine, files: &RootfsFiles, job: &Job<'_>) -> Result<Tree> {
    let step = match files {
        RootfsFiles::Tar(tar) => return files::read_tree(tar),
        RootfsFiles::Images(step) => step,
    };
    let (tree, summary) = composed_tree(step, &CachedImages { native, arch: step.arch }, ComposeMeter(job.meter()))?;
    job.log(&format!("{summary:?}"));
    // Without it the next build reads the layers again, and that is all.
    if let Some(Err(error)) = native.checked_layers.as_deref().map(oci::keep_checked) {
        job.log(&format!("{error:#}"));
    }
    Ok(tree)
}

/// The files of a root file system that is composed, with the kernel and the hypervisor that come from files.
fn composed_tree(step: &ComposeRootfs, images: &dyn Images, progress: ComposeMeter) -> Result<(Tree, Summary)> {
    let (yml, options) = composition(step, progress)?;
    let (mut tree, summary) = compose::compose_tree(&yml, images, &options)?;
    files::put_own(&mut tree, step)?;
    Ok((tree, summary))
}

/// Packs the files of a root file system into rootfs.img, and links it under its versioned name.
pub(super) fn pack(native: &NativeEngine, step: &PackRootfs, job: &Job<'_>) -> Result<()> {
    let PackRootfs { files, out, link, format, compression, limit, epoch, signing, .. } = step;
    let mut tree = tree(native, files, job)?;
    let pair = signing.as_ref().map(|signing| Pair::of_folder(&native.tools, &signing.keys, Variable::Db)).transpose()?;
    let signing = signing.as_ref().zip(pair.as_ref());
    let signed = signing.map(|(signing, pair)| -> Result<_> {
        let content = sign_boot(&mut tree, &native.image(&signing.verity)?.tree()?, signing, pair, *epoch)?;
        Ok((content, signing, pair))
    });
    let signed = signed.transpose()?;
    let compressor = match compression {
        Compression::Xz => Compressor::Xz { bcj: Vec::new() },
        Compression::Gzip => Compressor::Gzip,
    };
    let pending = Pending::new(out)?;
    let progress = |done, total| job.measure(done, total);
    match format {
        RootfsFormat::Squash => {
            let store = native.blocks.as_ref().map(|folder| BlockStore::open(folder, BLOCKS_LIMIT));
            let store = store.map(|store| if native.reads_all { store.reading_all() } else { store });
            let mut image = pending.create()?;
            let summary = recipes::pack_rootfs_with(tree, compressor, *epoch, store.as_ref(), &progress, &mut image)?;
            job.log(&format!("{summary:?}"));
            if let Some(why) = &summary.not_kept {
                job.warn(why);
            }
            if let Some((content, signing, pair)) = signed {
                let root = verity::protect(&image, summary.bytes, content, signing, pair, &progress)?.root_hash();
                job.log(&format!("the root hash of dm-verity is {root}"));
            }
        }
        RootfsFormat::Ext4 => recipes::ext4_rootfs(tree, *epoch)?.write_with(&progress, &pending.create()?)?,
    }
    let bytes = pending.part().metadata()?.len();
    check_limit(bytes, *limit, files)?;
    job.log(&format!("{} of at most {}", size(bytes), size(*limit)));
    pending.commit_before_stamp()?;
    link_beside(link.as_deref(), out)
}

/// Points `link` at the image `out` in the same folder.
pub fn link_beside(link: Option<&Path>, out: &Path) -> Result<()> {
    let Some(link) = link else { return Ok(()) };
    let name = out.file_name().context("the image has a name")?;
    link_atomically(link, Path::new(name))
}

/// Fails if the image of `files` has more bytes than its partition.
pub fn check_limit(bytes: u64, limit: u64, files: &RootfsFiles) -> Result<()> {
    if bytes <= limit {
        return Ok(());
    }
    let hint = match files {
        RootfsFiles::Tar(tar) => format!("`cargo xtask size {}` shows what is large", tar.display()),
        RootfsFiles::Images(step) => format!("`cargo xtask rootfstar`, and `cargo xtask size {}` shows what is large", step.out.display()),
    };
    bail!(
        "the root file system is too large for its partition: {bytes} bytes, {} more than the limit of {limit}\nhint: {hint}",
        bytes - limit
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs::{self, File};

    struct NoImages;

    impl Images for NoImages {
        fn find(&self, reference: &str) -> Result<oci::Image> {
            bail!("there is no image {reference}")
        }
    }

    #[test]
    fn a_tree_has_the_kernel_and_hypervisor_of_files_as_the_tar_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("rootfs.yml"), "files:\n  - {path: boot/kernel, contents: usual, mode: \"0600\"}\n").unwrap();
        fs::write(path("vmlinuz"), "another kernel").unwrap();
        let multiboot2 = [0xe852_50d6_u32, 0, 24, 0_u32.wrapping_sub(0xe852_50d6 + 24), 0, 8].map(u32::to_le_bytes).concat();
        fs::write(path("acrn.bin"), &multiboot2).unwrap();
        let mut step = ComposeRootfs {
            yml: path("rootfs.yml"),
            images: vec![],
            arch: Arch::Amd64,
            sources: folder.path().to_owned(),
            kernel: None,
            hypervisor: None,
            update: false,
            out: path("rootfs.tar"),
        };
        let content = |tree: &Tree, name: &str| match &tree.get(name)?.kind {
            filetree::Kind::File { content, .. } => Some(content.read_all().unwrap()),
            _ => None,
        };
        for (kernel, hypervisor) in [(false, false), (true, false), (false, true), (true, true)] {
            step.kernel = kernel.then(|| path("vmlinuz"));
            step.hypervisor = hypervisor.then(|| (path("acrn.bin"), "boot/acrn.bin".to_owned()));
            let (tree, _) = composed_tree(&step, &NoImages, ComposeMeter::default()).unwrap();
            let wanted: &[u8] = if kernel { b"another kernel" } else { b"usual" };
            assert_eq!(content(&tree, "boot/kernel").as_deref(), Some(wanted));
            assert_eq!(content(&tree, "boot/acrn.bin"), hypervisor.then(|| multiboot2.clone()));
            let (yml, options) = composition(&step, ComposeMeter::default()).unwrap();
            compose::compose(&yml, &NoImages, &options, File::create(&step.out).unwrap()).unwrap();
            assert_eq!(files::put_own_into(&step.out, &step).unwrap(), kernel || hypervisor);
            let of_tar = files::read_tree(&step.out).unwrap();
            assert!(filetree::write_tar(&tree, Vec::new()).unwrap() == filetree::write_tar(&of_tar, Vec::new()).unwrap());
        }
    }
}
