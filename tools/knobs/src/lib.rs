//! Declares, checks and freezes the knobs. One field of a group, such as [`ImageKnobs`], declares a knob's type, default, help, flag and old
//! name; commands flatten the groups that they use. A value comes from the target's name, the command line (flag or `VAR=value`), the
//! environment, the person's file, the tree's profile or the default, in this order: [`RawKnobs`] collects the texts, clap checks them. Reads no environment
//! and no file itself. Depends on `common` only.

mod formats;
mod image;
mod kinds;
mod known;
mod parse;
mod raw;
mod run;

pub use image::{HostKnobs, ImageKnobs, PackageKnobs};
pub use known::{AllKnobs, Knob, MoreKnobs, all, decides_bytes, find, is_knob};
pub use parse::{StorePlace, Subnet};
pub use raw::{LOCAL, Origin, RawKnobs, Source, named, origins, refuse};
pub use run::{
    BuildVmKnobs, CloudKnobs, ExportKnobs, GoKnobs, GoSourcesKnobs, KeyKnobs, NetKnobs, ParallelsKnobs, PortKnobs, ProtoKnobs, ProxyKnobs,
    ReleaseKnobs, RunKnobs, SerialKnobs, ToolKnobs, VirtualBoxKnobs,
};

pub use formats::{Conversion, FORMATS, Format, ImageFormat, Reads};

use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use common::Arch;
use std::{fmt, path::Path};

common::words! {
    /// A file system of rootfs.img.
    RootfsFormat { /// squashfs, read-only and compressed.
        Squash = "squash", /// ext4, writable, for debugging.
        Ext4 = "ext4" }
}
common::words! {
    /// A compressor of the squashfs.
    Compression { /// Smaller.
        Xz = "xz", /// Faster.
        Gzip = "gzip" }
}

common::words! {
    /// A format of the installer.
    InstallerFormat { /// A disk.
        Raw = "raw", /// A CD, or a stick.
        Iso = "iso", /// A tar for a network boot.
        Net = "net" }
}
common::words! {
    /// What a build does with the team's registry.
    CacheMode { /// Nothing.
        Off = "off", /// Take packages that are there.
        Read = "read", /// Take packages that are there, and send those that were built.
        Write = "write" }
}
common::words! {
    /// What to do about a missing tool.
    InstallTools { /// Install it, if xtask runs as root and apt is here.
        Auto = "auto", /// Report it in an error.
        Never = "never" }
}

/// The knobs of every command that works on a tree, because its version, tags and plans depend on them. Checked, and never changed.
#[derive(Args, Clone)]
pub struct Knobs {
    /// The image.
    #[command(flatten)]
    pub image: ImageKnobs,
    /// Its packages.
    #[command(flatten)]
    pub packages: PackageKnobs,
    /// This machine.
    #[command(flatten)]
    pub host: HostKnobs,
    /// This machine's own architecture, which is no knob.
    #[arg(skip = Arch::Amd64)]
    pub host_arch: Arch,
    /// The value and source of each of the command's knobs, for `summary`.
    #[arg(skip)]
    pub origins: Vec<Origin>,
}

impl Knobs {
    /// The knobs in `matches` of `command`, which got `raw` by [`RawKnobs::inject`]. `root` is the tree's root.
    pub fn of_matches(command: &Command, matches: &ArgMatches, raw: &RawKnobs, root: &Path) -> Result<Self> {
        let mut knobs = Self::from_arg_matches(matches).map_err(|error| refuse(&error, command, raw))?;
        knobs.host_arch = Arch::host()?;
        knobs.origins = origins(command, matches, raw)?;
        knobs.image.conf_dir = root.join(&knobs.image.conf_dir);
        if let Some(StorePlace::Folder(folder)) = &mut knobs.host.store {
            *folder = root.join(&folder);
        }
        if knobs.image.live_update {
            knobs.make_updatable()?;
        }
        Ok(knobs)
    }

    /// For LIVE_UPDATE: the next build writes into the file system of this one, so it is an ext4. A ROOTFS_FORMAT from a weaker source than
    /// LIVE_UPDATE is replaced, any other is an error.
    fn make_updatable(&mut self) -> Result<()> {
        let (format, update) = (self.source("ROOTFS_FORMAT"), self.source("LIVE_UPDATE"));
        if self.image.rootfs_format != RootfsFormat::Ext4 && format != Source::Default && format.rank() <= update.rank() {
            return Err(common::error::usage(format!(
                "LIVE_UPDATE=y ({update}) and ROOTFS_FORMAT={} ({format}): an update in place needs a file system that can be written\n\
                 hint: leave ROOTFS_FORMAT away, or LIVE_UPDATE=n",
                self.image.rootfs_format
            )));
        }
        self.image.rootfs_format = RootfsFormat::Ext4;
        Ok(())
    }

    /// Checks `raw` and fills in the defaults, for a caller without a command line.
    pub fn resolve(raw: &RawKnobs, root: &Path) -> Result<Self> {
        let command = raw.inject(Self::augment_args(Command::new("knobs")));
        let matches = command.clone().try_get_matches_from(["knobs"]).map_err(|error| refuse(&error, &command, raw))?;
        Self::of_matches(&command, &matches, raw, root)
    }

    /// The source of HV's value.
    #[must_use]
    pub fn hypervisor_source(&self) -> Source {
        self.source("HV")
    }

    /// The source of HTTP_PROXY's value.
    #[must_use]
    pub fn http_proxy_source(&self) -> Source {
        self.source("HTTP_PROXY")
    }

    /// The source of HTTPS_PROXY's value.
    #[must_use]
    pub fn https_proxy_source(&self) -> Source {
        self.source("HTTPS_PROXY")
    }

