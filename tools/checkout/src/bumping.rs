//! The tree as `pkgbuild::bump` needs it: its packages with all their build.ymls, and the folders of files that name images.

use super::Checkout;
use anyhow::{Context as _, Result};
use pkgbuild::bump::{BumpTree, Member};
use std::{collections::BTreeSet, path::PathBuf};

impl Checkout {
    /// The packages, for new tags.
    pub fn bump_tree(&self) -> Result<BumpTree<'_>> {
        let names = self.package_names()?;
        let member = |name: String| -> Result<Member> {
            let dir = self.profile.packages.folder.join(&name);
            let plain = self.plain_yml(&dir);
            let entries = std::fs::read_dir(&dir).with_context(|| format!("cannot read `{}`", dir.display()))?;
            let files = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            let others: BTreeSet<String> =
                files.filter(|file| file.starts_with("build-") && file.ends_with(".yml") && dir.join(file).is_file()).collect();
            let ymls = std::iter::once(plain.to_owned()).filter(|yml| dir.join(yml).is_file()).chain(others).collect();
            Ok(Member { name, dir, ymls })
        };
        let templates: BTreeSet<PathBuf> = [Some(&self.profile.templates.rootfs), self.profile.templates.installer.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(|template| template.parent().map(PathBuf::from))
            .collect();
        Ok(BumpTree {
            state: &self.state,
            root: &self.root,
            packages: names.into_iter().map(member).collect::<Result<_>>()?,
            templates: templates.into_iter().collect(),
            frozen: self.profile.packages.frozen.clone(),
        })
    }
}
