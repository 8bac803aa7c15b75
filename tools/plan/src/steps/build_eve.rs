//! `eve`: the image that contains all artifacts and can make installers and disks on any machine.

use super::{Describe, PackEve, Short};
use crate::{
    Composed, DiskKind, Facts, ImageRef, Need, NodeId, PackageWork,
    planner::{Planner, input, need},
    profile::BundleTable,
};
use anyhow::Result;
use common::{Arch, error::usage};
use knobs::Knobs;
use std::path::PathBuf;

/// Builds or pushes the image that contains all artifacts.
#[derive(Clone, Debug)]
pub struct BuildEve {
    /// The folder of all artifacts: the build's context.
    pub context: PathBuf,
    /// Files to copy into the context: from, to.
    pub copies: Vec<(PathBuf, PathBuf)>,
    /// The Dockerfile's text.
    pub dockerfile: String,
    /// What to do.
    pub work: PackageWork,
    /// The tag and release of each call of linuxkit, in order.
    pub calls: Vec<(String, Option<String>)>,
    /// The architecture.
    pub arch: Arch,
    /// Build even if the image exists.
    pub force: bool,
}

impl Describe for BuildEve {
    fn describe(&self, short: &Short<'_>) -> String {
        let tags: Vec<&str> = self.calls.iter().map(|(tag, _)| tag.as_str()).collect();
        format!("{} {} as {}", self.work, short(&self.context), tags.join(", "))
    }

    /// docker's store holds this image and we cannot inspect it, so the step always runs.
    fn is_always_due(&self) -> bool {
        true
    }
}

/// The old Makefile's default hypervisor: its images are also pushed without the hypervisor's name.
const DEFAULT_HV: &str = "kvm";

