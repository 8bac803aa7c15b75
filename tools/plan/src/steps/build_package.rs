//! A package: built into the image cache after those that it starts from, or pushed.

use super::{Describe, Short};
use crate::{
    ImageRef, Need, Node, NodeId, PackageFacts, PackageWork, Release,
    planner::{Planner, input, need},
};
use anyhow::{Result, bail};
use common::Arch;
use std::path::PathBuf;

/// A package to be made, pushed or listed.
#[derive(Clone, Debug)]
pub struct BuildPackage {
    /// Its name: the folder below `pkg/`.
    pub name: String,
    /// The folder with the Dockerfile.
    pub dir: PathBuf,
    /// The image that comes out.
    pub image: ImageRef,
    /// The name of the build.yml.
    pub build_yml: String,
    /// The Dockerfile, where the package has only a template of it: there while docker reads it, for git does not ignore it.
    pub dockerfile: Option<String>,
    /// What is done.
    pub work: PackageWork,
    /// The tag to use instead of linuxkit's own, where a person or a variant says so.
    pub hash: Option<String>,
    /// The release's tag that a pushed image gets too.
    pub release: Option<String>,
    /// Options that replace those two.
    pub options: Vec<String>,
    /// Build although the image exists.
    pub force: bool,
    /// docker must know it too.
    pub docker_load: bool,
    /// For which machines.
    pub platforms: Vec<Arch>,
    /// Remove dangling images afterwards.
    pub prune: bool,
}

impl Describe for BuildPackage {
    fn describe(&self, short: &Short<'_>) -> String {
        format!("{} {} as {}", self.work, short(&self.dir), self.image)
    }

    fn package(&self) -> Option<&BuildPackage> {
        Some(self)
    }

    fn is_always_due(&self) -> bool {
        self.work != PackageWork::Build || self.force
    }
}

impl Planner<'_> {
    /// The packages that a person named, each after those that the tree wants before it.
    pub(crate) fn packages(&mut self, names: &[String], work: PackageWork, habits: bool) -> Result<Vec<NodeId>> {
        let mut goals = Vec::new();
        for name in names {
            let before = self.facts.profile().packages.after.get(name).filter(|_| habits).cloned().unwrap_or_default();
            for name in before.iter().chain([name]) {
                let id = match work {
                    PackageWork::Build => self.package(name, self.knobs.image.arch, &mut Vec::new())?,
                    work => self.publish(name, work)?,
                };
                if !goals.contains(&id) {
                    goals.push(id);
                }
            }
        }
        Ok(goals)
    }

    /// A package of the target architecture and all that it is made from; `above` are those that are being planned.
    pub(crate) fn package(&mut self, name: &str, arch: Arch, above: &mut Vec<String>) -> Result<NodeId> {
        // A tool image of ours runs on the machine that builds, whatever it builds for.
        let is_tool = self.facts.profile().packages.tool_images.iter().any(|tool| tool == name);
        let arch = if is_tool { self.knobs.host_arch } else { arch };
        let id = NodeId::Package(name.to_owned(), arch);
        if self.plan.node(&id).is_some() {
            return Ok(id);
        }
        if above.iter().any(|other| other == name) {
            bail!("packages need each other: {} -> {name}", above.join(" -> "));
        }
        above.push(name.to_owned());
        let package = self.facts.package(name)?;
        let needs = self.bases(&package, arch, above)?;
        above.pop();
        self.package_node(package, arch, needs, PackageWork::Build)
    }

    /// A push needs nothing of this tree: linuxkit builds what the registry does not have.
    fn publish(&mut self, name: &str, work: PackageWork) -> Result<NodeId> {
        let package = self.facts.package(name)?;
        let needs = self.generated(&package)?;
        self.package_node(package, self.knobs.image.arch, needs, work)
    }

    fn bases(&mut self, package: &PackageFacts, arch: Arch, above: &mut Vec<String>) -> Result<Vec<Need>> {
        let mut needs = self.generated(package)?;
        // Where images are in a registry, the builder fetches what a Dockerfile starts from, unless the tree wants an order.
        let packages = &self.facts.profile().packages;
        if self.can.packages_are_published && !packages.ordered {
            return Ok(needs);
        }
        for (base, on_build_machine) in &package.bases {
            // A tree whose packages begin with each other's old images has a ring somewhere; a registry has those.
            if self.can.packages_are_published && above.contains(base) {
                continue;
            }
            let arch = if *on_build_machine { self.knobs.host_arch } else { arch };
            let base = need(&self.package(base, arch, above)?, "its Dockerfile starts from it");
            // For this machine's own architecture the two platforms of a Dockerfile are one.
            if needs.iter().all(|known: &Need| known.id != base.id) {
                needs.push(base);
            }
        }
        Ok(needs)
    }

    fn package_node(&mut self, package: PackageFacts, arch: Arch, needs: Vec<Need>, work: PackageWork) -> Result<NodeId> {
        let sets = &self.facts.profile().packages;
        let has = |list: &[String]| list.contains(&package.name);
        let mut platforms = vec![arch];
        if has(&sets.host_arch_too) && arch != self.knobs.host_arch {
            platforms.push(self.knobs.host_arch);
        }
        let docker_load = self.can.tools_run_in_containers && (has(&sets.docker_load) || has(&sets.tool_images));
        let release = match work {
            PackageWork::Push => self.facts.release()?,
            _ => Release { hash: None, release: self.knobs.packages.release.clone() },
        };
        let image = ImageRef { reference: package.reference.clone(), arch };
        let options = self.knobs.packages.linuxkit_options.split_whitespace().map(str::to_owned).collect();
        Ok(self.add(Node {
            id: NodeId::Package(package.name.clone(), arch),
            inputs: vec![input("image", &image)],
            needs,
            outputs: vec![],
            step: BuildPackage {
                name: package.name,
                dir: package.dir,
                image,
                build_yml: package.build_yml,
                dockerfile: package.generated_dockerfile,
                work,
                hash: release.hash.or(package.hash),
                release: release.release,
                options,
                force: self.knobs.packages.force,
                docker_load,
                platforms,
                prune: self.knobs.packages.prune,
            }
            .into(),
        }))
    }
}
