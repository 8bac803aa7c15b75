//! qemu-img: converts raw disks to other formats, and creates and resizes images.

use super::{Cmd, Meter, Output, Tool, Tools, failure, version, version::Found};
use anyhow::{Context as _, Result};
use std::{
    ffi::{OsStr, OsString},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Component, Path, PathBuf},
};

/// Parallel requests. More were no faster on two cores, and their buffers count as our memory.
const COROUTINES: &str = "8";

/// qemu-img, with the destination of its output.
pub struct QemuImg {
    tools: Tools,
    output: Output,
    meter: Option<Meter>,
}

impl QemuImg {
    /// An error if qemu-img is missing.
    pub fn new(tools: &Tools, output: Output) -> Result<Self> {
        drop(tools.cmd(Tool::QemuImg)?);
        Ok(Self { tools: tools.clone(), output, meter: None })
    }

    /// Tells `meter` how far a conversion is: bytes of the raw disk's data.
    #[must_use]
    pub fn measured(self, meter: Meter) -> Self {
        Self { meter: Some(meter), ..self }
    }

    /// Its version for people; none if it prints no number.
    #[must_use]
    pub fn version_text(&self) -> Option<String> {
        match version::find(&self.tools, Tool::QemuImg) {
            Found::Version(found) => Some(version::show(found)),
            _ => None,
        }
    }

    fn command(&self, step: String) -> Result<Cmd> {
        Ok(self.tools.cmd(Tool::QemuImg)?.step(step).output(&self.output))
    }

    fn convert(&self, from: &Path, to: &str, options: &[&str], image: &Path, out: &Path) -> Result<()> {
        let mut cmd = self.command(format!("converting {} to {to}", from.display()))?.arg("convert").args(options);
        if let Some(meter) = self.meter.clone() {
            let total = from.metadata().map_or(0, |raw| raw.blocks() * 512);
            let takes = move |line: &str| percent(line).inspect(|done| meter(share(total, *done), total)).is_some();
            cmd = cmd.arg("-p").output(&self.output.clone().without(takes));
        }
        advise(cmd.arg(image).arg(out).run())
    }

    /// Writes the raw disk `raw` as a qcow2 to `out`, for an image that will soon be rebuilt: compressing would cost more time than it saves.
    pub fn convert_plain(&self, raw: &Path, out: &Path) -> Result<()> {
        self.convert(raw, "qcow2", &["-f", "raw", "-O", "qcow2", "-m", COROUTINES], raw, out)
    }

    /// The same compressed, with the old Makefile's arguments: zlib, in one thread.
    pub fn convert_as_make_did(&self, raw: &Path, out: &Path) -> Result<()> {
        self.convert(raw, "qcow2", &["-c", "-f", "raw", "-O", "qcow2"], raw, out)
    }

    /// [`resize`](Self::resize) with the old Makefile's arguments.
    pub fn resize_as_make_did(&self, image: &Path, mebibytes: u64) -> Result<()> {
        let cmd = self.command(format!("making {} a disk of {mebibytes} MiB", image.display()))?;
        advise(cmd.arg("resize").arg(image).arg(format!("{mebibytes}M")).run())
    }

    /// Writes the raw disk `raw` as `format` (`vdi`, `parallels`) with its `options` to `out`, as a disk of `size` bytes.
    pub fn convert_grown(&self, raw: &Path, format: &str, options: &str, out: &Path, size: u64) -> Result<()> {
        // qemu-img cannot resize these formats, so convert from a larger disk: an overlay of the raw one.
        let dir = out.parent().context("an image has a folder")?;
        let grown =
            tempfile::Builder::new().prefix(".grown-").suffix(".qcow2").tempfile_in(dir).context("cannot make a temporary image")?;
        self.create_overlay(raw, "raw", grown.path())?;
        self.resize(grown.path(), size)?;
        let mut words = vec!["-f", "qcow2", "-O", format, "-m", COROUTINES];
        if !options.is_empty() {
            words.extend(["-o", options]);
        }
        self.convert(raw, format, &words, grown.path(), out)
    }

    /// The command that creates the empty disk `out`.
    pub fn create_command(tools: &Tools, format: &str, out: &Path, mebibytes: u64) -> Cmd {
        let cmd = tools.cmd_unchecked(Tool::QemuImg).step(format!("making the disk {}", out.display()));
        cmd.args(["create", "-f", format]).arg(out).arg(format!("{mebibytes}M"))
    }