impl Planner<'_> {
    pub(crate) fn eve(&mut self) -> Result<Vec<NodeId>> {
        let profile = self.facts.profile();
        if let Some(bundle) = profile.bundle.clone() {
            let made = self.packed_eve(&bundle)?;
            return Ok(vec![self.current(&made), made]);
        }
        let Some(eve) = profile.eve.clone() else {
            return Err(usage(format!(
                "{} has no image that contains all artifacts: its profile has neither [eve] nor [bundle]\nhint: lf-edge/eve has one: cargo xtask --root DIR --engine linuxkit eve",
                profile.tree.name
            )));
        };
        let needs = self.artifacts()?;
        let context = self.layout.path().to_owned();
        let mut copies: Vec<_> = eve.copies.iter().map(|name| (eve.folder.join(name), context.join(name))).collect();
        let composed = [Some(Composed::Rootfs), self.can.installer_is_composed.then_some(Composed::Installer)];
        for yml in composed.into_iter().flatten().map(|of| self.yml_path(of)) {
            copies.push((yml.clone(), context.join(yml.file_name().unwrap_or_default())));
        }
        let dockerfile = self.facts.fill(&eve.folder.join("Dockerfile.in"))?;
        let work = self.knobs.packages.work;
        let calls = release_calls(self.knobs, self.facts)?;
        let inputs = vec![input("Dockerfile", &dockerfile)];
        let (arch, force) = (self.knobs.image.arch, self.knobs.packages.force);
        let id = self.add(NodeId::Eve, inputs, needs, [], BuildEve { context, copies, dockerfile, work, calls, arch, force });
        Ok(vec![self.current(&id), id])
    }

    /// The image of a tree whose program makes artifacts.
    fn packed_eve(&mut self, bundle: &BundleTable) -> Result<NodeId> {
        // Its program makes installer.net, too.
        self.refuse_to_sign(&bundle.image)?;
        let mut needs = vec![need(&self.package(&bundle.package, self.knobs.host_arch, &mut Vec::new())?, "its program")];
        let mut ids = vec![self.version(), self.rootfs_img()?, self.config_img()?, self.sbom()?, self.firmware()?];
        ids.extend(self.parts(&["kernel", "initrd.img"])?);
        needs.extend(ids.iter().map(|id| need(id, "it goes into the image")));
        let names = ["eve_version", "rootfs.img", "config.img", "kernel", "initrd.img"];
        let mut parts: Vec<_> = names.iter().map(|name| ((*name).to_owned(), self.layout.part(name))).collect();
        parts.push(("rootfs.spdx.json".to_owned(), self.sbom_path()));
        let firmware = self.facts.profile().firmware_files(self.knobs.image.arch);
        parts.extend(firmware.iter().map(|name| (format!("firmware/{name}"), self.layout.firmware().join(name))));
        let live = self.facts.profile().live.clone();
        let mut manifest = serde_json::json!({
            "epoch": self.facts.epoch(),
            "live": {
                "partitions": self.partitions(DiskKind::Live, live.parts),
                "mebibytes": live.mebibytes,
                "grown": self.knobs.image.media_size,
            },
        });
        // Its program is compiled for this machine's architecture only.
        if let Some(installer) = self.facts.profile().installer.clone()
            && self.can.installer_is_own
            && self.knobs.image.arch == self.knobs.host_arch
        {
            needs.push(need(&self.installer_img()?, "it goes into the image"));
            parts.push((installer.image.clone(), self.layout.part(&installer.image)));
            let (partitions, mebibytes) = (installer.parts, installer.mebibytes);
            manifest["installer"] = serde_json::json!({ "partitions": partitions, "mebibytes": mebibytes, "grown": mebibytes });
        }
        let manifest = format!("{manifest:#}\n");
        let reference = format!("{}:{}", bundle.image, self.full_version());
        let program = ImageRef { reference: self.facts.package(&bundle.package)?.plain, arch: self.knobs.host_arch };
        let inputs = vec![input("name", &reference), input("program", &program), input("disks", &manifest), self.time()];
        let (epoch, out) = (self.facts.epoch(), self.layout.eve_image());
        let outputs = [out.clone()];
        Ok(self.add(NodeId::Eve, inputs, needs, outputs, PackEve { program, reference, parts, manifest, epoch, out }))
    }

    /// The needs of the image: all artifacts.
    fn artifacts(&mut self) -> Result<Vec<Need>> {
        let mut ids = vec![self.firmware()?];
        // In one call, because the parts of one package are one node.
        let mut entries = vec!["EFI", "initrd.img", "installer.img", "bsp-imx", "boot"];
        if self.can.installer_is_composed {
            entries.retain(|entry| *entry != "installer.img");
            ids.push(self.installer_img()?);
        }
        // Trees of 2022 have no boards yet.
        let boards = self.facts.profile().parts.contains_key("bsp-imx");
        entries.retain(|entry| boards || *entry != "bsp-imx");
        ids.extend(self.parts(&entries)?);
        ids.extend(self.platform());
        ids.extend([self.config_img()?, self.persist_img(), self.rootfs_img()?, self.sbom()?]);
        ids.extend(self.files(DiskKind::Installer, &[]));
        Ok(ids.iter().map(|id| need(id, "it goes into the image")).collect())
    }
}

/// The tag and the release of each call of linuxkit that builds or pushes an image of one version. For the default hypervisor, a push of a
/// release is done twice: with and without its name.
pub fn release_calls(knobs: &Knobs, facts: &dyn Facts) -> Result<Vec<(String, Option<String>)>> {
    let hv = &knobs.image.hv;
    let release = match knobs.packages.work {
        PackageWork::Push => facts.release()?.release,
        _ => knobs.packages.release.clone(),
    };
    let own = (format!("{}-{hv}", facts.version()), release.as_ref().map(|release| format!("{release}-{hv}")));
    let mut calls = vec![own];
    if let Some(release) = release.filter(|_| hv == DEFAULT_HV) {
        calls.push((format!("{release}-{hv}"), Some(release)));
    }
    Ok(calls)
}
