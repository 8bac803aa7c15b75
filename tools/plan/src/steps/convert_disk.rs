//! The live disk in the requested format. The table `knobs::FORMATS` says how the formats differ.

use super::{Describe, Keep, MakeDisk, Qcow2, Short};
use crate::{
    DiskKind, Input, NodeId,
    planner::{Planner, input, need},
};
use anyhow::Result;
use common::error::usage;
use knobs::{Conversion, ImageFormat, Reads};
use std::path::PathBuf;

/// A GiB in MiB.
const GIB: u64 = 1024;

/// Converts a disk to another format.
#[derive(Clone, Debug)]
pub struct ConvertDisk {
    /// The raw disk.
    pub raw: PathBuf,
    /// The format.
    pub format: ImageFormat,
    /// The final size of the disk.
    pub size_mib: u64,
    /// The commit's time, for a format that contains one.
    pub epoch: i64,
    /// Compress, if the format can.
    pub compressed: bool,
    /// The id of a Parallels disk.
    pub uuid: String,
    /// The image.
    pub out: PathBuf,
}

impl Describe for ConvertDisk {
    fn describe(&self, short: &Short<'_>) -> String {
        let (raw, size_mib, out) = (short(&self.raw), self.size_mib, short(&self.out));
        match self.format.row().conversion {
            Conversion::Archive => format!("grow {raw} to {size_mib} MiB and archive it: {out}"),
            _ => format!("convert {raw} to {}, {size_mib} MiB: {out}", self.format),
        }
    }

    fn keep(&self) -> Keep {
        match self.format {
            // VirtualBox refuses a second one with the same ids.
            ImageFormat::Vdi => Keep::Never,
            ImageFormat::Qcow2 => Keep::Digests,
            _ => Keep::Local,
        }
    }
}

impl Planner<'_> {
    /// The live disk, the firmware for `run`, and the link `current`.
    pub(crate) fn live(&mut self, format: ImageFormat, with_firmware: bool) -> Result<Vec<NodeId>> {
        let is_of_parts = format == ImageFormat::Qcow2 && self.can.qcow2_is_made_of_parts();
        let disk = if is_of_parts { self.qcow2_of_parts()? } else { self.disk(DiskKind::Live)? };
        let mut goals = Vec::new();
        if with_firmware {
            goals.push(self.firmware()?);
        }
        let is_converted = !is_of_parts && format.row().conversion != Conversion::None;
        let made = if is_converted { self.converted(format, &disk)? } else { disk };
        goals.push(self.current(&made));
        goals.push(self.live_link(&made, format));
        goals.push(made);
        Ok(goals)
    }

    /// The live disk as qcow2: the bytes that the conversion of the raw one gives.
    fn qcow2_of_parts(&mut self) -> Result<NodeId> {
        let (mut inputs, needs, step) = self.disk_step(DiskKind::Live)?;
        let qcow2 = Qcow2 { size_mib: self.knobs.image.media_size, compressed: !self.knobs.image.live_update };
        inputs.extend(self.size_inputs());
        let out = self.layout.live(ImageFormat::Qcow2);
        let step = MakeDisk { qcow2: Some(qcow2), out: out.clone(), ..step };
        Ok(self.add(NodeId::Live(ImageFormat::Qcow2), inputs, needs, [out], step))
    }

    /// The inputs of every format but the raw one.
    fn size_inputs(&self) -> Vec<Input> {
        let mut inputs = vec![input("MEDIA_SIZE", self.knobs.image.media_size)];
        inputs.extend(self.knobs.image.live_update.then(|| input("LIVE_UPDATE", "y")));
        inputs
    }

    fn converted(&mut self, format: ImageFormat, raw: &NodeId) -> Result<NodeId> {
        let out = self.layout.live(format);
        let size_mib = self.knobs.image.media_size;
        if format.row().conversion == Conversion::Archive && !size_mib.is_multiple_of(GIB) {
            return Err(usage(format!(
                "MEDIA_SIZE={size_mib}: Google's cloud takes disks of whole GiB only\nhint: MEDIA_SIZE={}",
                size_mib.next_multiple_of(GIB)
            )));
        }
        let uuid = self.knobs.image.parallels_uuid.to_owned();
        let (mut inputs, compressed) = (self.size_inputs(), !self.knobs.image.live_update);
        inputs.extend(format.row().reads.iter().map(|reads| match reads {
            Reads::Time => self.time(),
            Reads::ParallelsUuid => input("PARALLELS_UUID", &uuid),
        }));
        let (raw_disk, epoch) = (self.layout.disk(DiskKind::Live), self.facts.epoch());
        let (needs, outputs) = (vec![need(raw, "the disk")], [out.clone()]);
        let step = ConvertDisk { raw: raw_disk, format, size_mib, epoch, compressed, uuid, out };
        Ok(self.add(NodeId::Live(format), inputs, needs, outputs, step))
    }
}
