//! How tags of packages are computed for a tree and an engine.

use super::Checkout;
use anyhow::{Context as _, Result};
use common::error::usage;
use pkgbuild::{build_yml::BuildYml, tags};
use std::path::{Path, PathBuf};

/// The part of a tag that linuxkit puts in place of `{{.Hash}}`.
#[must_use]
pub fn shown_hash(tag: &tags::Tag) -> String {
    tag.dirty.as_ref().map_or_else(|| tag.hash.clone(), |dirty| format!("{}-dirty-{dirty}", tag.hash))
}

/// The hash of a package's own tag where linuxkit would give its image that of another: `variant`, which a variant of the build.yml with
/// the plain image's name has, or the `shown` one; with the names of build arguments.
#[must_use]
pub fn own_hash(variant: Option<String>, shown: &str, build_args: &[String]) -> Option<String> {
    if build_args.is_empty() {
        return variant;
    }
    let name = |argument: &String| argument.trim_end_matches("=y").to_lowercase().replace('_', "-");
    let hash = variant.unwrap_or_else(|| shown.to_owned());
    Some(build_args.iter().map(name).fold(hash, |hash, name| format!("{hash}-{name}")))
}

impl Checkout {
    /// The build arguments of a package that knobs switch on; fails if its Dockerfile takes one of them not.
    pub(crate) fn build_arguments(&self, name: &str, dir: &Path) -> Result<Vec<String>> {
        let known = self.profile.packages.build_args.get(name).into_iter().flatten();
        let on: Vec<&str> = known.filter(|argument| argument.is_on(&self.knobs.packages)).map(|argument| argument.as_str()).collect();
        if on.is_empty() {
            return Ok(Vec::new());
        }
        let path = dir.join("Dockerfile");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let takes = |name: &&str| {
            let argument = |line: &str| Some(line.trim().strip_prefix("ARG ")?.split(['=', ' ']).next()? == *name);
            text.lines().filter_map(argument).any(|is_it| is_it)
        };
        match on.iter().find(|name| !takes(name)) {
            Some(missing) => Err(usage(format!("{missing}=y: pkg/{name}/Dockerfile has no `ARG {missing}`"))),
            None => Ok(on.iter().map(|name| format!("{name}=y")).collect()),
        }
    }

    /// `org/image:tag` of the package `name`, whose folder is `dir`, with the file `yml` in place of its build.yml.
    pub(crate) fn reference_of_yml(&self, name: &str, dir: &Path, yml: &str) -> Result<String> {
        let tag = |hash: Option<&str>| tags::package_tag(&self.state, &self.root, dir, yml, &self.tag_options(hash));
        if let Some(hash) = self.forced_hash()? {
            return Ok(tag(Some(&hash))?.to_string());
        }
        let own = tag(None)?;
        let hash = own_hash(None, &shown_hash(&own), &self.build_arguments(name, dir)?);
        Ok(hash.map_or(Ok(own), |hash| tag(Some(&hash)))?.to_string())
    }

    /// A hash of the changes of a package, if its tag is linuxkit's, which does not show all changes.
    pub(crate) fn unseen_changes(&self, dir: &Path, yml: &BuildYml) -> Result<Option<String>> {
        if !self.can.dirty_tags_are_linuxkits() {
            return Ok(None);
        }
        let options = tags::Options { rule: tags::DirtyRule::Everything, top: self.top_of(dir), ..tags::Options::default() };
        let tag = tags::tag_of_yml(&self.state, &self.root, dir, yml, &options);
        Ok(tag.with_context(|| format!("cannot look for changes in `{}`", dir.display()))?.dirty)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_with_build_arguments_has_a_tag_of_its_own() {
        let args = ["COVER=y".to_owned(), "FAULT_INJECTION=y".to_owned()];
        assert_eq!(own_hash(None, "6137", &[]), None);
        assert_eq!(own_hash(None, "6137-dirty-1", &args).as_deref(), Some("6137-dirty-1-cover-fault-injection"));
        assert_eq!(own_hash(Some("6137-rstats".to_owned()), "6137", &args[..1]).as_deref(), Some("6137-rstats-cover"));
    }
}
