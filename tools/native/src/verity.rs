//! dm-verity for the root file system of a signed image: the second archive of its initrd, which has the kernel check what it reads, and behind the
//! squashfs the tree of hashes with the signed statement about its root. `diskimage::verity` knows the forms, `pkg/verity` has the programs.

use crate::keys::Pair;
use anyhow::{Context as _, Result, bail};
use common::digest::hex;
use diskimage::{
    cpio::CpioWriter,
    verity::{self, Identity, RootStatement, Verity},
};
use filetree::{Kind, Node, Tree};
use plan::Signing;
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt as _,
};

/// The folder of all this in the initrd, whose script looks for it.
const FOLDER: &str = "verity";
/// That of the root file system.
const INITRD: &str = "boot/initrd.img";
/// The kernel's module.
const MODULE: &str = "dm-verity.ko";
/// The records and licences of what was compiled into the programs of pkg/verity.
const RECORDS: [&str; 2] = ["usr/share/doc", "var/lib/dpkg/status.d"];

/// The initrd of `tree` with the archive of `programs`, which is pkg/verity, behind it. The machine then mounts a root file system only if the owner
/// of `pair` has signed its statement, and it is of the version of `signing` and has this `content`.
pub(super) fn with_archive(tree: &Tree, programs: &Tree, signing: &Signing, pair: &Pair<'_>, content: &str, epoch: i64) -> Result<Vec<u8>> {
    let initrd =
        read(tree, INITRD)?.with_context(|| format!("the root file system has no {INITRD}, so its boot chain cannot be signed"))?;
    let mut archive = CpioWriter::gzipped(9, epoch);
    for folder in [FOLDER.to_owned(), format!("{FOLDER}/modules")] {
        archive.append(&folder, 0o040_755, &[])?;
    }
    let mut add = |name: &str, mode: u32, bytes: &[u8]| archive.append(&format!("{FOLDER}/{name}"), 0o100_000 | mode, bytes);
    for (name, mode) in [("open", 0o755), ("dm-create", 0o755), ("eve-rsa.sh", 0o644)] {
        let program = read(programs, &format!("{FOLDER}/{name}"))?;
        add(name, mode, &program.with_context(|| format!("{} has no {FOLDER}/{name}", signing.verity.reference))?)?;
    }
    let modulus = hex(&pair.certificate.rsa_modulus()?).to_uppercase();
    for (name, word) in
        [("modulus", modulus.as_str()), ("version", &signing.version), ("architecture", signing.arch.as_str()), ("content", content)]
    {
        add(name, 0o644, format!("{word}\n").as_bytes())?;
    }
    let mut list = String::new();
    for path in &modules(tree)? {
        let bytes = read(tree, path)?.with_context(|| format!("the root file system has no {path}, which {MODULE} needs"))?;
        let file = path.rsplit('/').next().unwrap_or_default();
        add(&format!("modules/{file}"), 0o644, &bytes)?;
        list.extend([file, "\n"]);
    }
    add("modules.list", 0o644, list.as_bytes())?;
    let archive = archive.into_bytes()?;
    let mut whole = initrd;
    whole.resize(whole.len().next_multiple_of(4), 0);
    whole.extend(archive);
    Ok(whole)
}

/// The SHA-256 of all that is in `tree`, as an archive of tar.
pub(super) fn content(tree: &Tree) -> Result<String> {
    let hash = filetree::write_tar(tree, Sum(Sha256::new())).context("cannot read the root file system")?;
    Ok(hex(&hash.0.finalize()))
}

/// Takes bytes into a digest.
struct Sum(Sha256);

impl Write for Sum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Adds the records and licences of what is in the initrd besides, so that bills of materials and people find them in the image.
pub(super) fn add_records(tree: &mut Tree, programs: &Tree) -> Result<()> {
    for folder in RECORDS {
        for (name, node) in programs.get(folder).and_then(Node::children).into_iter().flatten() {
            let path = [folder.as_bytes(), b"/", name].concat();
            if tree.get(&path).is_none() {
                tree.insert(&path, node.clone())?;
            }
        }
    }
    Ok(())
}

