//! What a person can ask for, and which planning function answers it.

use crate::{Composed, DiskKind, Facts, PackageWork, Plan, planner::Planner};
use anyhow::Result;
use knobs::{ImageFormat, Knobs};

/// What a person can ask for, without its knobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Some packages for the target architecture.
    Packages(Vec<String>, PackageWork),
    /// The same without what the tree builds before them though no Dockerfile says so.
    PackagesAlone(Vec<String>, PackageWork),
    /// build.yml of packages that have a template for it.
    BuildYmls(Vec<String>),
    /// `rootfs.tar`.
    RootfsTar,
    /// `rootfs.img`.
    Rootfs,
    /// `config.img`.
    Config,
    /// Files of packages beside `rootfs.img`, by the names that the profile gives them.
    Parts(Vec<&'static str>),
    /// What a virtual machine boots with.
    Firmware,
    /// The live disk in one format, with what a virtual machine boots it with.
    Live(ImageFormat),
    /// The live disk in one format, as a target names it.
    LiveDisk(ImageFormat),
    /// A raw disk that installs.
    Disk(DiskKind),
    /// `installer.iso`.
    InstallerIso,
    /// `installer.net`.
    InstallerNet,
    /// `installer.img`.
    InstallerImg,
    /// The installer's own root file system as a tar.
    InstallerTar,
    /// The bill of materials.
    Sbom,
    /// The image that holds everything.
    Eve,
}

/// The plan of one goal.
pub fn plan_goal(goal: &Goal, knobs: &Knobs, facts: &dyn Facts) -> Result<Plan> {
    let mut planner = Planner::new(knobs, facts);
    let goals = match goal {
        Goal::Packages(names, work) => planner.packages(names, *work, true)?,
        Goal::PackagesAlone(names, work) => planner.packages(names, *work, false)?,
        Goal::BuildYmls(names) => planner.build_ymls(names)?,
        Goal::RootfsTar => vec![planner.tar(Composed::Rootfs)?],
        Goal::Rootfs => planner.then_current(Planner::rootfs_img)?,
        Goal::Config => vec![planner.config_img()?],
        Goal::Parts(entries) => planner.parts(entries)?,
        Goal::Firmware => vec![planner.firmware()?],
        Goal::Live(format) => planner.live(*format, true)?,
        // Where firmware is fetched from a registry, a disk that is named for another use goes without.
        Goal::LiveDisk(format) => planner.live(*format, !facts.capabilities().packages_are_published)?,
        Goal::Disk(kind) => planner.then_current(|planner| planner.disk(*kind))?,
        Goal::InstallerIso => planner.then_current(Planner::installer_iso)?,
        Goal::InstallerNet => planner.then_current(Planner::installer_net)?,
        Goal::InstallerImg => planner.installer_part()?,
        Goal::InstallerTar => planner.installer_tar()?,
        Goal::Sbom => vec![planner.sbom()?],
        Goal::Eve => planner.eve()?,
    };
    Ok(planner.finish(goals))
}
