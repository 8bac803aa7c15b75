//! Makes images with the tree's tool images in docker: passes files as volumes and on standard input, and checks the result.

use anyhow::{Context as _, Result, bail};
use child::{Tools, docker::ContainerStep};
use common::artifact::Pending;
use diskimage::recipes::IsoKind;
use executor::Job;
use filetree::{Content, Node as FileNode, Tree};
use knobs::Knobs;
use native::{check_limit, files, link_beside};
use plan::{
    ImageRef, Node, NodeId,
    steps::{MakeConfig, MakeDisk, MakeIso, MakeSbom, MakeStick, PackRootfs, RootfsFiles},
};
use std::{fs::File, io::Write as _, path::Path};

/// Removes the outputs of a failed node, which may be incomplete: the tools write under final names.
pub(super) fn remove_outputs(node: &Node) {
    if matches!(node.id, NodeId::Current | NodeId::LiveImg | NodeId::Package(..) | NodeId::BuildYml(_)) {
        return;
    }
    for path in &node.outputs {
        let _ = if path.is_dir() && !path.is_symlink() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    }
}

/// Creates an empty file for a container to write: docker would create a folder for a volume that does not exist.
fn create(path: &Path) -> Result<File> {
    let folder = path.parent().context("an image has a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    // Remove a link that the native engine left: the container would write to its target.
    let _ = std::fs::remove_file(path);
    File::create(path).with_context(|| format!("cannot write `{}`", path.display()))
}

/// Fails if the file that `tool` should write is missing or empty, or if `look` fails on it.
pub(super) fn check_written(path: &Path, tool: &str, look: impl FnOnce(File) -> Result<()>) -> Result<()> {
    let file = File::open(path).with_context(|| format!("`{tool}` succeeded, but wrote no `{}`", path.display()))?;
    if file.metadata()?.len() == 0 {
        bail!("`{tool}` succeeded, but wrote nothing to `{}`", path.display());
    }
    look(file).with_context(|| format!("`{tool}` succeeded, but wrote a broken `{}`", path.display()))
}

/// Creates a file of `bytes` zeros for a container to write.
fn create_sized(path: &Path, bytes: u64) -> Result<File> {
    let file = create(path)?;
    file.set_len(bytes).with_context(|| format!("cannot write `{}`", path.display()))?;
    // The container may run as another user.
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
    Ok(file)
}

fn reference(tool: Option<&ImageRef>) -> Result<&str> {
    tool.map(|image| image.reference.as_str()).context("a plan for containers names them")
}

/// The tools that start containers, and the origin of the images.
pub(super) struct Containers<'e> {
    pub tools: &'e Tools,
    /// Whether the images are this repository's: they need no privileges, and read SOURCE_DATE_EPOCH.
    pub ours: bool,
    /// Whether their scripts print each command.
    pub debug: bool,
}

impl Containers<'_> {
    /// The options that hand DEBUG to a container.
    const fn debug(&self) -> &'static [&'static str] {
        if self.debug { &["-e", "DEBUG=1"] } else { &[] }
    }
}

pub(super) fn pack_rootfs(at: &Containers<'_>, step: &PackRootfs, job: &Job<'_>) -> Result<()> {
    let PackRootfs { files, out, link, limit, tool, format, epoch, .. } = step;
    let RootfsFiles::Tar(tar) = files else {
        bail!("a container packs a root file system from a tar, and this step has none: this is a bug in xtask");
    };
    drop(create(out)?);
    let epoch = format!("SOURCE_DATE_EPOCH={epoch}");
    let step = ContainerStep {
        step: format!("packing the root file system as {format}"),
        options: if at.ours { &["-i", "--rm", "-e", &epoch] } else { &["-i", "--rm", "-v", "/dev:/dev", "--privileged"] },
        volumes: &[(out, "/rootfs.img")],
        image: reference(tool.as_ref())?,
        arguments: &[],
    };
    step.command(at.tools, &job.output())?.stdin_file(tar).run()?;
    check_written(out, "docker", |_| Ok(()))?;
    check_limit(out.metadata()?.len(), *limit, files)?;
    link_beside(link.as_deref(), out)
}