/// The paths of the modules that dm-verity takes, in the order in which they are loaded; none if the kernel has it built in.
fn modules(tree: &Tree) -> Result<Vec<String>> {
    let versions: Vec<_> = tree.get("lib/modules").and_then(Node::children).into_iter().flatten().collect();
    let [(version, _)] = versions[..] else {
        bail!(
            "the root file system has the modules of {} kernels (/lib/modules), and dm-verity must be of the one that starts",
            versions.len()
        );
    };
    let folder = format!("lib/modules/{}", String::from_utf8_lossy(version));
    let table = |name: &str| {
        Ok::<_, anyhow::Error>(String::from_utf8_lossy(&read(tree, &format!("{folder}/{name}"))?.unwrap_or_default()).into_owned())
    };
    let is_it = |path: &str| path.rsplit('/').next() == Some(MODULE);
    if let Some((module, needs)) = table("modules.dep")?.lines().filter_map(|line| line.split_once(':')).find(|(path, _)| is_it(path)) {
        // What is needed first stands last.
        let first_to_last = needs.split_whitespace().rev().chain([module]);
        return Ok(first_to_last.map(|path| format!("{folder}/{path}")).collect());
    }
    if table("modules.builtin")?.lines().any(is_it) {
        return Ok(Vec::new());
    }
    bail!("the root file system has no module {MODULE} (/{folder}/modules.dep), by which the kernel checks a signed root file system");
}

/// Writes the tree and the signed statement behind the squashfs of `used` bytes in `image`, which holds `content`.
pub(super) fn protect(
    image: &File,
    used: u64,
    content: String,
    signing: &Signing,
    pair: &Pair<'_>,
    progress: &dyn Fn(u64, u64),
) -> Result<Verity> {
    let layout = verity::layout(used)?;
    let verity = verity::write(image, &layout, &Identity::of(&signing.version), progress)?;
    let statement = RootStatement { version: signing.version.clone(), architecture: signing.arch.to_string(), content, verity };
    let signature = pair.sign(statement.text()?.as_bytes())?;
    image.write_all_at(&statement.block(&signature)?, layout.statement()).context("cannot write the statement about the root hash")?;
    Ok(statement.verity)
}

/// The content of a file of `tree`; none if there is no such file.
pub(super) fn read(tree: &Tree, path: &str) -> Result<Option<Vec<u8>>> {
    match tree.get(path) {
        Some(Node { kind: Kind::File { content, .. }, .. }) => content.read_all().with_context(|| format!("cannot read {path}")).map(Some),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use filetree::Content;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::new();
        for (path, text) in files {
            tree.insert(path, Node::file(0o644, 0, Content::from(*text))).expect("inserted");
        }
        tree
    }

    #[test]
    fn modules_come_after_those_that_they_need() {
        let dep = "kernel/fs/a.ko:\nkernel/md/dm-verity.ko: kernel/md/dm-bufio.ko kernel/md/dm-mod.ko\nkernel/md/dm-verity.ko.x:\n";
        let found = modules(&tree(&[("lib/modules/6.1/modules.dep", dep)])).expect("modules");
        assert_eq!(found, ["dm-mod", "dm-bufio", "dm-verity"].map(|name| format!("lib/modules/6.1/kernel/md/{name}.ko")));
        let built_in = [("lib/modules/6.1/modules.builtin", "kernel/md/dm-verity.ko\n"), ("lib/modules/6.1/modules.dep", "")];
        assert!(modules(&tree(&built_in)).expect("none").is_empty());
        let error = |files: &[(&str, &str)]| modules(&tree(files)).expect_err("refused").to_string();
        assert!(
            error(&[("lib/modules/6.1/modules.dep", "")]).starts_with("the root file system has no module dm-verity.ko (/lib/modules/6.1/")
        );
        assert!(error(&[]).starts_with("the root file system has the modules of 0 kernels"));
        assert!(
            error(&[("lib/modules/1/a", ""), ("lib/modules/2/a", "")]).starts_with("the root file system has the modules of 2 kernels")
        );
    }

    #[test]
    fn another_content_has_another_digest() {
        let digest = |files: &[(&str, &str)]| content(&tree(files)).expect("a digest");
        let one = digest(&[("a", "1"), ("b", "2")]);
        assert_eq!((one.len(), &one), (64, &digest(&[("b", "2"), ("a", "1")])));
        for other in [&[("a", "1")][..], &[("a", "1"), ("b", "3")], &[("a", "1"), ("c", "2")]] {
            assert_ne!(digest(other), one, "{other:?}");
        }
    }

    #[test]
    fn the_image_keeps_the_records_of_what_its_initrd_holds() {
        let mut image = tree(&[("usr/share/doc/a/copyright", "of the image"), ("var/lib/dpkg/status.d/a", "a")]);
        let of_libc = ("usr/share/doc/libc6-dev/copyright", "libc");
        let programs = tree(&[("usr/share/doc/a/copyright", "of the programs"), of_libc, ("var/lib/dpkg/status.d/libc6-dev", "x")]);
        add_records(&mut image, &programs).expect("added");
        assert!(image.get(of_libc.0).is_some() && image.get("var/lib/dpkg/status.d/libc6-dev").is_some());
        assert_eq!(read(&image, "usr/share/doc/a/copyright").expect("read").as_deref(), Some(&b"of the image"[..]));
    }
}
