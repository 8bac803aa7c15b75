//! Has a firmware in setup mode take the keys of the medium: PK, KEK and db, by which it starts this EVE and nothing else from then on. The signed
//! variables lie in the installer's root file system, and are written to efivarfs as the UEFI specification (2.10, chapter 32.3) says: PK last, because
//! it ends the setup mode.

use anyhow::{Context as _, Result, bail};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use secureboot::variable::{ATTRIBUTES, Variable, list_of_signed, setup_mode_name};
use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
};

/// The folder of the signed variables, below the root folder.
const FOLDER: &str = "etc/secure-boot";
/// The variables of the firmware, below the root folder.
const EFIVARFS: &str = "sys/firmware/efi/efivars";
/// The order in which a firmware takes them.
const ORDER: [Variable; 3] = [Variable::Db, Variable::Kek, Variable::Pk];

/// The variables of a firmware, by their names in efivarfs. A value begins with four bytes of attributes.
pub trait EfiVariables {
    /// The value of a variable; none if there is no such variable.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Has the firmware take a value.
    fn write(&self, name: &str, value: &[u8]) -> io::Result<()>;
}

/// What the firmware is to take, after it was found that it can.
#[derive(Debug)]
pub struct Enrolment {
    signed: Vec<(Variable, Vec<u8>)>,
    is_done: bool,
}

impl Enrolment {
    /// Reads the keys of the medium, and asks `firmware` whether it takes them. Changes nothing.
    pub fn prepare(root: &Path, firmware: &dyn EfiVariables) -> Result<Self> {
        let mut signed = Vec::new();
        for variable in ORDER {
            let path = root.join(FOLDER).join(format!("{}.auth", variable.name()));
            match fs::read(&path) {
                Ok(bytes) => {
                    list_of_signed(&bytes).with_context(|| path.display().to_string())?;
                    signed.push((variable, bytes));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => bail!(
                    "this medium has no keys ({}): make it with --sign and a folder of keys with PK.auth, KEK.auth and db.auth",
                    path.display()
                ),
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
            }
        }
        let mode = firmware.read(&setup_mode_name()).context("cannot read the firmware's variable SetupMode")?;
        let Some(mode) = mode else { bail!("the firmware of this machine has no Secure Boot: it has no variable SetupMode") };
        let mut enrolment = Self { signed, is_done: false };
        if mode.get(4) != Some(&1) {
            enrolment.is_done = enrolment.is_enrolled(firmware)?;
            if !enrolment.is_done {
                bail!(
                    "the firmware is not in setup mode, and has other keys than this medium: remove its keys in its menus (Secure Boot, reset to setup mode), and start again"
                );
            }
        }
        Ok(enrolment)
    }

    /// Whether the firmware had all these keys before.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Whether the firmware has these keys and no others.
    fn is_enrolled(&self, firmware: &dyn EfiVariables) -> Result<bool> {
        for (variable, signed) in &self.signed {
            let value = firmware.read(&variable.efivarfs_name()).with_context(|| format!("cannot read {}", variable.name()))?;
            if value.as_deref().and_then(|value| value.get(4..)) != Some(list_of_signed(signed)?) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Has the firmware take the keys. After an error the message says which it has taken.
    pub fn enrol(&self, firmware: &dyn EfiVariables) -> Result<()> {
        let mut taken: Vec<&str> = Vec::new();
        for (variable, signed) in &self.signed {
            let value = [&ATTRIBUTES.to_le_bytes()[..], signed].concat();
            if let Err(error) = firmware.write(&variable.efivarfs_name(), &value) {
                let so_far = match taken.as_slice() {
                    [] => "it has taken none of the keys".to_owned(),
                    some => format!("it has taken {} before", some.join(" and ")),
                };
                bail!("the firmware refused {}: {}; {so_far}, and is in setup mode as before", variable.name(), reason(&error));
            }
            taken.push(variable.name());
        }
        let mode = firmware.read(&setup_mode_name()).context("cannot read the firmware's variable SetupMode")?;
        if !self.is_enrolled(firmware)? || mode.as_deref().and_then(|mode| mode.get(4)) != Some(&0) {
            bail!("the firmware took db, KEK and PK without an error, but does not show them: look at the keys in its menus");
        }
        Ok(())
    }
}

/// What an error of efivarfs means: the kernel makes one of each status of the firmware.
fn reason(error: &io::Error) -> String {
    let meaning = match error.kind() {
        ErrorKind::PermissionDenied => "it does not accept the signature, or protects its variables",
        ErrorKind::InvalidInput => "it does not know such a variable",
        ErrorKind::StorageFull => "it has no room for it",
        ErrorKind::ReadOnlyFilesystem => "its variables cannot be written",
        _ => return error.to_string(),
    };
    format!("{meaning} ({error})")
}

/// The variables of this machine's firmware, by way of Linux.
pub struct Efivarfs(PathBuf);

impl Efivarfs {
    /// Those of the machine below the root folder `root`. Fails if they cannot be written.
    pub fn open(root: &Path) -> Result<Self> {
        if !root.join("sys/firmware/efi").is_dir() {
            bail!("this machine was not started by UEFI, so there are no variables for keys");
        }
        let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).context("cannot read the mounts")?;
        let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let mut options = fields.filter_map(|fields| {
            let of_superblock = fields.iter().position(|field| *field == "-").and_then(|dash| fields.get(dash + 3));
            (fields.get(4)?.strip_prefix('/')? == EFIVARFS).then(|| format!("{},{}", fields[5], of_superblock.unwrap_or(&"")))
        });
        match options.next_back() {
            None => bail!("efivarfs is not mounted at /{EFIVARFS}, so the variables of the firmware cannot be written"),
            Some(options) if options.split(',').any(|option| option == "ro") => {
                bail!("efivarfs is mounted read-only at /{EFIVARFS}, so the variables of the firmware cannot be written")
            }
            Some(_) => Ok(Self(root.join(EFIVARFS))),
        }
    }
}

impl EfiVariables for Efivarfs {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.0.join(name)) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// In one write, of which the kernel makes one call of the firmware.
    fn write(&self, name: &str, value: &[u8]) -> io::Result<()> {
        let path = self.0.join(name);
        if let Ok(old) = File::open(&path) {
            // The kernel protects variables that it does not know from `rm -r`.
            let flags = ioctl_getflags(&old)?;
            if flags.contains(IFlags::IMMUTABLE) {
                ioctl_setflags(&old, flags - IFlags::IMMUTABLE)?;
            }
        }
        let mut file = File::options().write(true).create(true).truncate(false).open(path)?;
        match file.write(value)? {
            written if written == value.len() => Ok(()),
            written => Err(io::Error::other(format!("it took {written} of {} bytes", value.len()))),
        }
    }
}

#[cfg(test)]
mod tests;
