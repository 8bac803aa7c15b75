//! Files of a package that are made from templates, and the tags of its variants.

use super::Tree;
use anyhow::{Context as _, Result};
use std::path::Path;

/// The template of a kernel's build.yml.
pub const TEMPLATE: &str = "build.yml.in";

/// The tag of a variant whose image has the plain package's name: without it, both would have the same tag and different contents.
#[must_use]
pub fn variant_hash(yml: &str, own: &str, plain: &str) -> Option<String> {
    let variant = yml.strip_prefix("build-")?.strip_suffix(".yml")?;
    let (_, tag) = own.rsplit_once(':')?;
    (own == plain).then(|| format!("{tag}-{variant}"))
}

impl Tree {
    /// The build.yml that the template of `name` gives, when that is the one in use.
    pub(super) fn generated_yml(&self, name: &str, dir: &Path, yml: &str) -> Result<Option<String>> {
        if yml != TEMPLATE {
            return Ok(None);
        }
        let path = dir.join(TEMPLATE);
        let template = std::fs::read_to_string(&path).with_context(|| format!("cannot read the template `{}`", path.display()))?;
        let text = self.git.look_text(["log", "-1", "--format=%ct%n%cd", "--", &format!("pkg/{name}")])?;
        let mut lines = text.lines();
        let epoch = lines.next().unwrap_or_default();
        let date = lines.next().unwrap_or_default().rsplit_once(' ').map_or("", |(date, _)| date);
        let mut out = String::new();
        for line in template.lines() {
            let key = line.trim().trim_start_matches("- ").split('=').next().unwrap_or_default();
            match key {
                "KBUILD_BUILD_TIMESTAMP" => out.push_str(&format!("  - KBUILD_BUILD_TIMESTAMP={date}")),
                "SOURCE_DATE_EPOCH" => out.push_str(&format!("  - SOURCE_DATE_EPOCH={epoch}")),
                _ => out.push_str(line),
            }
            out.push('\n');
        }
        Ok(Some(out))
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
