//! How tags of packages are computed for a tree and an engine.

use super::Checkout;
use anyhow::{Context as _, Result};
use pkgbuild::{build_yml::BuildYml, tags};
use std::path::{Path, PathBuf};

impl Checkout {
    /// A hash of the changes of a package, if its tag is linuxkit's, which does not show all changes.
    pub(crate) fn unseen_changes(&self, dir: &Path, yml: &str) -> Result<Option<String>> {
        if !self.can.dirty_tags_are_linuxkits() {
            return Ok(None);
        }
        let options = tags::Options { rule: tags::DirtyRule::Everything, ..tags::Options::default() };
        Ok(tags::package_tag(&self.state, &self.root, dir, yml, &options)?.dirty)
    }

    /// A changed file of a package that git does not look at, if its tag is linuxkit's, which does not show that.
    pub(crate) fn hidden_change(&self, dir: &Path, yml: &BuildYml) -> Result<Option<PathBuf>> {
        if !self.can.dirty_tags_are_linuxkits() {
            return Ok(None);
        }
        tags::hidden_change(&self.state, &self.root, dir, yml).with_context(|| format!("cannot look for changes in `{}`", dir.display()))
    }

    /// How tags are computed, with a given hash or without.
    pub(crate) fn tag_options<'h>(&'h self, hash: Option<&'h str>) -> tags::Options<'h> {
        let rule = if self.can.dirty_tags_are_linuxkits() { tags::DirtyRule::Linuxkit } else { tags::DirtyRule::Everything };
        tags::Options { rule, hash, org: self.organization(), ..tags::Options::default() }
    }

    /// The organization instead of those in build.yml. A tree whose Dockerfiles name its own packages by their tags has none: they would not
    /// be found under another name.
    fn organization(&self) -> Option<&str> {
        self.knobs.packages.organization.as_deref().filter(|_| self.can.packages_are_published)
    }
}
