//! The build.yml that is generated from a package's template, and the tags of a package's variants.

use super::{
    Checkout,
    kernel_yml::{Changes, KernelFacts, kernel_build_yml},
    template,
};
use anyhow::{Context as _, Result};
use pkgbuild::tags;
use std::{os::unix::fs::MetadataExt as _, path::Path};

/// The template of a kernel's build.yml.
pub const TEMPLATE: &str = "build.yml.in";

/// A tag for a variant whose image has the plain package's name. Otherwise both would have the same tag and different contents.
#[must_use]
pub fn variant_hash(yml: &str, own: &str, plain: &str) -> Option<String> {
    let variant = yml.strip_prefix("build-")?.strip_suffix(".yml")?;
    let (_, tag) = own.rsplit_once(':')?;
    (own == plain).then(|| format!("{tag}-{variant}"))
}

impl Checkout {
    /// The build.yml generated from the template at `path` of the package `name`.
    pub(super) fn yml_of_template(&self, name: &str, dir: &Path, path: &Path) -> Result<String> {
        let template = std::fs::read_to_string(path).with_context(|| format!("cannot read the template `{}`", path.display()))?;
        let log = self.git.look_text([
            "log",
            "-1",
            "--no-show-signature",
            "--date=default",
            "--format=%ct%n%cd",
            "--",
            &format!("pkg/{name}"),
        ])?;
        let (epoch, commit_date) = log.split_once('\n').unwrap_or_default();
        let epoch = epoch.parse().with_context(|| format!("git knows no commit of `{}`", dir.display()))?;
        let tag = tags::package_tag(&self.state, &self.root, dir, TEMPLATE, &self.tag_options(None))?;
        let changes = tag.is_dirty.then(|| self.changes_of(dir, epoch));
        let facts = KernelFacts { epoch, commit_date: commit_date.to_owned(), changes };
        // Build arguments may name images: only their tags are filled in.
        let short = common::display::short(path, &self.root).to_string();
        template::fill(&kernel_build_yml(&template, &facts), &|_, line| format!("{short}:{line}"), &[], &mut |word| {
            let image = self.template_image(word)?;
            let image = image.strip_suffix(&self.arch_suffix()).unwrap_or(&image);
            Ok(image.split_once(':').map_or(image, |(_, tag)| tag).to_owned())
        })
    }

    /// The user, the machine, and the time of the newest uncommitted file of the package in `dir`; deleted files have no time.
    fn changes_of(&self, dir: &Path, epoch: i64) -> Changes {
        let folder = dir.strip_prefix(&self.root).unwrap_or(dir);
        let changed = self.state.changed_below(folder);
        let times = changed.filter_map(|path| std::fs::symlink_metadata(self.root.join(path)).ok()).map(|metadata| metadata.mtime());
        Changes { epoch: times.max().unwrap_or(epoch), user: self.builder.0.clone(), host: self.builder.1.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_of_the_same_name_has_a_tag_of_its_own() {
        let plain = "lfedge/eve-pillar:6137";
        assert_eq!(variant_hash("build-rstats.yml", plain, plain).as_deref(), Some("6137-rstats"));
        assert_eq!(variant_hash("build-dev.yml", "lfedge/eve-pillar-dev:6137", plain), None);
        assert_eq!(variant_hash("build.yml", plain, plain), None);
    }
}
