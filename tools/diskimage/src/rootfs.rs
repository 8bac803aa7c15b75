//! Changes to a root file system and a configuration before they become images: the kernel command line in GRUB's
//! configuration, and the configuration's origin. Shared by xtask and the tool images.

use anyhow::{Context as _, Result, anyhow, bail};
use filetree::{Content, Kind, Meta, Node, Tree};
use std::{
    fs::FileType,
    io::ErrorKind,
    os::unix::{ffi::OsStrExt as _, fs::FileTypeExt as _},
    path::Path,
};

/// Path of GRUB's configuration in the root file system.
pub const GRUB_CFG: &str = "EFI/BOOT/grub.cfg";
/// Path of the kernel command line, written by the composer.
pub const CMDLINE: &str = "boot/cmdline";
/// GRUB variable for the command line, set in a line `set linuxkit_cmdline=…`.
const VARIABLE: &[u8] = b"linuxkit_cmdline";

/// Puts the command line of `boot/cmdline` into every `set linuxkit_cmdline=` of GRUB's configuration. Does nothing without
/// GRUB's configuration; fails if the command line or the line to replace is missing.
pub fn fill_cmdline(tree: &mut Tree) -> Result<()> {
    let Some(Node { kind: Kind::File { content, .. }, .. }) = tree.get(GRUB_CFG) else { return Ok(()) };
    let old = content.read_all().with_context(|| format!("cannot read {GRUB_CFG}"))?;
    let Some(Node { kind: Kind::File { content, .. }, .. }) = tree.get(CMDLINE) else {
        bail!("the root file system has {GRUB_CFG} but no {CMDLINE}: does its yml have a kernel section?");
    };
    let cmdline = content.read_all().with_context(|| format!("cannot read {CMDLINE}"))?;
    let mut new = Vec::with_capacity(old.len() + cmdline.len());
    let mut found = false;
    for line in old.split_inclusive(|byte| *byte == b'\n') {
        match assignment(line) {
            Some(end) => {
                found = true;
                new.extend_from_slice(&line[..end]);
                new.push(b'"');
                new.extend_from_slice(cmdline.trim_ascii());
                new.extend_from_slice(b"\"\n");
            }
            None => new.extend_from_slice(line),
        }
    }
    if !found {
        bail!("{GRUB_CFG} has no line `set linuxkit_cmdline=` for the kernel command line");
    }
    if let Some(Node { kind: Kind::File { content, link }, .. }) = tree.get_mut(GRUB_CFG) {
        *content = Content::from(new);
        *link = None;
    }
    Ok(())
}

/// Offset of the value if `line` is `set linuxkit_cmdline=…`.
fn assignment(line: &[u8]) -> Option<usize> {
    let start = line.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let rest = line[start..].strip_prefix(b"set")?;
    let name = rest.trim_ascii_start();
    (name.len() < rest.len() && name.strip_prefix(VARIABLE)?.starts_with(b"=")).then(|| line.len() - name.len() + VARIABLE.len() + 1)
}

/// Files of a configuration: those of the folder `conf` (links followed, hidden files in `conf` itself omitted) and the empty
/// file `origin`, all with mtime `epoch`. Omits hidden links that lead nowhere, such as an editor's lock `.#server`; refuses other
/// such links, and what is neither a file nor a folder.
pub fn config_tree(conf: &Path, origin: &str, epoch: i64) -> Result<Tree> {
    let mut tree = Tree::new();
    let unreadable = || format!("cannot read the configuration folder `{}`", conf.display());
    if !conf.metadata().with_context(unreadable)?.is_dir() {
        bail!("the configuration `{}` is not a folder", conf.display());
    }
    // Like the pattern `conf/*` in lf-edge/eve's shell script.
    let hidden_above = |path: &Path| path.strip_prefix(conf).is_ok_and(|path| path.as_os_str().as_bytes().starts_with(b"."));
    let walk = walkdir::WalkDir::new(conf).min_depth(1).follow_links(true).sort_by_file_name();
    for entry in walk.into_iter().filter_entry(|entry| !hidden_above(entry.path())) {
        let entry = match entry {
            Err(error) if error.path().is_some_and(|path| hidden_above(path) || is_lost_and_hidden(path)) => continue,
            Err(error) => return Err(describe(error)).with_context(unreadable),
            Ok(entry) => entry,
        };
        let path = entry.path().strip_prefix(conf)?;
        let name = path.to_str().with_context(|| format!("the name of `{}` is not UTF-8", entry.path().display()))?;
        let kind = entry.file_type();
        let node = if kind.is_dir() {
            Node::dir(0o755, epoch)
        } else if kind.is_file() {
            Node::file(0o644, epoch, Content::of_path(entry.path())?)
        } else {
            bail!("`{}` is {}: a configuration contains only files and folders", entry.path().display(), special_name(kind));
        };
        tree.insert(name, node)?;
    }
    tree.insert(origin, Node { meta: Meta::root(0o644, epoch), kind: Kind::File { content: Content::from(""), link: None } })?;
    Ok(tree)
}

/// Whether `path` is a hidden link whose target does not exist, such as the lock `.#server` of an editor.
#[must_use]
pub fn is_lost_and_hidden(path: &Path) -> bool {
    is_dangling(path) && is_hidden(path)
}

