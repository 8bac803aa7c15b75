//! `inspect FILE[:PARTITION[:PATH]] [PATH]`: shows what an image is, lists a folder in it, prints a file of it, or extracts one of both.

use super::visible::visible;
use anyhow::{Result, bail};
use child::environment::Environment;
use common::error::{Ended, usage};
use diskimage::squashfs::{Entry, EntryKind};
use imagefs::{LookedUp, Spec, Volume, extract, look_up, open_file};
use std::{
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

/// The image to look at, or the place in it.
#[derive(clap::Args)]
pub struct Inspect {
    /// a disk (raw, qcow2, VDI, VHD, Parallels, VMDK in one file), a file system (FAT, squashfs, ext4, ISO 9660), a tar, an archive of an image
    /// (OCI, docker), or a cpio; then the partition by name or number, and a path: live.qcow2:IMGA:/etc/os-release
    #[arg(value_name = "FILE[:PARTITION][:PATH]")]
    file: String,
    /// the path in the image, as after a colon
    #[arg(value_name = "PATH")]
    path: Option<String>,
    /// extract the file, or the folder with all in it, to FILE or into the new folder DIR
    #[arg(long, value_name = "DIR|FILE")]
    out: Option<PathBuf>,
    /// print the result as JSON
    #[arg(long)]
    json: bool,
}

/// A shell's exit code for a program that was killed by SIGPIPE.
const SIGPIPE: u8 = 141;
/// Bytes of a file that decide whether it is a text.
const LOOK: usize = 8 << 10;

/// `inspect`.
pub fn run(_: &Environment, args: Inspect) -> Result<()> {
    let spec = Spec::parse(&args.file, args.path.as_deref());
    let shown = match &args.path {
        Some(path) => format!("{}:{path}", args.file),
        None => args.file.clone(),
    };
    let (volume, path) = match look_up(&spec).map_err(|error| with_newest(error, &spec.file))? {
        LookedUp::Entry(volume, path) => (*volume, path),
        LookedUp::Whole if args.out.is_some() => (open_file(&spec.file, None)?, Vec::new()),
        LookedUp::Whole => return report(&spec.file, args.json).map_err(|error| with_newest(error, &spec.file)),
    };
    for remark in volume.remarks() {
        eprintln!("note: {}", visible(remark));
    }
    if let Some(out) = &args.out {
        return extract_to(&volume, &path, out);
    }
    let Some(entry) = volume.get(&path) else { bail!("`{shown}` is not there") };
    match &entry.kind {
        EntryKind::Dir if args.json => print_json(volume.children(&path).into_iter()),
        EntryKind::Dir => {
            volume.children(&path).into_iter().for_each(|entry| println!("{}", line(entry)));
            Ok(())
        }
        _ if args.json => print_json(std::iter::once(entry)),
        EntryKind::File => print_file(&volume, entry, &shown),
        _ => {
            println!("{}", line(entry));
            Ok(())
        }
    }
}

/// Adds where the file is, if the link `current` leads to a build that has not made it, and another one has.
fn with_newest(error: anyhow::Error, file: &Path) -> anyhow::Error {
    if file.exists() {
        return error;
    }
    match newest(file) {
        Some(path) => {
            error.context(format!("the last build did not make `{}`\nhint: the newest one is {}", file.display(), path.display()))
        }
        None => error,
    }
}

/// The newest file of this name beside the build that `…/current/NAME` means.
fn newest(file: &Path) -> Option<PathBuf> {
    let (name, current) = (file.file_name()?, file.parent()?);
    let builds = std::fs::read_dir(current.parent().filter(|_| current.ends_with("current"))?).ok()?;
    let files = builds.flatten().map(|build| build.path().join(name)).filter(|path| path.parent() != Some(current));
    let times = files.filter_map(|path| Some((path.metadata().and_then(|metadata| metadata.modified()).ok()?, path)));
    times.max().map(|(_, path)| path)
}

/// Shows what the file is.
fn report(file: &Path, json: bool) -> Result<()> {
    let report = diskimage::inspect::inspect(file)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    if let Some(problem) = report.problem() {
        bail!("`{}` is damaged: {}", file.display(), problem.escape_debug());
    }
    if let Some(format) = report.unread() {
        bail!("`{0}` was not looked into: {format} is not read\nhint: qemu-img convert -O raw {0} disk.raw", file.display());
    }
    Ok(())
}

fn extract_to(volume: &Volume, path: &[u8], out: &Path) -> Result<()> {
    let done = extract(volume, path, out)?;
    let size = common::display::size(done.bytes);
    println!("{}: {} files with {size}, {} folders and links", out.display(), done.files, done.others);
    if !done.left_out.is_empty() {
        eprintln!("note: devices, pipes and sockets are left out: {}", shortened(&done.left_out));
    }
    Ok(())
}

fn shortened(names: &[String]) -> String {
    match names.len().checked_sub(5).filter(|more| *more > 0) {
        Some(more) => format!("{} and {more} more", names[..5].join(", ")),
        None => names.join(", "),
    }
}

/// Prints a file's bytes. A terminal gets texts only.
fn print_file(volume: &Volume, entry: &Entry, shown: &str) -> Result<()> {
    let mut out = Output { out: std::io::stdout().lock(), start: Vec::new(), refused: false };
    let terminal = out.out.is_terminal();
    if !terminal {
        out.start.resize(LOOK, 0);
    }
    match volume.copy(entry, &mut out).and_then(|()| Ok(out.flush()?)) {
        Err(_) if out.refused => {
            Err(usage(format!("`{shown}` is no text, so it is not printed on a terminal\nhint: --out FILE, or `| hexdump -C`")))
        }
        Err(error) if error.chain().any(is_closed_pipe) => Err(Ended(SIGPIPE).into()),
        result => result,
    }
}

fn is_closed_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Standard output, which refuses bytes that are no text while the first bytes are looked at.
struct Output<'o> {
    out: std::io::StdoutLock<'o>,
    /// The first bytes.
    start: Vec<u8>,
    refused: bool,
}

