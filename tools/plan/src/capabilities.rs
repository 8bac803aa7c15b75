//! What a tree and an engine can do together. Asked for instead of their names, so that a rule says what it depends on.

use crate::{EngineKind, Profile};

/// Built from the profile and the engine, wherever it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The images of packages are in a registry: who needs one fetches it, and need not build it first.
    pub packages_are_published: bool,
    /// Images are made by the tree's tool images in containers, rather than in this process.
    pub tools_run_in_containers: bool,
    /// PLATFORM is part of names: of the version, of rootfs.tar, of the resolved ymls.
    pub platforms_have_names: bool,
    /// The installer is a root file system of its own, rather than an image in a package.
    pub installer_is_composed: bool,
}

impl Capabilities {
    /// Of the tree with this profile, built by this engine.
    #[must_use]
    pub fn of(profile: &Profile, engine: EngineKind) -> Self {
        Self {
            packages_are_published: profile.packages.published,
            tools_run_in_containers: engine == EngineKind::Linuxkit,
            platforms_have_names: profile.tree.platforms,
            installer_is_composed: profile.templates.installer.is_some(),
        }
    }

    /// How `platform` stands in names: `-rt`, or nothing.
    #[must_use]
    pub fn platform_suffix(self, platform: &str) -> String {
        if self.platforms_have_names { format!("-{platform}") } else { String::new() }
    }

    /// The native engine builds packages from pinned packages of Debian, and not from a registry's images.
    #[must_use]
    pub const fn tree_can_be_built(self) -> bool {
        self.tools_run_in_containers || !self.packages_are_published
    }

    /// The programs of the old Makefile do their work in any version, so nobody asks for it.
    #[must_use]
    pub const fn tools_serve_in_any_version(self) -> bool {
        self.tools_run_in_containers
    }

    /// linuxkit keeps the image cache, and docker the images that containers run from.
    #[must_use]
    pub const fn linuxkit_keeps_images(self) -> bool {
        self.tools_run_in_containers
    }

    /// Virtual machines get the command lines of the old Makefile: the image itself is run, the firmware is that of `current`.
    #[must_use]
    pub const fn machines_are_as_make_had_them(self) -> bool {
        self.tools_run_in_containers
    }
}
