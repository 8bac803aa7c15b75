//! Finds the Alpine packages in a root file system. Each container in it has an apk database that lists them.

use anyhow::{Context as _, Result, bail};
use checkout::context::Ctx;
use child::docker;
use diskimage::squashfs;
use std::{collections::BTreeSet, path::Path};

/// The path of a container's database ends with this.
const DATABASE: &str = "lib/apk/db/installed";
/// The largest database that is read, in bytes.
const MOST: u64 = 256 << 20;

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// The name of the build script that made it.
    pub origin: String,
    /// Its version.
    pub version: String,
    /// The commit of the build script; empty if the database does not contain it.
    pub commit: String,
    /// Its license.
    pub license: String,
}

impl Package {
    /// Fails on unsafe names: they become file names and arguments of git.
    pub fn check(&self) -> Result<()> {
        let plain = |text: &str| {
            !text.is_empty()
                && !text.starts_with(['.', '-'])
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+._-".contains(&byte))
        };
        if [&self.name, &self.origin, &self.version].into_iter().all(|text| plain(text))
            && self.commit.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return Ok(());
        }
        bail!(
            "an apk database lists a package with an unsafe name: `{}`, version `{}`, commit `{}`",
            self.origin,
            self.version,
            self.commit
        )
    }
}

/// The packages in all databases, each once.
fn parse(databases: &[Vec<u8>]) -> Vec<Package> {
    let mut packages = BTreeSet::new();
    for database in databases {
        for record in String::from_utf8_lossy(database).replace("\r\n", "\n").split("\n\n") {
            let field = |key: &str| record.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim().to_owned();
            let package =
                Package { name: field("P:"), origin: field("o:"), version: field("V:"), commit: field("c:"), license: field("L:") };
            if !package.origin.is_empty() {
                packages.insert(package);
            }
        }
    }
    let mut packages: Vec<Package> = packages.into_iter().collect();
    packages.dedup_by(|a, b| (&a.name, &a.origin, &a.version, &a.commit) == (&b.name, &b.origin, &b.version, &b.commit));
    packages
}

/// The packages of a root file system in a folder.
pub fn in_folder(folder: &Path) -> Result<Vec<Package>> {
    if !folder.is_dir() {
        return Err(common::error::usage(format!("the folder `{}` does not exist", folder.display())));
    }
    let mut databases = Vec::new();
    for entry in walkdir::WalkDir::new(folder).sort_by_file_name() {
        let entry = entry.with_context(|| format!("cannot read the folder `{}`", folder.display()))?;
        if entry.file_type().is_file() && entry.path().ends_with(DATABASE) {
            databases.push(std::fs::read(entry.path()).with_context(|| format!("cannot read `{}`", entry.path().display()))?);
        }
    }
    Ok(parse(&databases))
}

/// The packages of a root file system.
pub fn in_tree(tree: &filetree::Tree) -> Result<Vec<Package>> {
    let mut databases = Vec::new();
    tree.walk(&mut |path, node| {
        if let filetree::Kind::File { content, .. } = &node.kind
            && is_database(path)
        {
            databases.push(content.read_all()?);
        }
        Ok(())
    })?;
    Ok(parse(&databases))
}

/// The packages in the /bits/rootfs.img of docker images; with `--dry-run` prints the commands that would read them.
pub fn in_images(ctx: &Ctx, images: &[String]) -> Result<Vec<Package>> {
    let mut databases = Vec::new();
    for image in images {
        let cmd = docker::cat_command(&ctx.tools, image, "/bits/rootfs.img")?;
        if ctx.globals.dry_run {
            println!("{cmd}");
            continue;
        }
        let mut file = tempfile::tempfile().context("cannot make a temporary file")?;
        cmd.read_with(|stream| std::io::copy(stream, &mut file).context("cannot write a temporary file"))?;
        let reader = squashfs::Reader::open(file).with_context(|| format!("/bits/rootfs.img of {image}"))?;
        for entry in reader.list()? {
            if entry.kind == squashfs::EntryKind::File && is_database(&entry.path) {
                databases.push(reader.read_file(&entry.path, MOST)?);
            }
        }
    }
    Ok(parse(&databases))
}

fn is_database(path: &[u8]) -> bool {
    path.strip_suffix(DATABASE.as_bytes()).is_some_and(|before| before.is_empty() || before.ends_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_read_once() {
        let text =
            b"C:Q1x=\nP:musl-utils\nV:1.2.3-r4\nL:MIT AND GPL-2.0\no:musl\nc:0a1b\nF:usr\nR:x\n\nP:odd\nV:1\no:odd\n\nP:no-origin\nV:1\n\n";
        let packages = parse(&[text.to_vec(), text.to_vec()]);
        assert_eq!(packages.len(), 2);
        assert_eq!(
            (packages[0].origin.as_str(), packages[0].commit.as_str(), packages[0].license.as_str()),
            ("musl", "0a1b", "MIT AND GPL-2.0")
        );
        assert!(packages[0].check().is_ok() && packages[1].commit.is_empty());
        for unsafe_one in [
            Package { origin: "../x".into(), ..packages[0].clone() },
            Package { commit: "--all".into(), ..packages[0].clone() },
            Package { version: String::new(), ..packages[0].clone() },
        ] {
            let error = unsafe_one.check().expect_err("unsafe").to_string();
            let Package { origin, version, commit, .. } = unsafe_one;
            let named = format!("`{origin}`, version `{version}`, commit `{commit}`");
            assert_eq!(error, format!("an apk database lists a package with an unsafe name: {named}"));
        }
        assert!(
            is_database(b"lib/apk/db/installed")
                && is_database(b"containers/a/lib/apk/db/installed")
                && !is_database(b"xlib/apk/db/installed")
        );
    }
}
