//! Signing of a root file system's boot chain (SIGN): what an engine needs for it, and what decides its bytes.

use crate::{
    Composed, ImageRef, Input, Need,
    planner::{Planner, input, need},
};
use anyhow::{Context as _, Result};
use common::{Arch, error::usage};
use knobs::RootfsFormat;
use std::path::PathBuf;

/// The stub of unified kernel images. Debian's package systemd-boot-efi has it.
const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";

/// The name of its input.
pub(crate) const STUB_INPUT: &str = "SIGN: stub";

/// Signing of a boot chain.
#[derive(Clone, Debug)]
pub struct Signing {
    /// The folder of keys. The private key is an input by its certificate only.
    pub keys: PathBuf,
    /// The stub of the unified kernel image.
    pub stub: PathBuf,
    /// The public half of the key that signs updates: the image takes it along, and its machine believes no other. None if the folder of keys
    /// has none.
    pub update_key: Option<PathBuf>,
    /// The package whose programs check the root file system before it is mounted; they go into the signed initrd.
    pub verity: ImageRef,
    /// The version of the image, and its architecture: a signed kernel starts no root file system of another one.
    pub version: String,
    /// See there.
    pub arch: Arch,
    /// What the root file system of an installer has besides; none for that of a machine.
    pub medium: Option<SignedMedium>,
}

/// What is signed with the root file system of an installer, or of a verification.
#[derive(Clone, Debug)]
pub struct SignedMedium {
    /// The name of the root file system where it is a file: in an ISO. The kernel looks for it there if the firmware took it from no partition.
    pub file: Option<String>,
    /// The signed variables PK, KEK and db (`.auth`), which the installer can have a firmware take; empty if the folder of keys has none.
    pub variables: Vec<PathBuf>,
}

/// The files of the variables, in the folder of keys.
const VARIABLES: [&str; 3] = ["PK.auth", "KEK.auth", "db.auth"];

impl Planner<'_> {
    /// How a root file system is signed, and the inputs for that; none without SIGN.
    pub(crate) fn signing(&self, of: Composed) -> Result<Option<(Signing, Vec<Input>)>> {
        let image = &self.knobs.image;
        if !image.sign {
            return Ok(None);
        }
        if self.can.tools_run_in_containers {
            return Err(usage("SIGN=y: the tool images cannot sign\nhint: --engine native, or SIGN=n"));
        }
        if image.hv != "kvm" || image.arch != Arch::Amd64 {
            return Err(usage(format!(
                "SIGN=y with HV={} ZARCH={}: only images for kvm on amd64 can be signed yet\nhint: SIGN=n",
                image.hv, image.arch
            )));
        }
        if image.rootfs_format == RootfsFormat::Ext4 {
            return Err(usage(
                "SIGN=y with ROOTFS_FORMAT=ext4: it fills its partition, and leaves no room for the hashes that protect it\nhint: ROOTFS_FORMAT=squash, or SIGN=n",
            ));
        }
        let verity = ImageRef { reference: self.facts.package(self.verity()?)?.plain, arch: image.arch };
        let keys = self.knobs.host.keys.clone().context("the folder of keys is known")?;
        let certificate = self.facts.file_digest(&keys.join("db.crt"));
        let certificate = certificate.map_err(|error| {
            usage(format!("SIGN=y: {error:#}\nhint: cargo xtask keys init makes keys, --keys FOLDER names those that you have"))
        })?;
        let stub = PathBuf::from(STUB);
        let code = self.facts.file_digest(&stub);
        let code = code.map_err(|error| usage(format!("SIGN=y: {error:#}\nhint: apt-get install systemd-boot-efi")))?;
        let mut inputs = vec![input("SIGN: db.crt", certificate), input(STUB_INPUT, code)];
        let mut take = |name: &str| -> Result<Option<PathBuf>> {
            let file = keys.join(name);
            let digest = self.facts.file_digest_if_there(&file).map_err(|error| usage(format!("SIGN=y: {error:#}")))?;
            Ok(digest.map(|digest| {
                inputs.push(input(&format!("SIGN: {name}"), digest));
                file
            }))
        };
        // An installer takes no updates, and the machine that it installs is no installer.
        let (update_key, medium) = match of {
            Composed::Rootfs => (take("image.pub")?, None),
            Composed::Installer | Composed::Verification => {
                let variables: Vec<_> = VARIABLES.into_iter().filter_map(|name| take(name).transpose()).collect::<Result<_>>()?;
                if !variables.is_empty() && variables.len() < VARIABLES.len() {
                    return Err(usage(format!(
                        "SIGN=y: `{}` has some of {}, and a firmware takes all or none\nhint: cargo xtask keys init makes all, --keys FOLDER names those that you have",
                        keys.display(),
                        VARIABLES.join(", ")
                    )));
                }
                let image = || self.facts.profile().installer.as_ref().map(|disk| disk.image.clone());
                (None, Some(SignedMedium { file: if of == Composed::Installer { image() } else { None }, variables }))
            }
        };
        inputs.push(input("SIGN: package", &verity.reference));
        Ok(Some((Signing { keys, stub, update_key, verity, version: self.full_version(), arch: image.arch, medium }, inputs)))
    }

    /// The package with the programs of a signed initrd, as a need.
    pub(crate) fn verity_package(&mut self) -> Result<Need> {
        let (name, arch) = (self.verity()?.to_owned(), self.knobs.image.arch);
        Ok(need(&self.package(&name, arch, &mut Vec::new())?, "its programs check the root file system, in the signed initrd"))
    }

    fn verity(&self) -> Result<&str> {
        self.facts.profile().rootfs.verity.as_deref().ok_or_else(|| {
            usage("SIGN=y: the profile of this tree names no package that checks a signed root file system (verity in [rootfs])\nhint: SIGN=n")
        })
    }

    /// Refuses SIGN for a medium that is not signed itself.
    pub(crate) fn refuse_to_sign(&self, what: &str) -> Result<()> {
        if self.knobs.image.sign {
            return Err(usage(format!(
                "SIGN=y: {what} cannot be signed yet\nhint: SIGN=n; live, installer-raw and installer-iso can be signed"
            )));
        }
        Ok(())
    }
}