    /// The source of NO_PROXY's value.
    #[must_use]
    pub fn no_proxy_source(&self) -> Source {
        self.source("NO_PROXY")
    }

    /// The source of a knob's value.
    #[must_use]
    pub fn source(&self, name: &str) -> Source {
        self.origins.iter().find(|origin| origin.name == name).map_or(Source::Default, |origin| origin.source)
    }
}

impl fmt::Debug for Knobs {
    /// The values as `summary` shows them, without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.origins).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knobs(words: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<Knobs> {
        let mut raw = RawKnobs::default();
        for (name, value) in words {
            raw.set(name, value, Source::Command)?;
        }
        let _left_out =
            raw.set_from_environment(&|name| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))?;
        Knobs::resolve(&raw, Path::new("/tree"))
    }

    #[test]
    fn the_command_line_beats_the_environment_beats_the_default() {
        let set = knobs(&[("hv", "xen")], &[("HV", "acrn"), ("MEDIA_SIZE", "8192")]).expect("knobs").image;
        assert_eq!((set.hv.as_str(), set.media_size, set.platform.as_str()), ("xen", 8192, "generic"));
    }

    #[test]
    fn old_names_mean_the_same_knob() {
        assert_eq!(knobs(&[("IMG_FORMAT", "gcp")], &[]).expect("knobs").image.image_format, ImageFormat::Gcp);
        let error = knobs(&[("IMG_FORMAT", "gcp"), ("IMAGE_FORMAT", "raw")], &[]).expect_err("two values").to_string();
        assert_eq!(error, "IMAGE_FORMAT is set to `gcp` and to `raw` by the command line");
    }

    #[test]
    fn an_update_in_place_takes_no_squashfs() {
        let format = |words: &[_], environment: &[_]| knobs(words, environment).map(|knobs| knobs.image.rootfs_format);
        assert_eq!(format(&[("LIVE_UPDATE", "y")], &[]).expect("knobs"), RootfsFormat::Ext4);
        assert_eq!(format(&[("LIVE_UPDATE", "y"), ("ROOTFS_FORMAT", "ext4")], &[]).expect("knobs"), RootfsFormat::Ext4);
        assert_eq!(format(&[("LIVE_UPDATE", "y")], &[("ROOTFS_FORMAT", "squash")]).expect("knobs"), RootfsFormat::Ext4);
        for (words, environment) in [
            (&[("LIVE_UPDATE", "y"), ("ROOTFS_FORMAT", "squash")][..], &[][..]),
            (&[("ROOTFS_FORMAT", "squash")][..], &[("LIVE_UPDATE", "y")][..]),
        ] {
            let error = format(words, environment).expect_err("refused").to_string();
            assert!(error.contains("ROOTFS_FORMAT=squash (command line)") && error.contains("hint: leave ROOTFS_FORMAT away"), "{error}");
        }
    }

    #[test]
    fn a_switch_says_yes_only_when_yes_is_said() {
        for (text, on) in [("y", true), ("1", true), ("n", false), ("", false), ("no", false)] {
            assert_eq!(knobs(&[("DEV", text)], &[]).expect("knobs").image.dev, on, "{text}");
        }
        let error = knobs(&[("DEV", "perhaps")], &[]).expect_err("refused").to_string();
        assert_eq!(error, "DEV=perhaps (command line): takes y or n\nhint: --dev=y or DEV=y");
    }

    #[test]
    fn a_variable_that_other_programs_read_is_left_out_if_it_is_no_switch() {
        let found = |name: &str, value: &str| {
            let mut raw = RawKnobs::default();
            let left_out = raw.set_from_environment(&|known| (known == name).then(|| value.to_owned())).expect("no contradiction");
            (left_out, Knobs::resolve(&raw, Path::new("/tree")).map(|knobs| knobs.host.debug))
        };
        for value in ["app:*", "release", "2"] {
            let (left_out, debug) = found("DEBUG", value);
            assert_eq!((left_out, debug.expect("knobs")), (vec!["DEBUG"], false), "{value}");
        }
        let (left_out, debug) = found("DEBUG", "1");
        assert_eq!((left_out, debug.expect("knobs")), (vec![], true));
        let (left_out, refused) = found("DEV", "perhaps");
        let error = refused.map(drop).expect_err("a name of our own stays strict").to_string();
        assert!(left_out.is_empty() && error.starts_with("DEV=perhaps (environment): takes y or n"), "{error}");
        let error = knobs(&[("DEBUG", "release")], &[]).expect_err("refused").to_string();
        assert_eq!(error, "DEBUG=release (command line): takes y or n\nhint: --debug-tools=y or DEBUG=y");
    }

    #[test]
    fn a_bad_value_names_the_knob_and_the_choice() {
        let error = knobs(&[], &[("IMG_FORMAT", "qcow")]).expect_err("refused").to_string();
        assert!(error.starts_with("IMAGE_FORMAT=qcow (environment): takes qcow2, raw"), "{error}");
        assert!(error.ends_with("did you mean qcow2?\nhint: --image-format qcow2 or IMAGE_FORMAT=qcow2"), "{error}");
        let error = knobs(&[("HVV", "xen")], &[]).expect_err("refused").to_string();
        assert!(error.contains("did you mean HV?"), "{error}");
    }

    #[test]
    fn no_name_or_flag_is_declared_twice_and_secrets_are_hidden() {
        AllKnobs::augment_args(Command::new("knobs")).debug_assert();
        let mut names: Vec<&str> = all().iter().flat_map(|knob| knob.names().chain([knob.flag.as_str()])).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        let shown = format!("{:?}", knobs(&[("HTTP_PROXY", "http://me:secret@proxy")], &[]).expect("knobs"));
        assert!(shown.contains("(hidden)") && !shown.contains("secret"), "{shown}");
    }
}
