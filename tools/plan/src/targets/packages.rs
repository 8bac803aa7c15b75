//! Packages: what each is made from, and what is taken out of its image.

use super::{
    super::{Action, ImageRef, Need, Node, NodeId, PackageJob, PackageWork, Release},
    Planner, input, need,
};
use crate::PackageFacts;
use anyhow::{Result, bail};
use common::{Arch, error::usage};
use std::collections::BTreeMap;

impl Planner<'_> {
    /// The packages that a person named, each after those that the tree wants before it.
    pub(super) fn packages(&mut self, names: &[String], work: PackageWork, habits: bool) -> Result<Vec<NodeId>> {
        let mut goals = Vec::new();
        for name in names {
            let before = self.facts.profile().packages.after.get(name).filter(|_| habits).cloned().unwrap_or_default();
            for name in before.iter().chain([name]) {
                let id = match work {
                    PackageWork::Build => self.package(name, self.knobs.arch, &mut Vec::new())?,
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
    pub(super) fn package(&mut self, name: &str, arch: Arch, above: &mut Vec<String>) -> Result<NodeId> {
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
        self.package_node(package, self.knobs.arch, needs, work)
    }

    fn bases(&mut self, package: &PackageFacts, arch: Arch, above: &mut Vec<String>) -> Result<Vec<Need>> {
        let mut needs = self.generated(package)?;
        // Where images are in a registry, the builder fetches what a Dockerfile starts from, unless the tree wants an order.
        let packages = &self.facts.profile().packages;
        if packages.published && !packages.ordered {
            return Ok(needs);
        }
        for (base, on_build_machine) in &package.bases {
            // A tree whose packages begin with each other's old images has a ring somewhere; a registry has those.
            if packages.published && above.contains(base) {
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

    /// The files of a package that are made from templates.
    fn generated(&mut self, package: &PackageFacts) -> Result<Vec<Need>> {
        let mut needs = Vec::new();
        if let Some(text) = self.facts.generated_yml(package)? {
            let path = package.dir.join("build.yml");
            let id = NodeId::BuildYml(package.name.clone());
            needs.push(need(&self.text(id, path, text), "linuxkit reads it"));
        }
        Ok(needs)
    }

    fn text(&mut self, id: NodeId, path: std::path::PathBuf, text: String) -> NodeId {
        self.add(Node {
            id,
            inputs: vec![input("text", &text)],
            needs: vec![],
            outputs: vec![path.clone()],
            action: Action::WriteText { path, text },
        })
    }

    pub(super) fn build_ymls(&mut self, names: &[String]) -> Result<Vec<NodeId>> {
        let mut goals = Vec::new();
        for name in names {
            let package = self.facts.package(name)?;
            goals.extend(self.generated(&package)?.into_iter().map(|need| need.id));
        }
        Ok(goals)
    }

    fn package_node(&mut self, package: PackageFacts, arch: Arch, needs: Vec<Need>, work: PackageWork) -> Result<NodeId> {
        let sets = &self.facts.profile().packages;
        let has = |list: &[String]| list.contains(&package.name);
        let mut platforms = vec![arch];
        if has(&sets.host_arch_too) && arch != self.knobs.host_arch {
            platforms.push(self.knobs.host_arch);
        }
        let docker_load = self.facts.uses_containers() && (has(&sets.docker_load) || has(&sets.tool_images));
        let release = match work {
            PackageWork::Push => self.facts.release()?,
            _ => Release { hash: None, release: self.knobs.optional("EVE_REL").map(str::to_owned) },
        };
        let image = ImageRef { reference: package.reference.clone(), arch };
        let options = self.knobs.text("LINUXKIT_OPTS").split_whitespace().map(str::to_owned).collect();
        Ok(self.add(Node {
            id: NodeId::Package(package.name.clone(), arch),
            inputs: vec![input("image", &image)],
            needs,
            outputs: vec![],
            action: Action::BuildPackage(PackageJob {
                name: package.name,
                dir: package.dir,
                image,
                build_yml: package.build_yml,
                dockerfile: package.generated_dockerfile,
                work,
                hash: release.hash.or(package.hash),
                release: release.release,
                options,
                force: self.knobs.is_on("FORCE_BUILD"),
                docker_load,
                platforms,
                prune: self.knobs.is_on("PRUNE"),
            }),
        }))
    }

    /// Files and folders beside `rootfs.img`, by their names: one node a package.
    pub(super) fn parts(&mut self, entries: &[&'static str]) -> Result<Vec<NodeId>> {
        let mut of_package: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in entries {
            let Some(package) = self.facts.profile().parts.get(*entry) else {
                let profile = self.facts.profile();
                let (name, without) = (&profile.tree.name, "no package under [parts] of its profile that holds it");
                return Err(usage(match profile.packages.published {
                    true => format!(
                        "{name} has no {entry}: {without}\nhint: {entry} is in an image of another repository, or in a package: cargo xtask --root DIR kernel-tag names the kernel's"
                    ),
                    false => format!(
                        "{name} has no {entry}: no installer, and {without}\nhint: lf-edge/eve has one: cargo xtask --root DIR installer-raw, for example"
                    ),
                }));
            };
            of_package.entry(package.clone()).or_default().push((*entry).to_owned());
        }
        let out = self.build_dir().join("installer");
        of_package.into_iter().map(|(package, entries)| self.part(NodeId::Parts(package.clone()), &package, out.clone(), entries)).collect()
    }

    /// Those of `entries` that the tree has.
    pub(super) fn parts_if_any(&mut self, entries: &[&'static str]) -> Result<Vec<NodeId>> {
        let known: Vec<&'static str> = entries.iter().copied().filter(|entry| self.facts.profile().parts.contains_key(*entry)).collect();
        self.parts(&known)
    }

    pub(super) fn part(&mut self, id: NodeId, package: &str, out: std::path::PathBuf, entries: Vec<String>) -> Result<NodeId> {
        let published = self.facts.profile().packages.published;
        let facts = self.facts.package(package)?;
        let mut needs = self.generated(&facts)?;
        if !published {
            needs.push(need(&self.package(package, self.knobs.arch, &mut Vec::new())?, "they lie in its image"));
        }
        let image = ImageRef { reference: facts.plain, arch: self.knobs.arch };
        Ok(self.add(Node {
            id,
            inputs: vec![input("image", &image), input("names", entries.join(" "))],
            needs,
            outputs: entries.iter().map(|entry| out.join(entry)).collect(),
            action: Action::ExportParts { package: package.to_owned(), image, out, entries, fetch: published },
        }))
    }

    pub(super) fn firmware(&mut self) -> Result<NodeId> {
        let profile = self.facts.profile();
        let (package, files) = (profile.firmware.package.clone(), profile.firmware_files(self.knobs.arch).to_vec());
        let out = self.installer("firmware");
        self.part(NodeId::Firmware, &package, out, files)
    }
}
