//! From what a person set (flags, `VAR=value` words, environment, `xtask.toml`) to one total, frozen value. This is the
//! only place that knows of flags and environment variables; nothing below it reads the environment.

mod formats;
pub mod table;

pub use formats::{Conversion, FORMATS, Format, ImageFormat, Reads};

use anyhow::Result;
use common::{Arch, PackageWork};
use common::{error::did_you_mean, error::usage};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};
use table::{Decl, Kind, TABLE};

/// Where a knob's value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The name of the target: `live-gcp`.
    Target,
    /// A flag or a `VAR=value` word.
    Command,
    /// The environment.
    Environment,
    /// `xtask.toml` or the tree's profile.
    File,
    /// Nobody set it.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Target => "target's name",
            Self::Command => "command line",
            Self::Environment => "environment",
            Self::File => "xtask.toml",
            Self::Default => "default",
        })
    }
}

/// What was set, as text, not looked at yet; keyed by the knob's own name.
#[derive(Clone, Debug, Default)]
pub struct RawKnobs(BTreeMap<&'static str, (String, Source)>);

impl RawKnobs {
    /// Sets a knob by any of its names. A source set earlier wins, so the strongest comes first; two different values from
    /// one source under two names are refused.
    pub fn set(&mut self, name: &str, value: &str, source: Source) -> Result<()> {
        let Some(decl) = table::find(name) else {
            let hint = did_you_mean(name, TABLE.iter().map(|decl| decl.name))
                .map_or_else(|| "`cargo xtask summary` lists the knobs".to_owned(), |near| format!("did you mean {near}?"));
            return Err(usage(format!("there is no knob {name}\nhint: {hint}")));
        };
        match self.0.get(decl.name) {
            Some((old, from)) if *from == source && old != value => {
                let values = match is_secret(decl, old) || is_secret(decl, value) {
                    true => "two values".to_owned(),
                    false => format!("`{old}` and to `{value}`"),
                };
                Err(usage(format!("{} is set to {values} by the {source}", decl.name)))
            }
            Some(_) => Ok(()),
            None => {
                self.0.insert(decl.name, (value.to_owned(), source));
                Ok(())
            }
        }
    }

    /// What a knob of the table was set to, else its default.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        let default = || table::find(name).map_or("", |decl| decl.default);
        self.0.get(name).map(|(value, _)| value.as_str()).filter(|value| !value.is_empty()).unwrap_or_else(default)
    }

    /// Takes every declared knob out of `lookup` (the environment of the process, or a test's).
    pub fn set_from_environment(&mut self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<()> {
        for decl in TABLE {
            for name in [&decl.name].into_iter().chain(decl.aliases) {
                if let Some(value) = lookup(name) {
                    self.set(name, &value, Source::Environment)?;
                }
            }
        }
        Ok(())
    }
}

/// Whether the value is not to be shown: an address may hold a password.
fn is_secret(decl: &table::Decl, value: &str) -> bool {
    matches!(decl.kind, Kind::Secret) || value.contains("://") && value.contains('@')
}

common::words! {
    /// A file system of rootfs.img.
    RootfsFormat { /// squashfs, read-only and compressed.
        Squash = "squash", /// ext4, for the debugging of what writes to it.
        Ext4 = "ext4" }
}
common::words! {
    /// A compressor of the squashfs.
    Compression { /// Small.
        Xz = "xz", /// Fast.
        Gzip = "gzip" }
}

/// Every knob with its value, checked. Nothing changes it later. Knobs that many places heed are fields; what one command alone
/// heeds is asked for by name.
#[derive(Clone)]
pub struct Knobs {
    /// `ROOTFS_VERSION` when a person set it.
    pub rootfs_version: Option<String>,
    /// `ZARCH`.
    pub arch: Arch,
    /// The machine's own architecture.
    pub host_arch: Arch,
    /// `HV`.
    pub hv: String,
    /// `IMAGE_FORMAT`.
    pub image_format: ImageFormat,
    /// `ROOTFS_FORMAT`.
    pub rootfs_format: RootfsFormat,
    /// `ROOTFS_COMPRESSION`.
    pub compression: Compression,
    /// `CONF_DIR`, absolute.
    pub conf_dir: PathBuf,
    /// `MEDIA_SIZE` in MiB.
    pub media_size: u64,
    /// `PLATFORM`; `generic` when nobody names one.
    pub platform: String,
    /// `DEV`.
    pub dev: bool,
    /// `EVE_HASH`.
    pub eve_hash: Option<String>,
    /// `DEBIAN_MIRROR`.
    pub debian_mirror: Option<String>,
    /// `DEBIAN_SECURITY_MIRROR`.
    pub debian_security_mirror: Option<String>,
    /// `INSTALL_TOOLS` is `auto`.
    pub install_tools: bool,
    /// `TPM`.
    pub tpm: bool,
    /// `NOACCEL`.
    pub no_accel: bool,
    /// `QEMU_MEMORY` in MiB.
    pub memory: u64,
    /// `SSH_PORT`.
    pub ssh_port: u16,
    /// `V`.
    pub verbose: bool,
    /// `RSTATS`.
    pub rstats: bool,
    /// Name, value as text, and source of every knob; secrets included.
    origins: Vec<(&'static str, String, Source)>,
}

impl fmt::Debug for Knobs {
    /// What `summary` shows, so that no secret gets into a message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.shown()).finish()
    }
}

/// What stands for the value of a secret that is set.
pub const HIDDEN: &str = "(hidden)";

impl Knobs {
    /// Checks `raw` and fills in the defaults. `root` is the tree's root.
    pub fn resolve(raw: &RawKnobs, root: &Path) -> Result<Self> {
        let host_arch = Arch::host()?;
        let mut origins = Vec::new();
        for decl in TABLE {
            let (value, source) = raw.0.get(decl.name).cloned().unwrap_or_else(|| (decl.default.to_owned(), Source::Default));
            let value = check(decl, &value, source)?;
            let value = if decl.name == "ZARCH" && value.is_empty() { host_arch.to_string() } else { value };
            origins.push((decl.name, value, source));
        }
        let values = Values(&origins);
        Ok(Self {
            rootfs_version: values.optional("ROOTFS_VERSION"),
            arch: values.parsed("ZARCH"),
            host_arch,
            hv: values.text("HV").to_owned(),
            image_format: values.parsed("IMAGE_FORMAT"),
            // What is written into a running image must be a file system that can be written.
            rootfs_format: if values.text("LIVE_UPDATE") == "y" { RootfsFormat::Ext4 } else { values.parsed("ROOTFS_FORMAT") },
            compression: values.parsed("ROOTFS_COMPRESSION"),
            conf_dir: root.join(values.text("CONF_DIR")),
            media_size: values.parsed("MEDIA_SIZE"),
            platform: values.optional("PLATFORM").unwrap_or_else(|| "generic".to_owned()),
            dev: values.text("DEV") == "y",
            eve_hash: values.optional("EVE_HASH"),
            debian_mirror: values.optional("DEBIAN_MIRROR"),
            debian_security_mirror: values.optional("DEBIAN_SECURITY_MIRROR"),
            install_tools: values.text("INSTALL_TOOLS") == "auto",
            tpm: values.text("TPM") == "y",
            no_accel: values.text("NOACCEL") == "y",
            memory: values.parsed("QEMU_MEMORY"),
            ssh_port: values.parsed("SSH_PORT"),
            verbose: values.text("V") == "y",
            rstats: values.text("RSTATS") == "y",
            origins,
        })
    }

    /// `LINUXKIT_PKG_TARGET`.
    #[must_use]
    pub fn package_work(&self) -> PackageWork {
        Values(&self.origins).parsed("LINUXKIT_PKG_TARGET")
    }

    /// The value of the knob `name` of the table: its own text, or its default.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        Values(&self.origins).text(name)
    }

    /// The value of the knob `name` unless it is empty, which means that nobody set it.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// Where the value of the knob `name` came from.
    #[must_use]
    pub fn source(&self, name: &str) -> Source {
        self.origins.iter().find(|(known, ..)| *known == name).map_or(Source::Default, |(.., source)| *source)
    }

    /// Whether the switch `name` is on.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.text(name) == "y"
    }

    /// Name, value and source of every knob as a person may see them.
    pub fn shown(&self) -> impl Iterator<Item = (&'static str, &str, Source)> {
        self.origins.iter().zip(TABLE).map(|((name, value, source), decl)| {
            let secret = is_secret(decl, value) && !value.is_empty();
            (*name, if secret { HIDDEN } else { value.as_str() }, *source)
        })
    }
}

