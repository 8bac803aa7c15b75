//! A tree that nobody has here: all that is known of it is its profile. It has every package, and its templates name none.

use anyhow::Result;
use plan::{Capabilities, Composed, EngineKind, Facts, PackageFacts, Profile, Release};
use std::path::{Path, PathBuf};

/// The tree.
pub(super) struct Imagined<'i> {
    pub profile: &'i Profile,
    pub engine: EngineKind,
    pub root: &'i Path,
}

impl Facts for Imagined<'_> {
    fn version(&self) -> &str {
        "0.0.0"
    }

    fn epoch(&self) -> i64 {
        0
    }

    fn root(&self) -> &Path {
        self.root
    }

    fn package(&self, name: &str) -> Result<PackageFacts> {
        let reference = format!("lfedge/eve-{name}:0");
        Ok(PackageFacts {
            build_args: vec![],
            changes: None,
            hidden: None,
            is_dirty: false,
            name: name.to_owned(),
            dir: self.profile.packages.folder.join(name),
            plain: reference.clone(),
            reference,
            hash: None,
            build_yml: "build.yml".to_owned(),
            arches: vec![],
            bases: vec![],
            yml_template: None,
            generated_dockerfile: None,
        })
    }

    fn bulk_packages(&self) -> Result<Vec<String>> {
        // Their names are known to nobody here. One is enough to ask whether a package can be built.
        Ok(vec!["package".to_owned()])
    }

    fn generated_yml(&self, _: &PackageFacts) -> Result<Option<String>> {
        Ok(None)
    }

    fn yml(&self, _: Composed) -> Result<(String, PathBuf, Vec<String>)> {
        Ok((String::new(), self.profile.templates.rootfs.clone(), vec![]))
    }

    fn fill(&self, _: &Path) -> Result<String> {
        Ok(String::new())
    }

    fn folder_digest(&self, _: &Path) -> Result<String> {
        Ok(String::new())
    }

    fn folder_files(&self, _: &Path) -> Result<Vec<PathBuf>> {
        Ok(vec![])
    }

    fn file_digest(&self, _: &Path) -> Result<String> {
        Ok(String::new())
    }

    fn file_digest_if_there(&self, _: &Path) -> Result<Option<String>> {
        Ok(None)
    }

    fn release(&self) -> Result<Release> {
        Ok(Release::default())
    }

    fn profile(&self) -> &Profile {
        self.profile
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::of(self.profile, self.engine)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use knobs::{Knobs, RawKnobs};
    use plan::{Goal, PackageWork, plan_goal};

    #[test]
    fn all_packages_are_at_least_one_step() {
        let root = Path::new("/tree");
        let profile = Profile::named("eve", root);
        let imagined = Imagined { profile: &profile, engine: EngineKind::Linuxkit, root };
        let knobs = Knobs::resolve(&RawKnobs::default(), root).unwrap();
        let plan = plan_goal(&Goal::AllPackages(PackageWork::Build), &knobs, &imagined).unwrap();
        assert!(plan.nodes.iter().any(|node| node.step.package().is_some()));
    }
}