pub(super) fn make_config(at: &Containers<'_>, root: &Path, step: &MakeConfig, knobs: &Knobs, job: &Job<'_>) -> Result<()> {
    let MakeConfig { conf_dir, files, version, epoch, out, tool, .. } = step;
    let tar = match files.as_slice() {
        [] => configuration_tar(conf_dir, root, *epoch)?,
        files => filetree::write_tar(&files::listed(conf_dir, files, *epoch)?, Vec::new())?,
    };
    drop(create(out)?);
    let (version, arch) = (format!("ROOTFS_VERSION={version}"), format!("ZARCH={}", knobs.image.arch));
    let epoch = format!("SOURCE_DATE_EPOCH={epoch}");
    let mut options = vec!["-i", "--rm", "-e", &version, "-e", &arch];
    if at.ours {
        options.extend(["-e", &epoch]);
    }
    let step = ContainerStep {
        step: "making config.img".into(),
        options: &options,
        volumes: &[(out, "/config.img")],
        image: reference(tool.as_ref())?,
        arguments: &["/config.img"],
    };
    step.command(at.tools, &job.output())?.stdin_bytes(tar).run()?;
    check_written(out, "docker", |_| Ok(()))
}

/// The tar of the configuration without hidden files. Names start with the folder's path in the tree.
fn configuration_tar(conf_dir: &Path, root: &Path, epoch: i64) -> Result<Vec<u8>> {
    let mut tree = Tree::new();
    let name = conf_dir.strip_prefix(root).unwrap_or(conf_dir);
    let visible = |entry: &walkdir::DirEntry| entry.depth() != 1 || !entry.file_name().to_string_lossy().starts_with('.');
    let walk = walkdir::WalkDir::new(conf_dir).min_depth(1).follow_links(true).sort_by_file_name();
    for entry in walk.into_iter().filter_entry(visible) {
        let entry = entry.with_context(|| format!("cannot read `{}`", conf_dir.display()))?;
        let path = name.join(entry.path().strip_prefix(conf_dir)?);
        let path = path.to_str().with_context(|| format!("`{}` has a name that is no text", entry.path().display()))?;
        let node = if entry.file_type().is_dir() {
            FileNode::dir(0o755, epoch)
        } else {
            FileNode::file(0o644, epoch, Content::of_path(entry.path())?)
        };
        tree.insert(path.trim_start_matches('/'), node)?;
    }
    filetree::write_tar(&tree, Vec::new())
}

pub(super) fn make_disk(at: &Containers<'_>, disk: &MakeDisk, job: &Job<'_>) -> Result<()> {
    if let Some(board) = &disk.board {
        native::place_board(&disk.parts, board)?;
    }
    let mut arguments = vec!["/output.img"];
    if disk.grows {
        drop(create_sized(&disk.out, 0)?);
        arguments.insert(0, "-C");
    } else if !disk.keep {
        drop(create_sized(&disk.out, disk.bytes)?);
    }
    arguments.extend(disk.words.iter().map(String::as_str));
    let told = match &disk.platform {
        _ if at.ours => Some(format!("SOURCE_DATE_EPOCH={}", disk.epoch)),
        platform => platform.as_ref().map(|platform| format!("PLATFORM={platform}")),
    };
    let mut options = [&["--rm"], at.debug()].concat();
    options.extend(told.iter().flat_map(|told| ["-e", told]));
    let step = ContainerStep {
        step: format!("partitioning {}.raw", disk.kind.as_str()),
        options: &options,
        volumes: &[(&disk.parts, "/parts"), (&disk.out, "/output.img")],
        image: reference(disk.tool.as_ref())?,
        arguments: &arguments,
    };
    step.command(at.tools, &job.output())?.run()?;
    check_written(&disk.out, "docker", |file| match file.metadata()?.len() {
        bytes if bytes % 512 == 0 => Ok(()),
        bytes => bail!("{bytes} bytes are no whole number of sectors"),
    })
}

