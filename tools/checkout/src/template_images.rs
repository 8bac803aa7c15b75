//! The list of all template names and their images, which the old parse-pkgs printed, and filling them into a file.

use super::Checkout;
use anyhow::{Context as _, Result};
use common::error::usage;
use pkgbuild::tags;
use plan::Facts as _;
use regex::Regex;
use std::path::Path;

impl Checkout {
    /// The template names without `_TAG`, in order: those of the profile, otherwise all packages by name.
    pub fn template_names(&self) -> Result<Vec<String>> {
        let table = &self.profile.templates.table;
        if !table.is_empty() {
            return Ok(table.clone());
        }
        Ok(self.package_names()?.iter().map(|name| name.to_uppercase().replace('-', "_")).collect())
    }

    /// `org/image:tag-arch` of a template name. `DEV` and `RSTATS` have no effect here, because the list has names for both.
    pub fn template_image(&self, word: &str) -> Result<String> {
        let arch = self.arch_suffix();
        if let Some(tag) = self.kernel_tag().filter(|_| word == "KERNEL") {
            return tag;
        }
        let forced = self.forced_hash()?;
        if let Some(eve) = self.profile.eve.as_ref().filter(|eve| word == "EVE" && eve.tag.is_some()) {
            let tag = match forced {
                Some(hash) => hash,
                None => self.eve_tag(&eve.folder.join("Dockerfile.in"))?,
            };
            return Ok(format!("{}:{tag}{arch}", eve.tag.as_deref().unwrap_or_default()));
        }
        let package = self.template_package(word);
        let (package, yml) = package.split_once(':').map_or((package.as_str(), None), |(package, yml)| (package, Some(yml)));
        let dir = self.profile.packages.folder.join(package);
        // The list has names for the variants of DEV and RSTATS, but not for those of the platform.
        let plain = self
            .variant(&dir, |_| false)
            .filter(|_| !self.profile.templates.tags.values().any(|row| row.starts_with(&format!("{package}:"))));
        let plain = plain.unwrap_or_else(|| self.plain_yml(&dir).to_owned());
        if !dir.is_dir() {
            return Err(usage(format!("there is no package `{package}` in {}", self.profile.packages.folder.display())));
        }
        Ok(format!("{}{arch}", self.reference_of_yml(package, &dir, yml.unwrap_or(&plain))?))
    }

    /// The tag of the image that contains all artifacts: the id that git gives a file with its filled-in Dockerfile and the commit, so it
    /// changes with each of them.
    fn eve_tag(&self, template: &Path) -> Result<String> {
        let text = std::fs::read_to_string(template).with_context(|| format!("cannot read the template `{}`", template.display()))?;
        let text = self.fill_table(&text, "", &mut Vec::new())?;
        Ok(tags::blob_id(format!("{text}{}\n", self.state.commit()).as_bytes()))
    }

    /// Replaces the listed names in `text` by their images, and `CURDIR` by `folder`. Looks up only the names that occur; adds other words
    /// that look like names to `unknown`.
    pub fn fill_table(&self, text: &str, folder: &str, unknown: &mut Vec<String>) -> Result<String> {
        let pattern = Regex::new(r"\b([A-Z][A-Z0-9_]*)_TAG\b|\bCURDIR\b").expect("the pattern is valid");
        let names = self.template_names()?;
        let mut out = String::with_capacity(text.len() * 2);
        let mut rest = 0;
        for found in pattern.captures_iter(text) {
            let Some(whole) = found.get(0) else { continue };
            out.push_str(&text[rest..whole.start()]);
            rest = whole.end();
            match found.get(1).map(|word| word.as_str()) {
                None => out.push_str(folder),
                Some(word) if names.iter().any(|name| name == word) => {
                    out.push_str(&self.template_image(word).with_context(|| format!("{word}_TAG"))?);
                }
                Some(_) => {
                    unknown.push(whole.as_str().to_owned());
                    out.push_str(whole.as_str());
                }
            }
        }
        out.push_str(&text[rest..]);
        Ok(out)
    }

    /// The organizations of this tree's images.
    pub fn organizations(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for package in self.package_names()? {
            let reference = self.package(&package)?.reference;
            if let Some((org, _)) = reference.split_once('/')
                && !names.iter().any(|name| name == org)
            {
                names.push(org.to_owned());
            }
        }
        Ok(names)
    }
}
