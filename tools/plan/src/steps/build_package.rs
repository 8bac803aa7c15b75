//! A package: built into the image cache after the packages that its Dockerfile names, or pushed.

use super::{Describe, Short};
use crate::{
    ImageRef, Need, NodeId, PackageFacts, PackageWork, Release,
    planner::{Planner, input, need},
};
use anyhow::{Result, bail};
use common::{Arch, error::usage};
use std::{collections::HashSet, path::PathBuf};

/// Builds or pushes a package, or pushes the index of its architectures.
#[derive(Clone, Debug)]
pub struct BuildPackage {
    /// Its name: the folder below `pkg/`.
    pub name: String,
    /// The folder with the Dockerfile.
    pub dir: PathBuf,
    /// The image.
    pub image: ImageRef,
    /// The name of the build.yml.
    pub build_yml: String,
    /// The Dockerfile, if the package has only a template of it. The file exists only while docker reads it, because git does not ignore it.
    pub dockerfile: Option<String>,
    /// What to do.
    pub work: PackageWork,
    /// A tag that replaces linuxkit's own, set by a knob or a variant.
    pub hash: Option<String>,
    /// Build arguments, `NAME=y`.
    pub build_args: Vec<String>,
    /// The release's tag, a second tag of a pushed image.
    pub release: Option<String>,
    /// Options that replace `hash` and `release`.
    pub options: Vec<String>,
    /// A hash of the package's changes, if the image's tag does not show all of them: then a stamp tells whether the image is old.
    pub changes: Option<String>,
    /// Whether the package has changes that no commit has.
    pub is_dirty: bool,
    /// Build even if the image exists.
    pub force: bool,
    /// Also load the image into docker.
    pub docker_load: bool,
    /// The architectures.
    pub platforms: Vec<Arch>,
    /// Remove dangling images afterwards.
    pub prune: bool,
    /// Archives of other images that are written into its folder first.
    pub archives: Vec<ImageArchive>,
}

/// A docker archive of an image in the folder of a package that contains it.
#[derive(Clone, Debug)]
pub struct ImageArchive {
    /// The file; git ignores it.
    pub file: PathBuf,
    /// The image.
    pub image: ImageRef,
}

impl Describe for BuildPackage {
    fn describe(&self, short: &Short<'_>) -> String {
        let force = if self.force { ", even if the image exists" } else { "" };
        let archives: String =
            self.archives.iter().map(|archive| format!(", with {} in {}", archive.image, short(&archive.file))).collect();
        let with = if self.build_args.is_empty() { String::new() } else { format!(" with {}", self.build_args.join(" ")) };
        format!("{} {} as {}{with}{force}{archives}", self.work, short(&self.dir), self.image)
    }

    fn package(&self) -> Option<&BuildPackage> {
        Some(self)
    }

    fn is_always_due(&self) -> bool {
        self.work != PackageWork::Build || self.force
    }
}