/// Values that `check` has accepted.
struct Values<'o>(&'o [(&'static str, String, Source)]);

impl<'o> Values<'o> {
    fn text(&self, name: &str) -> &'o str {
        self.0.iter().find(|(known, ..)| *known == name).map(|(_, value, _)| value.as_str()).expect("every knob of the table has a value")
    }

    fn optional(&self, name: &str) -> Option<String> {
        Some(self.text(name).to_owned()).filter(|text| !text.is_empty())
    }

    fn parsed<T: FromStr>(&self, name: &str) -> T {
        self.text(name).parse().ok().expect("the value was checked against the knob's kind")
    }
}

fn not_in_names(c: char) -> bool {
    !c.is_ascii_alphanumeric() && !"._-+".contains(c)
}

/// The value in its one spelling, or an error that names the knob, where it was set and what it takes.
fn check(decl: &Decl, value: &str, source: Source) -> Result<String> {
    let refuse =
        |takes: String| Err(usage(format!("{}={value} ({source}): {takes}\nhint: --{} … or {}=…", decl.name, decl.flag, decl.name)));
    if value.is_empty() && !matches!(decl.kind, Kind::Switch) {
        // An empty text means "not set", as it does to make.
        return Ok(decl.default.to_owned());
    }
    match decl.kind {
        Kind::Path => Ok(value.to_owned()),
        Kind::Text if decl.name == "ROOTFS_VERSION" && (value.starts_with(['.', '-']) || value.contains(not_in_names) || value == "current") => {
            refuse("a version names a folder and images: letters, digits, `.`, `_`, `-` and `+`, no leading `.` or `-`, and not `current`, which is the link to the last one".into())
        }
        Kind::Text | Kind::Secret => Ok(value.to_owned()),
        Kind::Number { least, most, unit } => match value.parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(number.to_string()),
            _ => refuse(format!("takes a whole number from {least} to {most} ({unit})")),
        },
        Kind::Choice(words) if words.contains(&value) => Ok(value.to_owned()),
        Kind::Choice(words) => {
            let near = did_you_mean(value, words.iter().copied()).map_or_else(String::new, |near| format!("; did you mean {near}?"));
            refuse(format!("takes {}{near}", words.join(", ")))
        }
        Kind::Switch => match value.to_ascii_lowercase().as_str() {
            // FORCE_BUILD used to take linuxkit's own option.
            "--force" if decl.name == "FORCE_BUILD" => Ok("y".into()),
            // A switch without a default depends on other knobs until somebody sets it; to nothing, on the command line, is off.
            "" if decl.default.is_empty() && source == Source::Command => Ok("n".into()),
            "" => Ok(decl.default.to_owned()),
            "y" | "yes" | "true" | "on" | "1" => Ok("y".into()),
            "n" | "no" | "false" | "off" | "0" => Ok("n".into()),
            _ => refuse("takes y or n".into()),
        },
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
        raw.set_from_environment(&|name| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))?;
        Knobs::resolve(&raw, Path::new("/tree"))
    }

    #[test]
    fn the_command_line_beats_the_environment_beats_the_default() {
        let set = knobs(&[("hv", "xen")], &[("HV", "acrn"), ("MEDIA_SIZE", "8192")]).expect("knobs");
        assert_eq!((set.hv.as_str(), set.media_size, set.memory), ("xen", 8192, 4096));
    }

    #[test]
    fn old_names_mean_the_same_knob() {
        assert_eq!(knobs(&[("IMG_FORMAT", "gcp")], &[]).expect("knobs").image_format, ImageFormat::Gcp);
        assert!(knobs(&[("IMG_FORMAT", "gcp"), ("IMAGE_FORMAT", "raw")], &[]).is_err());
    }

    #[test]
    fn a_switch_says_yes_only_when_yes_is_said() {
        for (text, tpm) in [("y", true), ("1", true), ("n", false), ("", false), ("no", false)] {
            assert_eq!(knobs(&[("TPM", text)], &[]).expect("knobs").tpm, tpm, "{text}");
        }
        assert!(knobs(&[("TPM", "perhaps")], &[]).is_err());
    }

    #[test]
    fn a_bad_value_names_the_knob_and_the_choice() {
        let error = knobs(&[], &[("IMG_FORMAT", "qcow")]).expect_err("refused").to_string();
        assert!(error.starts_with("IMAGE_FORMAT=qcow (environment): takes qcow2, raw"), "{error}");
        let error = knobs(&[("HVV", "xen")], &[]).expect_err("refused").to_string();
        assert!(error.contains("did you mean HV?"), "{error}");
    }
}