    /// The command that resizes the disk of `image` to `size`, as qemu-img writes it: `20G`.
    pub fn resize_command(tools: &Tools, image: &Path, size: &str) -> Cmd {
        let cmd = tools.cmd_unchecked(Tool::QemuImg).step(format!("making {} a disk of {size}", image.display()));
        cmd.arg("resize").arg(image).arg(size)
    }

    /// Creates the qcow2 `out`, an overlay of `base` in the format `format`: writes go to the overlay. It names `base` relative to its own
    /// folder, so that both can move together.
    pub fn create_overlay(&self, base: &Path, format: &str, out: &Path) -> Result<()> {
        let base = from_folder_of(out, base)?;
        let cmd = self.command(format!("making an image on top of {}", base.display()))?;
        advise(cmd.args(["create", "-q", "-f", "qcow2", "-F", format, "-b"]).arg(base).arg(out).run())
    }

    /// Grows the disk of the qcow2 `image` to `size` bytes. qemu-img refuses to shrink it. Does not wait until it is on the disk, as converting
    /// does not: whoever gives the image its name does that, once.
    pub fn resize(&self, image: &Path, size: u64) -> Result<()> {
        let cmd = self.command(format!("making {} a disk of {} MiB", image.display(), size >> 20))?;
        let mut options = OsString::from("driver=qcow2,cache.no-flush=on,file.driver=file,file.filename=");
        options.push(OsStr::from_bytes(&image.as_os_str().as_bytes().split(|byte| *byte == b',').collect::<Vec<_>>().join(&b",,"[..])));
        advise(cmd.args(["resize", "-q", "--image-opts"]).arg(options).arg(size.to_string()).run())
    }
}

/// What `-p` prints, in percent: `    (12.50/100%)`.
fn percent(line: &str) -> Option<f64> {
    line.trim().strip_prefix('(')?.strip_suffix("/100%)")?.parse().ok().filter(|done| (0.0..=100.0).contains(done))
}

fn share(total: u64, percent: f64) -> u64 {
    (total as f64 * percent / 100.0) as u64
}

/// Adds advice to known failures.
fn advise(result: Result<()>) -> Result<()> {
    result.map_err(|error| {
        let said = |text: &str| failure::said(&error, text);
        if said("Failed to get \"write\" lock") || said("Failed to get shared \"write\" lock") {
            error.context("the image is in use by another process\nhint: is a virtual machine running on it?")
        } else if said("No space left on device") {
            error.context("the disk is full")
        } else if said("Use the --shrink option") {
            error.context("the disk would become smaller than its contents\nhint: a larger --media-size")
        } else {
            error
        }
    })
}

