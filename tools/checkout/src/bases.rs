//! The packages that Dockerfiles start from: those of the tree with their present tags, and outdated tags.

use super::Checkout;
use anyhow::{Context as _, Result};
use common::Arch;
use pkgbuild::dockerfile::{ImageUse, ImagesByArch};
use plan::BasePackage;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

impl Checkout {
    /// The packages that a Dockerfile names with their present tags. Other images must be in the cache.
    /// `generated` is the Dockerfile if the package has a template of it.
    pub(super) fn bases(&self, dir: &Path, generated: Option<&str>) -> Result<Vec<BasePackage>> {
        // If images are in a registry, bases matter only for the order of packages.
        let path = dir.join("Dockerfile");
        if self.can.packages_are_published {
            return match (self.profile.packages.ordered, generated) {
                (false, _) => Ok(Vec::new()),
                (true, Some(text)) => Ok(self.order(dir, &self.known.images_in(&path, text)?)),
                (true, None) if !self.has_file(&path) => Ok(Vec::new()),
                (true, None) => Ok(self.order(dir, &self.known.images(&path, self.file_id(&path).as_deref())?)),
            };
        }
        let images = self.known.images(&path, self.file_id(&path).as_deref())?;
        let mut bases = BTreeSet::new();
        for target in Arch::ALL.iter().copied() {
            for image in images.of(target.as_str(), self.knobs.host_arch.as_str()).context("every architecture is considered")? {
                if let Some(name) = self.package_of_base(&image.reference)? {
                    bases.insert(BasePackage { name, on_build_machine: image.on_build_machine, target: Some(target) });
                }
            }
        }
        Ok(bases.into_iter().collect())
    }

    /// The package whose present tag is that of the image `reference`. Many packages have the same base, so it is looked up once.
    fn package_of_base(&self, reference: &str) -> Result<Option<String>> {
        if let Some(known) = self.base_packages.borrow().get(reference) {
            return Ok(known.clone());
        }
        let parts = reference.rsplit_once(':');
        let named = parts.and_then(|(repository, tag)| Some((repository.rsplit('/').next()?.strip_prefix("eve-")?, tag)));
        let package = match named.filter(|(name, _)| self.profile.packages.folder.join(name).is_dir()) {
            Some((name, tag)) if self.package_reference(name)?.ends_with(&format!(":{tag}")) => Some(name.to_owned()),
            _ => None,
        };
        self.base_packages.borrow_mut().insert(reference.to_owned(), package.clone());
        Ok(package)
    }

    /// Packages that Dockerfiles name with an outdated tag, and the packages of these Dockerfiles. The bool tells whether it is the tag that
    /// the package gets with the next commit.
    pub fn old_bases(&self) -> Result<BTreeMap<(String, bool), Vec<String>>> {
        let mut old: BTreeMap<(String, bool), Vec<String>> = BTreeMap::new();
        for user in self.package_names()? {
            let path = self.profile.packages.folder.join(&user).join("Dockerfile");
            // The build reports errors of a Dockerfile.
            let Ok(images) = self.known.images(&path, self.file_id(&path).as_deref()) else { continue };
            for image in images.all() {
                let Some((repository, _)) = image.reference.rsplit_once(':') else { continue };
                let Some(name) = repository.rsplit('/').next().and_then(|image| image.strip_prefix("eve-")) else { continue };
                if self.profile.packages.folder.join(name).is_dir() && self.package_reference(name)? != image.reference {
                    let is_next = self.committed_reference(name)? == image.reference;
                    let users = old.entry((name.to_owned(), is_next)).or_default();
                    if !users.contains(&user) {
                        users.push(user.clone());
                    }
                }
            }
        }
        Ok(old)
    }

    /// The packages that the Dockerfile in `dir` names with any tag; they are built first, because their tags may change.
    fn order(&self, dir: &Path, images: &ImagesByArch) -> Vec<BasePackage> {
        let own = dir.file_name().unwrap_or_default();
        let mut bases = BTreeSet::new();
        for ImageUse { reference, .. } in images.all() {
            // `alpine:3.22` is an image of docker's own, not that of pkg/alpine.
            let Some((_, name)) = reference.rsplit_once('/') else { continue };
            let name = name.split([':', '@']).next().unwrap_or_default();
            let name = name.strip_prefix("eve-").unwrap_or(name);
            if !name.is_empty() && own != name && self.profile.packages.folder.join(name).join("build.yml").is_file() {
                bases.insert(BasePackage { name: name.to_owned(), on_build_machine: false, target: None });
            }
        }
        bases.into_iter().collect()
    }
}
