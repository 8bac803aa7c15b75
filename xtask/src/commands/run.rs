//! `run`: boots the last live image in QEMU. What the guest writes goes into an image beside it, so that what was built stays
//! as it was built, and the next run finds the guest's /persist again.

use crate::{
    context::Ctx,
    error::usage,
    knobs::ImageFormat,
    tools::{Need, Output, Tool, Tools, qemu, qemu_img::QemuImg, qemu_io},
    vm::{Disk, DiskBus, Firmware, Outcome, Setup, VmRequest, getty, machine, run_vm},
};
use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::{
    fs,
    io::{IsTerminal as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// Its arguments; `--tpm`, `--no-accel`, `--memory` and `--ssh-port` are knobs.
pub fn arguments(command: Command) -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| Arg::new(name).long(name).value_name(value).help(help);
    let buses = DiskBus::ALL.map(DiskBus::as_str);
    command
        .arg(Arg::new("what").value_name("WHAT").value_parser(["live"]).default_value("live").help("what to boot"))
        .arg(option("disk", "FILE", "boot this disk, qcow2, vdi or raw by its name, and write to it").value_parser(value_parser!(PathBuf)))
        .arg(option("disk-bus", "BUS", "how the disk is connected; AHCI on amd64 and virtio elsewhere when unset").value_parser(buses))
        .arg(option("serial-log", "FILE", "write what the serial console prints to FILE"))
        .arg(option("until", "TEXT", "succeed and switch the machine off when the serial console prints TEXT"))
        .arg(option("timeout", "SECS", "fail when it takes longer").value_parser(value_parser!(u64).range(1..)))
        .arg(option("cpu", "MODEL", "QEMU's name of the processor"))
        .arg(
            option("cpus", "N", "number of processors; 1 without acceleration, 4 with it when unset")
                .value_parser(value_parser!(u32).range(1..=255)),
        )
        .arg(Arg::new("fresh").long("fresh").action(ArgAction::SetTrue).help("forget what earlier runs wrote to the disk and to the TPM"))
}

/// `run`.
pub fn run(ctx: &Ctx, arguments: &ArgMatches) -> Result<()> {
    let place = Place::find(ctx, arguments.get_one::<PathBuf>("disk"))?;
    let mut setup = setup(ctx, arguments, &place)?;
    if ctx.globals.dry_run {
        println!("{}", machine::show_command(&ctx.tools, &setup)?);
        return Ok(());
    }
    let mut needs =
        vec![Need::new(qemu::tool(ctx.knobs.arch)?, "to run the image"), Need::new(Tool::QemuImg, "to keep what the guest writes apart")];
    if setup.tpm.is_some() {
        needs.push(Need::usual(Tool::Swtpm));
    }
    super::doctor::ensure(ctx, &needs)?;
    if !place.is_given {
        let tool = QemuImg::new(&ctx.tools, Output::default().with_log(place.log("qemu-img")))?;
        let overlay = place.ensure_overlay(&ctx.tools, &tool, arguments.get_flag("fresh"))?;
        setup.disks[0].path = overlay;
        "qcow2".clone_into(&mut setup.disks[0].format);
    }
    let until = arguments.get_one::<String>("until").cloned();
    let timeout = arguments.get_one::<u64>("timeout").map(|seconds| Duration::from_secs(*seconds));
    let request = VmRequest {
        setup,
        until: until.clone(),
        timeout,
        on_terminal: std::io::stdin().is_terminal() && std::io::stdout().is_terminal(),
        echo: Some(Arc::new(echo)),
        say: &|line| eprintln!("{line}"),
    };
    let since = Instant::now();
    let outcome = run_vm(&ctx.tools, request)?;
    let seconds = since.elapsed().as_secs_f32();
    match (outcome, until) {
        (Outcome::Found, Some(text)) => eprintln!("\nthe machine printed `{text}` after {seconds:.1} s"),
        _ => eprintln!("\nthe machine ended after {seconds:.1} s"),
    }
    Ok(())
}

/// The serial port's bytes, as they are, to standard output. Somebody who has stopped reading does not stop the machine.
fn echo(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

/// Where things of the build are, and the disk to boot.
struct Place {
    folder: PathBuf,
    image: PathBuf,
    format: String,
    /// A person named the disk.
    is_given: bool,
}

impl Place {
    /// The build of `ROOTFS_VERSION` where that is set, else the last one; `disk` instead of its image.
    fn find(ctx: &Ctx, disk: Option<&PathBuf>) -> Result<Self> {
        let arch = ctx.knobs.arch;
        let version = ctx.knobs.rootfs_version.as_deref().unwrap_or("current");
        let link = ctx.dist().join(arch.as_str()).join(version);
        let folder = link.canonicalize().map_err(|_| {
            usage(format!("nothing has been built for {arch}: `{}` is missing\nhint: cargo xtask live --zarch {arch}", link.display()))
        })?;
        if let Some(disk) = disk {
            let image = std::path::absolute(disk)?;
            return Ok(Self { folder, format: format_by_name(&image).to_owned(), image, is_given: true });
        }
        let format = ctx.knobs.image_format;
        if matches!(format, ImageFormat::Gcp | ImageFormat::Parallels) {
            return Err(usage(format!("a {format} image is not for QEMU\nhint: --image-format qcow2, raw or vdi")));
        }
        let image = folder.join(format!("live.{format}"));
        if !image.is_file() {
            return Err(usage(format!("`{}` has not been built\nhint: cargo xtask live-{format} --zarch {arch}", image.display())));
        }
        Ok(Self { folder, image, format: format.to_string(), is_given: false })
    }

    fn log(&self, tool: &str) -> PathBuf {
        self.folder.join("logs").join(format!("run-{tool}.log"))
    }

    /// The image that the guest writes to: that of the last run while it stands on the same build, else a new one.
    fn ensure_overlay(&self, tools: &Tools, tool: &QemuImg, fresh: bool) -> Result<PathBuf> {
        let dir = self.folder.join("run");
        fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        let overlay = dir.join(format!("live-{}.qcow2", self.format));
        let note = dir.join(format!("live-{}.base", self.format));
        let base = identity(&self.image)?;
        if !fresh && overlay.is_file() && fs::read_to_string(&note).is_ok_and(|known| known == base) {
            return Ok(overlay);
        }
        if fresh {
            remove_tree(&self.folder.join("swtpm"))?;
        }
        // The note goes first and comes last: an overlay without one is never used.
        remove(&note)?;
        remove(&overlay)?;
        tool.create_overlay(&self.image, &self.format, &overlay)?;
        if let Some(patched) = getty::patch(&self.image, &self.format)? {
            let copy = dir.join("config.img");
            remove(&copy)?;
            patched.layout.write(&fs::File::options().read(true).write(true).create_new(true).open(&copy)?)?;
            let output = Output::default().with_log(self.log("qemu-io"));
            qemu_io::write_at(tools, &overlay, patched.offset, &copy, patched.layout.size(), &output)?;
        }
        fs::write(&note, base).with_context(|| format!("cannot write {}", note.display()))?;
        Ok(overlay)
    }
}

/// A raw disk's own bytes may look like any format's, so that its name tells, not what is in it.
fn format_by_name(disk: &Path) -> &'static str {
    match disk.extension().and_then(|extension| extension.to_str()) {
        Some("qcow2") => "qcow2",
        Some("vdi") => "vdi",
        _ => "raw",
    }
}

/// What tells one build of an image from the next.
fn identity(image: &Path) -> Result<String> {
    let meta = fs::metadata(image).with_context(|| format!("cannot look at {}", image.display()))?;
    Ok(format!("{} bytes, inode {}, {}.{:09} s\n", meta.len(), meta.ino(), meta.mtime(), meta.mtime_nsec()))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The machine for the image as it was built.
fn setup(ctx: &Ctx, arguments: &ArgMatches, place: &Place) -> Result<Setup> {
    let bus = match arguments.get_one::<String>("disk-bus") {
        Some(word) => word.parse().map_err(usage)?,
        None => DiskBus::usual(ctx.knobs.arch),
    };
    let firmware = place.folder.join("installer/firmware");
    Ok(Setup {
        arch: ctx.knobs.arch,
        no_accel: ctx.knobs.no_accel,
        cpu: arguments.get_one::<String>("cpu").cloned(),
        cpus: arguments.get_one::<u32>("cpus").copied(),
        memory: ctx.knobs.memory,
        firmware: Firmware::Flash { code: firmware.join("OVMF_CODE.fd"), vars: firmware.join("OVMF_VARS.fd") },
        disks: vec![Disk { path: place.image.clone(), format: place.format.clone(), bus, discard_writes: false }],
        ssh_port: Some(ctx.knobs.ssh_port),
        tpm: ctx.knobs.tpm.then(|| place.folder.join("swtpm")),
        serial_log: arguments.get_one::<String>("serial-log").map(std::path::absolute).transpose()?,
        tool_log: Some(place.log("qemu")),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tools::fake;

    #[test]
    fn what_the_guest_wrote_is_kept_until_the_image_is_built_anew() {
        let dir = tempfile::tempdir().unwrap();
        fake::tool(
            dir.path(),
            Tool::QemuImg,
            "case $1 in --version) echo version 7.2;; create) eval last=\\${$#}; echo new > \"$last\";; esac",
        );
        let tools: Tools = fake::tools(dir.path());
        let tool = QemuImg::new(&tools, Output::default()).unwrap();
        let image = dir.path().join("live.vdi");
        fs::write(&image, "first").unwrap();
        let place = Place { folder: dir.path().to_owned(), image: image.clone(), format: "vdi".into(), is_given: false };
        let overlay = place.ensure_overlay(&tools, &tool, false).unwrap();
        fs::write(&overlay, "what the guest wrote").unwrap();
        place.ensure_overlay(&tools, &tool, false).unwrap();
        assert_eq!(fs::read_to_string(&overlay).unwrap(), "what the guest wrote");
        fs::create_dir(dir.path().join("swtpm")).unwrap();
        place.ensure_overlay(&tools, &tool, true).unwrap();
        assert_eq!(fs::read_to_string(&overlay).unwrap(), "new\n");
        assert!(!dir.path().join("swtpm").exists());
        fs::write(&overlay, "what the guest wrote").unwrap();
        fs::write(&image, "second!").unwrap();
        place.ensure_overlay(&tools, &tool, false).unwrap();
        assert_eq!(fs::read_to_string(&overlay).unwrap(), "new\n");
    }
}