/// Whether `path` is a link whose target does not exist.
fn is_dangling(path: &Path) -> bool {
    path.is_symlink() && path.metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."))
}

/// The error with the target of a link that leads nowhere.
fn describe(error: walkdir::Error) -> anyhow::Error {
    match error.path() {
        Some(path) if is_dangling(path) => {
            let target = path.read_link().unwrap_or_default();
            anyhow!("`{}` is a link to `{}`, which does not exist", path.display(), target.display())
        }
        _ => error.into(),
    }
}

fn special_name(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_char_device() => "a character device",
        kind if kind.is_block_device() => "a block device",
        _ => "no regular file",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(grub: &str) -> Tree {
        let mut tree = Tree::new();
        tree.insert(GRUB_CFG, Node::file(0o644, 1, Content::from(grub))).expect("insert");
        tree.insert(CMDLINE, Node::file(0o644, 1, Content::from("console=tty0 a#b&c=\\1\n"))).expect("insert");
        tree
    }

    #[test]
    fn the_command_line_goes_into_its_variable() {
        let mut filled = tree("set x=1\n  set linuxkit_cmdline=old thing\nlinux $linuxkit_cmdline\n");
        fill_cmdline(&mut filled).expect("filled");
        let Some(Node { kind: Kind::File { content, .. }, .. }) = filled.get(GRUB_CFG) else { unreachable!("a file") };
        let text = String::from_utf8(content.read_all().expect("read")).expect("text");
        assert_eq!(text, "set x=1\n  set linuxkit_cmdline=\"console=tty0 a#b&c=\\1\"\nlinux $linuxkit_cmdline\n");
        let error = fill_cmdline(&mut tree("linux\n")).expect_err("no line to fill").to_string();
        assert!(error.ends_with("has no line `set linuxkit_cmdline=` for the kernel command line"), "{error}");
        fill_cmdline(&mut Tree::new()).expect("nothing to do");
    }

    #[test]
    fn a_configuration_has_its_origin_and_no_hidden_files() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::create_dir(folder.path().join("sub")).expect("dir");
        std::fs::write(folder.path().join("sub/.kept"), "x").expect("write");
        std::fs::write(folder.path().join(".hidden"), "x").expect("write");
        std::fs::write(folder.path().join("server"), "s").expect("write");
        let tree = config_tree(folder.path(), "origin.2026-11-22.1.2.3", 7).expect("tree");
        assert!(tree.get("sub/.kept").is_some() && tree.get(".hidden").is_none());
        assert_eq!(tree.get("server").expect("server").meta, Meta::root(0o644, 7));
        assert!(tree.get("origin.2026-11-22.1.2.3").is_some());
    }

    fn refusal(conf: &Path) -> String {
        format!("{:#}", config_tree(conf, "origin", 7).expect_err("refused")).replace(conf.to_str().expect("UTF-8"), "conf")
    }

    #[test]
    fn a_configuration_contains_only_files_and_folders() {
        let folder = tempfile::tempdir().expect("folder");
        let conf = folder.path();
        let pipe = conf.join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
        assert_eq!(refusal(conf), "`conf/pipe` is a named pipe: a configuration contains only files and folders");
        std::fs::rename(pipe, conf.join(".pipe")).expect("rename");
        let _socket = std::os::unix::net::UnixListener::bind(conf.join("talk")).expect("socket");
        assert_eq!(refusal(conf), "`conf/talk` is a socket: a configuration contains only files and folders");
        std::fs::remove_file(conf.join("talk")).expect("remove");
        std::os::unix::fs::symlink("/dev/null", conf.join("null")).expect("link");
        assert_eq!(refusal(conf), "`conf/null` is a character device: a configuration contains only files and folders");
        std::fs::remove_file(conf.join("null")).expect("remove");
        config_tree(conf, "origin", 7).expect("hidden files are omitted, whatever they are");
        assert_eq!(refusal(&conf.join(".pipe")), "the configuration `conf` is not a folder");
        assert!(refusal(&conf.join("none")).starts_with("cannot read the configuration folder `conf`: No such file"));
    }

    #[test]
    fn links_that_lead_nowhere_are_omitted_if_hidden_and_else_named() {
        let folder = tempfile::tempdir().expect("folder");
        let conf = folder.path();
        std::fs::create_dir_all(conf.join("sub")).expect("dir");
        std::fs::create_dir_all(conf.join(".git")).expect("dir");
        std::fs::write(conf.join("server"), "s").expect("write");
        let link = |target: &str, at: &str| std::os::unix::fs::symlink(target, conf.join(at)).expect("link");
        link("user@host.1234:5678", ".#server");
        link("user@host.1234:5678", "sub/.#lock");
        link("nowhere", ".git/broken");
        link(".loop", ".loop");
        link("../server", "sub/good");
        let tree = config_tree(conf, "origin", 7).expect("tree");
        assert!(tree.get("sub/good").is_some() && tree.get("sub/.#lock").is_none() && tree.get(".git").is_none());
        link("missing", "sub/broken");
        assert_eq!(
            refusal(conf),
            "cannot read the configuration folder `conf`: `conf/sub/broken` is a link to `missing`, which does not exist"
        );
    }
}
