//! Changes to a root file system and a configuration before they become images: the kernel command line in GRUB's
//! configuration, and the configuration's origin. Shared by xtask and the tool images.

use anyhow::{Context as _, Result, bail};
use filetree::{Content, Kind, Meta, Node, Tree};
use std::path::Path;

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
/// file `origin`, all with mtime `epoch`.
pub fn config_tree(conf: &Path, origin: &str, epoch: i64) -> Result<Tree> {
    let mut tree = Tree::new();
    for entry in walkdir::WalkDir::new(conf).min_depth(1).follow_links(true).sort_by_file_name() {
        let entry = entry.with_context(|| format!("cannot read the configuration folder `{}`", conf.display()))?;
        let path = entry.path().strip_prefix(conf)?;
        let name = path.to_str().with_context(|| format!("the name of `{}` is not UTF-8", entry.path().display()))?;
        // Like the pattern `conf/*` in lf-edge/eve's shell script.
        if name.starts_with('.') {
            continue;
        }
        let node =
            if entry.file_type().is_dir() { Node::dir(0o755, epoch) } else { Node::file(0o644, epoch, Content::of_path(entry.path())?) };
        tree.insert(name, node)?;
    }
    tree.insert(origin, Node { meta: Meta::root(0o644, epoch), kind: Kind::File { content: Content::from(""), link: None } })?;
    Ok(tree)
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
        assert!(fill_cmdline(&mut tree("linux\n")).is_err());
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
}
