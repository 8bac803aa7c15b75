//! The formats of the live disk: the values of IMAGE_FORMAT, and a table with one row per format for the plan and the command line. The
//! engines convert the disk: `tools/native/src/convert.rs`.

common::words! {
    /// A format of the live disk image.
    ImageFormat { /// QEMU's.
        Qcow2 = "qcow2", /// The disk's bytes.
        Raw = "raw", /// VirtualBox's.
        Vdi = "vdi", /// A Parallels bundle.
        Parallels = "parallels", /// A tar.gz for Google's cloud.
        Gcp = "gcp", /// VMware's, compressed.
        Vmdk = "vmdk", /// Azure's, of a fixed size.
        Vhd = "vhd" }
}

/// One format of the live disk.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// The format.
    pub format: ImageFormat,
    /// The verb that builds it.
    pub verb: &'static str,
    /// The verb's line of help.
    pub help: &'static str,
    /// The name of the disk's file.
    pub file: &'static str,
    /// How the raw disk is converted.
    pub conversion: Conversion,
    /// Values that its bytes depend on, besides the raw disk and MEDIA_SIZE.
    pub reads: &'static [Reads],
    /// QEMU boots it and can write to it.
    pub boots_in_qemu: bool,
}

/// How a raw disk is converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// Not at all.
    None,
    /// To qcow2, in this process; compressed unless LIVE_UPDATE is on.
    Qcow2,
    /// With `qemu-img convert -O NAME -o OPTIONS`, from a disk grown to MEDIA_SIZE before, because qemu-img cannot resize the result.
    Grown {
        /// qemu-img's name of the format.
        name: &'static str,
        /// qemu-img's options of the format; empty for none.
        options: &'static str,
    },
    /// To a folder with the disk, converted by qemu-img, and its description.
    Bundle,
    /// To a compressed archive, in this process.
    Archive,
}

impl Conversion {
    /// Whether `qemu-img` is started.
    #[must_use]
    pub const fn is_by_qemu_img(self) -> bool {
        matches!(self, Self::Grown { .. } | Self::Bundle)
    }
}

/// A value that the bytes of some formats depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// The commit's time.
    Time,
    /// PARALLELS_UUID.
    ParallelsUuid,
}

/// All formats, in the order of the help.
pub const FORMATS: &[Format] = &[
    Format {
        format: ImageFormat::Raw,
        verb: "live-raw",
        help: "build the live disk as a raw image",
        file: "live.raw",
        conversion: Conversion::None,
        reads: &[],
        boots_in_qemu: true,
    },
    Format {
        format: ImageFormat::Qcow2,
        verb: "live-qcow2",
        help: "build the live disk as qcow2, for QEMU",
        file: "live.qcow2",
        conversion: Conversion::Qcow2,
        reads: &[],
        boots_in_qemu: true,
    },
    Format {
        format: ImageFormat::Vdi,
        verb: "live-vdi",
        help: "build the live disk as vdi, for VirtualBox",
        file: "live.vdi",
        conversion: Conversion::Grown { name: "vdi", options: "" },
        reads: &[],
        boots_in_qemu: true,
    },
    Format {
        format: ImageFormat::Gcp,
        verb: "live-gcp",
        help: "build the live disk as an archive for Google's cloud",
        file: "live.img.tar.gz",
        conversion: Conversion::Archive,
        reads: &[Reads::Time],
        boots_in_qemu: false,
    },
    Format {
        format: ImageFormat::Parallels,
        verb: "live-parallels",
        help: "build the live disk as a bundle for Parallels Desktop",
        file: "live.parallels",
        conversion: Conversion::Bundle,
        reads: &[Reads::ParallelsUuid],
        boots_in_qemu: false,
    },
    Format {
        format: ImageFormat::Vmdk,
        verb: "live-vmdk",
        help: "build the live disk as a compressed vmdk, for VMware",
        file: "live.vmdk",
        conversion: Conversion::Grown { name: "vmdk", options: "subformat=streamOptimized" },
        reads: &[],
        // QEMU cannot write to it.
        boots_in_qemu: false,
    },
    Format {
        format: ImageFormat::Vhd,
        verb: "live-vhd",
        help: "build the live disk as a fixed vhd, for Azure",
        file: "live.vhd",
        // Without force_size qemu-img rounds the size up to whole cylinders.
        conversion: Conversion::Grown { name: "vpc", options: "subformat=fixed,force_size=on" },
        reads: &[Reads::Time],
        boots_in_qemu: false,
    },
];

impl ImageFormat {
    /// The format's row.
    #[must_use]
    pub fn row(self) -> &'static Format {
        FORMATS.iter().find(|row| row.format == self).expect("a test checks that every format has a row")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_a_row_and_its_verb() {
        assert_eq!(ImageFormat::WORDS.len(), FORMATS.len());
        for word in ImageFormat::WORDS {
            let row = word.parse::<ImageFormat>().expect("a format").row();
            assert_eq!(row.verb, format!("live-{word}"));
        }
    }
}
