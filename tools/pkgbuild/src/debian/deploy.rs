//! `RUN eve-debian-deploy.sh` in process: unpacks the closure of `BUILD_PKGS` into the stage's root, and that of `PKGS` into
//! `/out`.

use super::{Archive, Pin, unpack::unpack};
use anyhow::{Context as _, Result};
use filetree::{Content, Kind, Meta, Node, Tree};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// Options of [`deploy`].
pub struct DeployOptions<'a> {
    /// Folder for temporary files; holds the unpacked packages.
    pub spool: &'a Path,
    /// Number of packages to unpack in parallel; at least one.
    pub jobs: usize,
    /// Mtime of generated files (`/out` itself, list of packages, certificate bundle): Unix timestamp.
    pub mtime: i64,
}

/// Unpacked packages as `name version`, in byte order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployed {
    /// In the stage's root.
    pub build: Vec<String>,
    /// In `/out`.
    pub out: Vec<String>,
}

/// The names that a deploy takes from an archive, and those that it leaves out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    build: Vec<String>,
    out: Vec<String>,
    dropped: Vec<String>,
}

impl Selection {
    /// What the variables in `env` select for `arch`: see [`deploy`].
    #[must_use]
    pub fn of(env: &BTreeMap<String, String>, arch: &str) -> Self {
        let names = |variable: &str| -> Vec<String> {
            let values = [variable.to_owned(), format!("{variable}_{arch}")];
            let values = values.iter().filter_map(|name| env.get(name));
            values.flat_map(|value| value.split_ascii_whitespace()).map(str::to_owned).collect()
        };
        Self { build: names("BUILD_PKGS"), out: names("PKGS"), dropped: names("DROP_PKGS") }
    }

    /// Everything of `archive` that decides what a deploy of this selection unpacks, as lines of text: the packages in their order, each
    /// with the digest of its file.
    pub fn inputs(&self, archive: &Archive) -> Result<String> {
        let (build, out) = self.closures(archive)?;
        let line = |root: &str, pin: &Pin| format!("{root} {} {} {} {}\n", pin.name, pin.version, pin.arch, pin.sha256);
        let lines = build.iter().map(|pin| line("build", pin)).chain(out.iter().map(|pin| line("out", pin)));
        Ok(format!("merged-usr {}\n{}", archive.merged_usr, lines.collect::<String>()))
    }

    fn closures<'a>(&self, archive: &'a Archive) -> Result<(Vec<&'a Pin>, Vec<&'a Pin>)> {
        let closure =
            |names: &[String], variable: &str| archive.lock.closure(names, &self.dropped).with_context(|| format!("in {variable}"));
        Ok((closure(&self.build, "BUILD_PKGS")?, closure(&self.out, "PKGS")?))
    }
}

/// Unpacks packages of the stage's archive (`/packages/ARCH`) into the stage, for `arch` (`amd64`, `arm64`). Variables in
/// `env`, the environment of the RUN: `PKGS`, `PKGS_ARCH`, `BUILD_PKGS`, `BUILD_PKGS_ARCH`; `DROP_PKGS` and `DROP_PKGS_ARCH`
/// list packages that are left out of the closures. A second deploy adds to the first.
pub fn deploy(stage: &mut Tree, arch: &str, env: &BTreeMap<String, String>, options: &DeployOptions<'_>) -> Result<Deployed> {
    let archive = Archive::from_tree(stage, arch)?;
    let (build, out) = Selection::of(env, arch).closures(&archive)?;
    let debs = |pins: &[&Pin]| -> Vec<(Pin, Content)> {
        pins.iter().filter_map(|pin| Some(((*pin).clone(), archive.debs.get(&pin.name)?.clone()))).collect()
    };
    let into = |root: &mut Tree, pins: &[&Pin]| -> Result<Vec<String>> {
        let debs = debs(pins);
        let debs: Vec<(&Pin, &Content)> = debs.iter().map(|(pin, content)| (pin, content)).collect();
        unpack(root, &debs, options.spool, options.jobs, options.mtime)?;
        if archive.merged_usr {
            link_from_old_places(root, options.mtime)?;
        }
        Ok(pins.iter().map(|pin| format!("{} {}", pin.name, pin.version)).collect())
    };
    // `/out` is the root of packages unpacked there, so their links stay inside it.
    let root = stage.remove("out").filter(|node| matches!(node.kind, Kind::Dir(_)));
    let mut out_tree = Tree { root: root.unwrap_or_else(|| Node::dir(0o755, options.mtime)) };
    let deployed = Deployed { build: into(stage, &build)?, out: into(&mut out_tree, &out)? };
    stage.insert("out", out_tree.root)?;
    Ok(deployed)
}

/// Gives each entry of `/usr/bin`, `/usr/sbin`, `/usr/lib` and `/usr/lib64` a link in the folder of the same name in `/`, where
/// programs and the dynamic loader are looked for. Links of the folders themselves, as Debian 13 has them, would replace the
/// folders of an image that lies below.
fn link_from_old_places(root: &mut Tree, mtime: i64) -> Result<()> {
    for folder in ["bin", "sbin", "lib", "lib64"] {
        let names = root.get(format!("usr/{folder}")).and_then(Node::children).map(|entries| entries.keys().cloned().collect::<Vec<_>>());
        for name in names.into_iter().flatten() {
            let at = [folder.as_bytes(), b"/", &name].concat();
            // The archive image has links of that name to busybox, which a package's own program replaces.
            if root.get(&at).is_none_or(|there| matches!(there.kind, Kind::Symlink(_))) {
                let target = [b"../usr/", at.as_slice()].concat();
                root.insert(&at, Node { meta: Meta::root(0o777, mtime), kind: Kind::Symlink(target) })?;
            }
        }
    }
    Ok(())
}