pub(super) fn make_iso(at: &Containers<'_>, step: &MakeIso, job: &Job<'_>) -> Result<()> {
    let MakeIso { kind, tar, parts, out, tool, epoch } = step;
    drop(create(out)?);
    let epoch = format!("SOURCE_DATE_EPOCH={epoch}");
    let interactive: &[&str] = if tar.is_some() { &["-i", "--rm"] } else { &["--rm"] };
    let told: &[&str] = match tar {
        Some(_) => &["-e", "VOLUME_LABEL=EVEISO"],
        None if at.ours => &["-e", &epoch],
        None => &[],
    };
    let volumes = [(parts.as_path(), "/bits"), (out.as_path(), "/output.iso")];
    let step = ContainerStep {
        step: format!("making {}", out.file_name().unwrap_or_default().display()),
        options: &[interactive, at.debug(), told].concat(),
        volumes: if tar.is_some() { &[(out, "/output.iso")] } else { &volumes },
        image: reference(tool.as_ref())?,
        arguments: if *kind == IsoKind::Installer { &["installer"] } else { &[] },
    };
    let cmd = step.command(at.tools, &job.output())?;
    match tar {
        Some(tar) => cmd.stdin_file(tar).run()?,
        None => cmd.run()?,
    }
    check_written(out, "docker", |_| Ok(()))
}

pub(super) fn make_stick(at: &Containers<'_>, stick: &MakeStick, job: &Job<'_>) -> Result<()> {
    let tar = filetree::write_tar(&files::stick(stick)?.tree(stick.epoch)?, Vec::new())?;
    let device = format!("{}:/output.img", stick.out.display());
    let epoch = format!("SOURCE_DATE_EPOCH={}", stick.epoch);
    let mut options = vec!["-i", "--rm"];
    if at.ours {
        options.extend(["-e", &epoch]);
    }
    if stick.device {
        options.extend(["--device", &device]);
    }
    let step = ContainerStep {
        step: format!("making the USB stick {}", stick.out.display()),
        options: &options,
        volumes: if stick.device { &[] } else { &[(&stick.out, "/output.img")] },
        image: reference(stick.tool.as_ref())?,
        arguments: &["/output.img", "usb_conf"],
    };
    if !stick.device {
        drop(create_sized(&stick.out, stick.bytes)?);
    }
    step.command(at.tools, &job.output())?.stdin_bytes(tar).run()
}

pub(super) fn make_sbom(at: &Containers<'_>, step: &MakeSbom, spool: &Path, job: &Job<'_>) -> Result<()> {
    let MakeSbom { tar, config, image, out } = step;
    let mut tree = files::read_tree(tar)?;
    // Only root can create devices, and syft ignores them.
    drop(tree.remove("dev"));
    let folder = tempfile::Builder::new().prefix(".tmp").tempdir().context("cannot make a temporary folder")?;
    std::fs::create_dir_all(spool)?;
    files::write_tree(&tree, folder.path())?;
    let step = ContainerStep {
        step: "listing what is in the root file system".into(),
        options: &[],
        volumes: &[(folder.path(), "/rootdir:ro"), (config, "/syft.yaml:ro")],
        image,
        arguments: &["-c", "/syft.yaml", "/rootdir"],
    };
    let pending = Pending::new(out)?;
    let mut file = pending.create()?;
    step.command(at.tools, &job.output())?.read_with(|stream| {
        std::io::copy(stream, &mut file).with_context(|| format!("cannot write `{}`", out.display()))?;
        file.flush().with_context(|| format!("cannot write `{}`", out.display()))
    })?;
    check_written(pending.part(), "docker", |file| {
        let document: serde_json::Value = serde_json::from_reader(std::io::BufReader::new(file)).context("it is no JSON")?;
        if document.get("spdxVersion").is_none() {
            bail!("it is no SPDX document");
        }
        Ok(())
    })?;
    pending.commit()
}