/// The path of `to` relative to the folder of `from`. It begins with a dot: QEMU would take a colon in its first part for a protocol.
fn from_folder_of(from: &Path, to: &Path) -> Result<PathBuf> {
    let folder = |path: &Path| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        parent.canonicalize().with_context(|| format!("cannot find the folder of {}", path.display()))
    };
    let (here, there) = (folder(from)?, folder(to)?);
    let common = here.components().zip(there.components()).take_while(|(left, right)| left == right).count();
    let up = here.components().skip(common).map(|_| Component::ParentDir);
    let start = std::iter::once(Component::CurDir).chain(up).chain(there.components().skip(common));
    Ok(start.collect::<PathBuf>().join(to.file_name().with_context(|| format!("{} names no file", to.display()))?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fake;
    use serde_json::{Value, json};
    use std::{
        fs,
        io::Write as _,
        os::unix::fs::FileExt as _,
        sync::{Arc, Mutex},
    };

    #[test]
    fn a_conversion_tells_how_far_it_is_and_its_log_has_none_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let script = "case $1 in --version) echo version 7.2;; *) printf '    (0.00/100%%)\r    (25.00/100%%)\r'; echo no space; \
             printf '    (100.00/100%%)\r    (100.00/100%%)\n'; exit 1;; esac";
        fake::tool(dir.path(), Tool::QemuImg, script);
        let raw = dir.path().join("a.raw");
        fs::write(&raw, vec![1; 1 << 20]).unwrap();
        let blocks = fs::metadata(&raw).unwrap().blocks() * 512;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let meter = Arc::clone(&seen);
        let tool = QemuImg::new(&fake::tools(dir.path()), Output::default().with_log(&log)).unwrap();
        let tool = tool.measured(Arc::new(move |done, total| meter.lock().unwrap().push((done, total))));
        let error = tool.convert_plain(&raw, Path::new("b.qcow2")).unwrap_err().to_string();
        assert!(error.contains("| no space") && !error.contains("100%"), "{error}");
        assert_eq!(*seen.lock().unwrap(), [0, blocks / 4, blocks, blocks].map(|done| (done, blocks)));
        let log = fs::read_to_string(log).unwrap();
        assert!(log.lines().nth(1) == Some("no space") && log.lines().count() == 2, "{log}");
        assert!(log.contains(" -p ") && log.contains("a.raw b.qcow2"), "{log}");
    }

    #[test]
    fn known_failures_carry_advice() {
        let dir = tempfile::tempdir().unwrap();
        let said = "qemu-img: b: error while writing at byte 0: No space left on device";
        fake::tool(dir.path(), Tool::QemuImg, &format!("case $1 in --version) echo version 7.2;; *) echo '{said}'; exit 1;; esac"));
        let tool = QemuImg::new(&fake::tools(dir.path()), Output::default()).unwrap();
        let error = common::error::render(&tool.resize(Path::new("b"), 1 << 30).unwrap_err());
        assert!(
            error.starts_with("error: the disk is full\n  cause: `qemu-img` failed while making b a disk of 1024 MiB: exit status 1\n"),
            "{error}"
        );
    }

    #[test]
    fn real_images_keep_their_bytes_and_get_their_size() {
        let tools = Tools::only_in("/usr/bin:/usr/local/bin:/opt/homebrew/bin");
        let Ok(tool) = QemuImg::new(&tools, Output::default()) else {
            skips::missing("qemu-img", "qemu-utils");
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("a,b");
        fs::create_dir(&dir).unwrap();
        let raw = dir.join("a.raw");
        let mut file = fs::File::create(&raw).unwrap();
        file.write_all(&[7; 100_000]).unwrap();
        file.set_len(8 << 20).unwrap();
        file.write_all_at(b"end", (8 << 20) - 3).unwrap();
        let size = 64 << 20;
        let info = |image: &Path| {
            let text = tools.cmd(Tool::QemuImg).unwrap().args(["info", "--output=json"]).arg(image).stdout().unwrap();
            let info: Value = serde_json::from_str(&text).unwrap();
            (info["format"].clone(), info["virtual-size"].clone())
        };
        let seen = Arc::new(Mutex::new(Vec::new()));
        let meter = Arc::clone(&seen);
        let tool = tool.measured(Arc::new(move |done, total| meter.lock().unwrap().push((done, total))));
        for convert in [QemuImg::convert_plain, QemuImg::convert_as_make_did] {
            let out = dir.join("a.qcow2");
            convert(&tool, &raw, &out).unwrap();
            tool.resize(&out, size).unwrap();
            tools.cmd(Tool::QemuImg).unwrap().args(["check", "-q", "-f", "qcow2"]).arg(&out).run().unwrap();
            assert_eq!(info(&out), (json!("qcow2"), json!(size)));
            let error = format!("{:#}", tool.resize(&out, 1 << 20).unwrap_err());
            assert!(error.starts_with("the disk would become smaller than its contents"), "{error}");
        }
        let data = fs::metadata(&raw).unwrap().blocks() * 512;
        assert_eq!(seen.lock().unwrap().last(), Some(&(data, data)), "what `-p` prints is understood");
        let vdi = dir.join("a.vdi");
        tool.convert_grown(&raw, "vdi", "", &vdi, size).unwrap();
        assert_eq!(info(&vdi), (json!("vdi"), json!(size)));
        assert_eq!(fs::metadata(&raw).unwrap().len(), 8 << 20);
        let back = dir.join("back.raw");
        tools.cmd(Tool::QemuImg).unwrap().args(["convert", "-O", "raw"]).arg(&vdi).arg(&back).run().unwrap();
        assert_eq!(fs::read(&raw).unwrap(), fs::read(&back).unwrap()[..8 << 20]);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 4, "a temporary image was left");
    }
}