impl std::io::Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.start.len() < LOOK {
            let count = bytes.len().min(LOOK - self.start.len());
            self.start.extend_from_slice(&bytes[..count]);
            if is_binary(&self.start) {
                self.refused = true;
                return Err(std::io::Error::other("no text"));
            }
        }
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Whether these first bytes of a file are no text: control characters other than white space, or no UTF-8.
fn is_binary(start: &[u8]) -> bool {
    // The last character may be cut off.
    let utf8 = std::str::from_utf8(start).map_or_else(|error| error.error_len().is_none(), |_| true);
    !utf8 || start.iter().any(|byte| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c) || *byte == 0x7f)
}

/// `-rwxr-xr-x 0:0 1234 name -> target`.
fn line(entry: &Entry) -> String {
    let (kind, size, more) = match &entry.kind {
        EntryKind::Dir => ('d', "-".to_owned(), "/".to_owned()),
        EntryKind::File => ('-', entry.size.to_string(), String::new()),
        EntryKind::Symlink(target) => ('l', "-".to_owned(), format!(" -> {}", shown(target))),
        EntryKind::CharDevice(major, minor) => ('c', format!("{major}, {minor}"), String::new()),
        EntryKind::BlockDevice(major, minor) => ('b', format!("{major}, {minor}"), String::new()),
        EntryKind::Fifo => ('p', "-".to_owned(), String::new()),
        EntryKind::Socket => ('s', "-".to_owned(), String::new()),
    };
    let owner = format!("{}:{}", entry.meta.uid, entry.meta.gid);
    format!("{kind}{} {owner:>9} {size:>12} {}{more}", permissions(entry.meta.mode), shown(name(entry)))
}

fn name(entry: &Entry) -> &[u8] {
    entry.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

fn shown(name: &[u8]) -> String {
    visible(&String::from_utf8_lossy(name))
}

/// `rwxr-xr-x`, with setuid, setgid and sticky as `ls` shows them.
fn permissions(mode: u32) -> String {
    let mut text = String::new();
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift & 7;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

fn print_json<'e>(entries: impl Iterator<Item = &'e Entry>) -> Result<()> {
    let value = |entry: &Entry| {
        let (kind, target, device) = match &entry.kind {
            EntryKind::Dir => ("directory", None, None),
            EntryKind::File => ("file", None, None),
            EntryKind::Symlink(target) => ("symlink", Some(String::from_utf8_lossy(target).into_owned()), None),
            EntryKind::CharDevice(major, minor) => ("character-device", None, Some([*major, *minor])),
            EntryKind::BlockDevice(major, minor) => ("block-device", None, Some([*major, *minor])),
            EntryKind::Fifo => ("fifo", None, None),
            EntryKind::Socket => ("socket", None, None),
        };
        serde_json::json!({
            "path": format!("/{}", String::from_utf8_lossy(&entry.path)), "type": kind, "mode": format!("{:04o}", entry.meta.mode),
            "uid": entry.meta.uid, "gid": entry.meta.gid, "size": entry.size, "mtime": entry.meta.mtime, "target": target, "device": device,
        })
    };
    println!("{}", serde_json::to_string_pretty(&entries.map(value).collect::<Vec<_>>())?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_those_of_ls() {
        for (mode, text) in [(0o755, "rwxr-xr-x"), (0o4755, "rwsr-xr-x"), (0o2640, "rw-r-S---"), (0o1777, "rwxrwxrwt")] {
            assert_eq!(permissions(mode), text);
        }
    }

    #[test]
    fn the_newest_file_beside_current_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |path: &str| folder.path().join(path);
        for (build, age) in [("1", 9), ("2", 5), ("3", 7)] {
            std::fs::create_dir(at(build)).expect("a build");
            let disk = std::fs::File::create(at(build).join("live.qcow2")).expect("a disk");
            disk.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(age)).expect("a time");
        }
        std::fs::create_dir(at("4")).expect("a build without a disk");
        std::os::unix::fs::symlink("4", at("current")).expect("a link");
        assert_eq!(newest(&at("current/live.qcow2")), Some(at("2/live.qcow2")));
        assert_eq!(newest(&at("current/live.vmdk")), None);
        assert_eq!(newest(&at("4/live.qcow2")), None);
        let error = run(
            &Environment::default(),
            Inspect { file: at("current/live.qcow2").display().to_string(), path: None, out: None, json: false },
        );
        let error = format!("{:#}", error.expect_err("no such file"));
        assert!(error.contains(&format!("hint: the newest one is {}", at("2/live.qcow2").display())), "{error}");
    }

    #[test]
    fn a_text_may_be_cut_within_a_character() {
        assert!(!is_binary("na\u{ef}ve\n\tok".as_bytes()));
        assert!(!is_binary(&"na\u{ef}".as_bytes()[..3]));
        assert!(is_binary(b"\x7fELF\x02"));
        assert!(is_binary(b"\xff\xfe text"));
    }
}
