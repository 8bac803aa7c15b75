//! The goals that can be planned, and the planning function of each.

use crate::{Composed, DiskKind, Facts, PackageWork, Plan, planner::Planner};
use anyhow::Result;
use knobs::{ImageFormat, Knobs};

/// A goal, without its knobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// All packages that are built together, for the target architecture.
    AllPackages(PackageWork),
    /// Some packages for the target architecture.
    Packages(Vec<String>, PackageWork),
    /// The same, without packages that are built before them only for the order.
    PackagesAlone(Vec<String>, PackageWork),
    /// The build.yml of packages that have a template for it.
    BuildYmls(Vec<String>),
    /// The resolved yml of a root file system.
    Yml(Composed),
    /// `rootfs.tar`.
    RootfsTar,
    /// `rootfs.img`, and `rootfs.tar` beside it.
    Rootfs,
    /// `config.img`.
    Config,
    /// Files of packages beside `rootfs.img`, by their names in the profile.
    Parts(Vec<&'static str>),
    /// The firmware of virtual machines.
    Firmware,
    /// The live disk in one format, with the firmware of virtual machines.
    Live(ImageFormat),
    /// The live disk in one format, for a target such as `live-gcp`; with the firmware unless that is in a registry.
    LiveDisk(ImageFormat),
    /// The raw disk of the installer or the verification.
    Disk(DiskKind),
    /// `installer.iso`.
    InstallerIso,
    /// `installer.net`.
    InstallerNet,
    /// `installer.img`.
    InstallerImg,
    /// `verification.img`.
    VerificationImg,
    /// The installer's own root file system as a tar.
    InstallerTar,
    /// The bill of materials.
    Sbom,
    /// The image that contains all artifacts.
    Eve,
}

/// The plan of one goal.
pub fn plan_goal(goal: &Goal, knobs: &Knobs, facts: &dyn Facts) -> Result<Plan> {
    let mut planner = Planner::new(knobs, facts);
    let goals = match goal {
        Goal::AllPackages(work) => planner.packages(&facts.bulk_packages()?, *work)?,
        Goal::Packages(names, work) => planner.packages(names, *work)?,
        Goal::PackagesAlone(names, work) => planner.packages_alone(names, *work)?,
        Goal::BuildYmls(names) => planner.build_ymls(names)?,
        Goal::Yml(of) => vec![planner.yml_alone(*of)?],
        Goal::RootfsTar => vec![planner.tar(Composed::Rootfs)?],
        // The specification: `make rootfs` leaves the tar too. A disk is made without it.
        Goal::Rootfs => [vec![planner.tar(Composed::Rootfs)?], planner.then_current(Planner::rootfs_img)?].concat(),
        Goal::Config => vec![planner.config_img()?],
        Goal::Parts(entries) => planner.parts(entries)?,
        Goal::Firmware => vec![planner.firmware()?],
        Goal::Live(format) => planner.live(*format, true)?,
        // A disk for another use needs no firmware; do not fetch it from a registry.
        Goal::LiveDisk(format) => planner.live(*format, !facts.capabilities().packages_are_published)?,
        Goal::Disk(kind) => planner.medium(|planner| planner.disk(*kind))?,
        Goal::InstallerIso => planner.medium(Planner::installer_iso)?,
        Goal::InstallerNet => planner.medium(Planner::installer_net)?,
        Goal::InstallerImg => planner.installer_part()?,
        Goal::VerificationImg => planner.verification_part()?,
        Goal::InstallerTar => planner.installer_tar()?,
        Goal::Sbom => vec![planner.sbom()?],
        Goal::Eve => planner.eve()?,
    };
    Ok(planner.finish(goals))
}
