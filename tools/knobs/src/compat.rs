//! Transitional: reads by name, until every caller uses the typed fields.

use crate::{ImageKnobs, Knobs};
use common::PackageWork;

impl std::ops::Deref for Knobs {
    type Target = ImageKnobs;
    fn deref(&self) -> &ImageKnobs {
        &self.image
    }
}

impl Knobs {
    /// See the module.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<&str> {
        let path = |path: &'_ Option<std::path::PathBuf>| -> Option<String> { path.as_ref().map(|path| path.display().to_string()) };
        match name {
            "EVE_REL" => self.packages.release.as_deref(),
            "LIVE_PART_SPEC" => self.image.live_parts.as_deref(),
            "PLATFORM" => Some(&self.image.platform),
            "KERNEL_IMAGE" => path(&self.image.kernel_image).map(|text| &*text.leak()),
            "SBOM" => path(&self.image.sbom).map(|text| &*text.leak()),
            "DOCKER_ARCH_TAG" => self.image.docker_arch_tag.as_deref(),
            "KERNEL_TAG" => self.image.kernel_tag.as_deref(),
            "KERNEL_CONFIG_FLAVOR" => self.image.kernel_flavor.as_deref(),
            "BUILDERS" => self.packages.builders.as_deref(),
            other => unreachable!("{other}"),
        }
    }

    /// See the module.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        match name {
            "PARALLELS_UUID" => &self.image.parallels_uuid,
            "SYFT_VERSION" => &self.image.syft_version,
            "LINUXKIT_OPTS" => &self.packages.linuxkit_options,
            "BUILDKIT_PROGRESS" => &self.packages.progress,
            other => unreachable!("{other}"),
        }
    }

    /// See the module.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        match name {
            "FORCE_BUILD" => self.packages.force,
            "LIVE_UPDATE" => self.image.live_update,
            "ROOTFS_DEPS" => self.image.rootfs_deps,
            "PRUNE" => self.packages.prune,
            "DEV" => self.image.dev,
            "RSTATS" => self.image.rstats,
            other => unreachable!("{other}"),
        }
    }

    /// See the module.
    #[must_use]
    pub fn package_work(&self) -> PackageWork {
        self.packages.work
    }
}
