//! The bill of materials: copied out of rootfs.tar if the tree puts it there, otherwise made in process, or by syft in a container.

use super::{Describe, Keep, MakeSbom, Short, WriteSbom};
use crate::{
    Composed, NodeId, Step,
    planner::{Planner, input, need},
    signing::STUB_INPUT,
};
use anyhow::Result;
use std::path::PathBuf;

/// Copies a file out of a tar.
#[derive(Clone, Debug)]
pub struct TakeOut {
    /// The tar.
    pub tar: PathBuf,
    /// The file's name in it.
    pub entry: String,
    /// The file.
    pub out: PathBuf,
}

impl Describe for TakeOut {
    fn describe(&self, short: &Short<'_>) -> String {
        format!("take {} out of {}: {}", self.entry, short(&self.tar), short(&self.out))
    }

    fn keep(&self) -> Keep {
        Keep::Copied
    }
}

impl Planner<'_> {
    /// The place of the bill of materials: SBOM, else `rootfs.spdx.json`.
    pub(super) fn sbom_path(&self) -> PathBuf {
        let named = self.knobs.image.sbom.as_ref();
        named.map_or_else(|| self.layout.sbom(&self.platform_suffix()), |path| self.facts.root().join(path))
    }

    /// `rootfs.spdx.json`.
    pub(crate) fn sbom(&mut self) -> Result<NodeId> {
        let made = self.tar(Composed::Rootfs)?;
        let tar = self.tar_path(Composed::Rootfs);
        let out = self.sbom_path();
        let (inputs, reason, step) = match self.facts.profile().sbom.clone() {
            Some(entry) => (vec![input("entry", &entry)], "it lies in there", Step::from(TakeOut { tar, entry, out: out.clone() })),
            None if !self.can.tools_run_in_containers => {
                let version = self.full_version();
                let mut inputs = vec![input("version", &version), self.time()];
                let (yml, epoch) = (self.yml_path(Composed::Rootfs), self.facts.epoch());
                let signing = self.signing(Composed::Rootfs)?;
                inputs.extend(signing.iter().flat_map(|(_, inputs)| inputs.iter().filter(|input| input.name == STUB_INPUT)).cloned());
                let stub = signing.map(|(signing, _)| signing.stub);
                (inputs, "the records of its packages", WriteSbom { tar, yml, version, epoch, stub, out: out.clone() }.into())
            }
            None => {
                let version = &self.knobs.image.syft_version;
                let image = format!("docker.io/anchore/syft:{version}");
                let config = self.facts.root().join(".syft.yaml");
                (vec![input("syft", &image)], "the files", MakeSbom { tar, config, image, out: out.clone() }.into())
            }
        };
        Ok(self.add(NodeId::Sbom, inputs, vec![need(&made, reason)], [out], step))
    }
}
