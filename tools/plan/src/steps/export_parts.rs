//! Files and folders copied from a package's image beside `rootfs.img`, and the firmware of virtual machines.

use super::{Describe, Keep, Short};
use crate::{
    DiskKind, ImageRef, Need, NodeId,
    planner::{Planner, input, need},
};
use anyhow::Result;
use common::error::usage;
use std::{collections::BTreeMap, path::PathBuf};

/// Copies files and folders out of a package's image.
#[derive(Clone, Debug)]
pub struct ExportParts {
    /// The package's name.
    pub package: String,
    /// Its image.
    pub image: ImageRef,
    /// The destination folder.
    pub out: PathBuf,
    /// Their names below the image's root.
    pub entries: Vec<String>,
    /// Fetch or build the image first if it is missing.
    pub fetch: bool,
}

impl Describe for ExportParts {
    fn describe(&self, short: &Short<'_>) -> String {
        format!("take {} out of {}: {}", self.entries.join(", "), self.image, short(&self.out))
    }

    fn keep(&self) -> Keep {
        Keep::Copied
    }
}

impl Planner<'_> {
    /// The nodes of files and folders beside `rootfs.img`: one per package.
    pub(crate) fn parts(&mut self, entries: &[&'static str]) -> Result<Vec<NodeId>> {
        let mut of_package: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in entries {
            let package = self.facts.profile().parts.get(*entry).ok_or_else(|| self.no_part(entry))?;
            of_package.entry(package.clone()).or_default().push((*entry).to_owned());
        }
        let out = self.layout.parts(DiskKind::Installer);
        of_package.into_iter().map(|(package, entries)| self.part(NodeId::Parts(package.clone()), &package, out.clone(), entries)).collect()
    }

    fn no_part(&self, entry: &str) -> anyhow::Error {
        let name = &self.facts.profile().tree.name;
        let without = "[parts] of its profile names no package that contains it";
        usage(match self.can.packages_are_published {
            true => format!(
                "{name} has no {entry}: {without}\nhint: {entry} may be in an image of another repository: cargo xtask --root DIR kernel-tag prints the kernel's"
            ),
            false => format!(
                "{name} has no {entry}: it has no installer, and {without}\nhint: lf-edge/eve has one: cargo xtask --root DIR installer-raw, for example"
            ),
        })
    }

    /// The nodes of those `entries` that the tree has.
    pub(crate) fn parts_if_any(&mut self, entries: &[&'static str]) -> Result<Vec<NodeId>> {
        let known: Vec<&'static str> = entries.iter().copied().filter(|entry| self.facts.profile().parts.contains_key(*entry)).collect();
        self.parts(&known)
    }

    /// The nodes of those of `some` that the tree has, and of `all`; an error if one of `all` is missing.
    pub(crate) fn more_parts(&mut self, some: &[&'static str], all: &[&'static str]) -> Result<Vec<Need>> {
        let mut ids = self.parts_if_any(&[some, all].concat())?;
        if all.iter().any(|entry| !self.facts.profile().parts.contains_key(*entry)) {
            ids = self.parts(all)?;
        }
        Ok(ids.iter().map(|id| need(id, "boot loader, firmware or installer")).collect())
    }

    fn part(&mut self, id: NodeId, package: &str, out: PathBuf, entries: Vec<String>) -> Result<NodeId> {
        let fetch = self.can.packages_are_published;
        let facts = self.facts.package(package)?;
        let mut needs = self.generated(&facts)?;
        if !fetch {
            needs.push(need(&self.package(package, self.knobs.image.arch, &mut Vec::new())?, "they lie in its image"));
        }
        let image = ImageRef { reference: facts.plain, arch: self.knobs.image.arch };
        let inputs = vec![input("image", &image), input("names", entries.join(" "))];
        let outputs: Vec<PathBuf> = entries.iter().map(|entry| out.join(entry)).collect();
        Ok(self.add(id, inputs, needs, outputs, ExportParts { package: package.to_owned(), image, out, entries, fetch }))
    }

    /// The firmware of virtual machines.
    pub(crate) fn firmware(&mut self) -> Result<NodeId> {
        let profile = self.facts.profile();
        let (package, files) = (profile.firmware.package.clone(), profile.firmware_files(self.knobs.image.arch).to_vec());
        self.part(NodeId::Firmware, &package, self.layout.firmware(), files)
    }
}
