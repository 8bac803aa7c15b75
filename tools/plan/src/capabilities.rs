//! The capabilities of a tree and an engine. Rules depend on a capability, never on the name of a tree or an engine.

use crate::{EngineKind, Profile};

/// Computed from the profile and the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The images of packages are in a registry and can be fetched instead of built.
    pub packages_are_published: bool,
    /// Artifacts are made by containers of the tree's tool images, not in this process.
    pub tools_run_in_containers: bool,
    /// PLATFORM is part of the names of the version, of rootfs.tar and of the resolved ymls.
    pub platforms_have_names: bool,
    /// The tree has EVE's Go sources and what belongs to them: pkg/pillar, api, docker-compose.yml, the settings of a build machine.
    pub has_pillar: bool,
    /// The installer is a root file system of its own, not an image in a package.
    pub installer_is_composed: bool,
    /// That root file system contains the program of this workspace that installs, and is a squashfs; its media hold it as a file.
    pub installer_is_own: bool,
    /// So is the verification.
    pub verification_is_own: bool,
}

impl Capabilities {
    /// Those of the tree with this profile and this engine.
    #[must_use]
    pub fn of(profile: &Profile, engine: EngineKind) -> Self {
        Self {
            packages_are_published: profile.packages.published,
            tools_run_in_containers: engine == EngineKind::Linuxkit,
            platforms_have_names: profile.tree.platforms,
            has_pillar: profile.packages.published,
            installer_is_composed: profile.templates.installer.is_some(),
            verification_is_own: !profile.templates.verification_patches.is_empty(),
            installer_is_own: profile.templates.installer.is_some() && !profile.packages.programs.is_empty(),
        }
    }

    /// The suffix of names for `platform`: `-rt`, or empty.
    #[must_use]
    pub fn platform_suffix(self, platform: &str) -> String {
        if self.platforms_have_names { format!("-{platform}") } else { String::new() }
    }

    /// False for the native engine on a tree whose packages start from a registry's images: it builds packages only from Debian's.
    #[must_use]
    pub const fn tree_can_be_built(self) -> bool {
        self.tools_run_in_containers || !self.packages_are_published
    }

    /// Root file systems are packed from the images of their ymls, without a tar of all files between them. With a registry's images, which
    /// inputs know by name only, the tar makes sure that the root file system and its bill of materials are of the same files.
    #[must_use]
    pub const fn images_are_packed_directly(self) -> bool {
        !self.tools_run_in_containers && !self.packages_are_published
    }

    /// A qcow2 is made of the parts of its disk, without a raw disk between them.
    #[must_use]
    pub const fn qcow2_is_made_of_parts(self) -> bool {
        !self.tools_run_in_containers
    }

    /// Tools are not checked for a least version, as in the old Makefile.
    #[must_use]
    pub const fn tools_serve_in_any_version(self) -> bool {
        self.tools_run_in_containers
    }

    /// Images of packages with changes have linuxkit's tags: linuxkit builds them under these. Otherwise such a tag is a name of everything
    /// that enters the image.
    #[must_use]
    pub const fn dirty_tags_are_linuxkits(self) -> bool {
        self.tools_run_in_containers
    }

    /// Images are in linuxkit's cache and in docker's store, which linuxkit and docker manage.
    #[must_use]
    pub const fn linuxkit_keeps_images(self) -> bool {
        self.tools_run_in_containers
    }

    /// Virtual machines run with the old Makefile's command lines: on the image itself, with the firmware of `current`.
    #[must_use]
    pub const fn machines_are_as_make_had_them(self) -> bool {
        self.tools_run_in_containers
    }
}