impl Planner<'_> {
    /// The packages `names`, each after its packages in the profile's `after`.
    pub(crate) fn packages(&mut self, names: &[String], work: PackageWork) -> Result<Vec<NodeId>> {
        let (mut goals, mut known) = (Vec::new(), HashSet::new());
        for name in names {
            let before = self.facts.profile().packages.after.get(name).cloned().unwrap_or_default();
            for name in before.iter().chain([name]) {
                let id = self.work_on(name, self.knobs.image.arch, work, &mut Vec::new())?;
                if known.insert(id.clone()) {
                    goals.push(id);
                }
            }
        }
        Ok(goals)
    }

    /// The packages `names` without those that come before them only for the order: bases are planned where this tree must build them.
    pub(crate) fn packages_alone(&mut self, names: &[String], work: PackageWork) -> Result<Vec<NodeId>> {
        let arch = self.knobs.image.arch;
        let alone = work != PackageWork::Build || self.can.packages_are_published;
        let one = |planner: &mut Self, name: &String| match alone {
            true => {
                let package = planner.facts.package(name)?;
                let needs = planner.generated(&package)?;
                planner.package_node(package, arch, needs, work, &[])
            }
            false => planner.package(name, arch, &mut Vec::new()),
        };
        names.iter().map(|name| one(self, name)).collect()
    }

    /// A package without its bases, which the registry has.
    pub(crate) fn package_of_fetched(&mut self, package: PackageFacts) -> Result<NodeId> {
        let (arch, needs) = (self.knobs.image.arch, self.generated(&package)?);
        self.package_node(package, arch, needs, PackageWork::Build, &[])
    }

    /// A package for `arch` and its bases. `above` are the packages that are being planned, to find cycles.
    pub(crate) fn package(&mut self, name: &str, arch: Arch, above: &mut Vec<String>) -> Result<NodeId> {
        self.work_on(name, arch, PackageWork::Build, above)
    }

    /// Builds or pushes a package after its bases. Where this tree builds all packages, a push needs no other: the bases were pushed when
    /// they changed.
    fn work_on(&mut self, name: &str, arch: Arch, work: PackageWork, above: &mut Vec<String>) -> Result<NodeId> {
        if work != PackageWork::Build && !self.can.packages_are_published {
            return self.packages_alone(&[name.to_owned()], work).map(|ids| ids[0].clone());
        }
        // A tool image runs on the build machine, whatever the target architecture.
        let is_tool = self.facts.profile().packages.tool_images.iter().any(|tool| tool == name);
        let arch = if is_tool { self.knobs.host_arch } else { arch };
        let has_program = self.facts.profile().packages.programs.contains_key(name);
        if has_program && arch != self.knobs.host_arch {
            return Err(usage(format!(
                "pkg/{name} contains a program of this workspace, which is compiled for this machine's architecture only, {}, not for {arch}\nhint: build it on a machine of that kind",
                self.knobs.host_arch
            )));
        }
        let id = NodeId::Package(name.to_owned(), arch);
        if self.has(&id) {
            return Ok(id);
        }
        if above.iter().any(|other| other == name) {
            bail!("packages need each other: {} -> {name}", above.join(" -> "));
        }
        above.push(name.to_owned());
        let package = self.facts.package(name)?;
        let needs = self.bases(&package, arch, work, above)?;
        // After the bases: if the archive is not for it, no other package needs to be named.
        self.check_arch(&package, arch)?;
        let id = self.package_node(package, arch, needs, work, above)?;
        above.pop();
        Ok(id)
    }

    /// Fails if the package is not for `arch`.
    fn check_arch(&self, package: &PackageFacts, arch: Arch) -> Result<()> {
        if package.arches.is_empty() || package.arches.iter().any(|known| known == arch.as_str()) {
            return Ok(());
        }
        let folder = package.dir.strip_prefix(self.facts.root()).unwrap_or(&package.dir).display();
        let needed = if self.facts.profile().packages.archive.as_ref() == Some(&package.name) {
            format!("pinned Debian packages for {arch} (a file {arch}.lock in {folder}), and {arch} in `arches` of every package")
        } else {
            format!("a Dockerfile that builds for {arch}, and {arch} in `arches`")
        };
        Err(usage(format!(
            "{folder} is not for {arch}: `arches` in its {} has {}\nhint: {arch} would need {needed}; an architecture that there is: --zarch {}",
            package.build_yml,
            package.arches.join(", "),
            package.arches[0],
        )))
    }

    fn bases(&mut self, package: &PackageFacts, arch: Arch, work: PackageWork, above: &mut Vec<String>) -> Result<Vec<Need>> {
        let mut needs = self.generated(package)?;
        // The builder fetches base images from the registry, unless the profile orders packages.
        let packages = &self.facts.profile().packages;
        if self.can.packages_are_published && !packages.ordered {
            return Ok(needs);
        }
        for base in package.bases.iter().filter(|base| base.target.is_none_or(|target| target == arch)) {
            // Packages that start from each other's older images form a cycle; the registry has those images.
            if self.can.packages_are_published && above.contains(&base.name) {
                continue;
            }
            let arch = if base.on_build_machine { self.knobs.host_arch } else { arch };
            let base = need(&self.work_on(&base.name, arch, work, above)?, "its Dockerfile starts from it");
            // If both architectures are this machine's, a base can occur twice.
            if needs.iter().all(|known: &Need| known.id != base.id) {
                needs.push(base);
            }
        }
        for inner in self.facts.profile().packages.archives_in(&package.name).map(|(_, inner)| inner.to_owned()).collect::<Vec<_>>() {
            needs.push(need(&self.work_on(&inner, arch, work, above)?, "an archive of its image is in its folder"));
        }
        Ok(needs)
    }

    /// `above` are the packages for which this one is planned, and itself.
    fn package_node(&mut self, package: PackageFacts, arch: Arch, needs: Vec<Need>, work: PackageWork, above: &[String]) -> Result<NodeId> {
        let packages = &self.facts.profile().packages;
        let has = |list: &[String]| list.contains(&package.name);
        let mut platforms = vec![arch];
        if has(&packages.host_arch_too) && arch != self.knobs.host_arch {
            platforms.push(self.knobs.host_arch);
        }
        let docker_load = self.can.tools_run_in_containers && (has(&packages.docker_load) || has(&packages.tool_images));
        let release = match work {
            PackageWork::Push => self.facts.release()?,
            _ => Release { hash: None, release: self.knobs.packages.release.clone() },
        };
        if let Some(file) = &package.hidden {
            let (dir, image, file) = (package.dir.display(), &package.reference, file.display());
            bail!(usage(format!(
                "{file} is not what the commit has, and git is told not to look at it: linuxkit would give this package the commit's tag, \
                 {image}\nhint: git -C '{dir}' update-index --no-assume-unchanged --no-skip-worktree '{file}'\n\
                 hint: git sparse-checkout disable, if that left the file out"
            )));
        }
        let image = ImageRef { reference: package.reference.clone(), arch };
        let options = self.knobs.packages.linuxkit_options.split_whitespace().map(str::to_owned).collect();
        let (id, mut inputs) = (NodeId::Package(package.name.clone(), arch), vec![input("image", &image)]);
        inputs.extend(package.changes.as_ref().map(|changes| input("changes", changes)));
        // The tag of such a package does not change with what is in it.
        let is_forced = above.iter().any(|name| packages.forced.contains(name));
        let archives = packages.archives_in(&package.name).filter(|_| !above.is_empty());
        let archives = archives.map(|(file, inner)| {
            let reference = self.facts.package(inner)?.reference;
            Ok(ImageArchive { file: package.dir.join(file), image: ImageRef { reference, arch } })
        });
        let archives = archives.collect::<Result<Vec<_>>>()?;
        let step = BuildPackage {
            name: package.name,
            dir: package.dir,
            image,
            build_yml: package.build_yml,
            dockerfile: package.generated_dockerfile,
            work,
            hash: release.hash.or(package.hash),
            build_args: package.build_args,
            release: release.release,
            options,
            changes: package.changes,
            is_dirty: package.is_dirty,
            force: self.knobs.packages.force || is_forced,
            docker_load,
            platforms,
            prune: self.knobs.packages.prune,
            archives,
        };
        Ok(self.add(id, inputs, needs, [], step))
    }
}
