//! Knobs that a verb takes but that nothing reads on a tree or with an engine. A value for such a knob gets a note, and the verb's help does
//! not show it. The values are accepted, because one `make` line sets variables for all its targets.

use crate::commands::{Action, Verb};
use checkout::context::Ctx;
use clap::Command;
use knobs::{Knobs, RootfsFormat, Source, find};
use plan::{Capabilities, EngineKind, Profile, VariantKnob};

/// What reads a knob. A knob without a row in [`READERS`] is read by every verb that takes it.
#[derive(Clone, Copy)]
enum Reader {
    /// The linuxkit engine.
    Linuxkit,
    /// The linuxkit engine, and verbs that call docker themselves.
    Docker,
    /// The native engine, which packs a squashfs itself.
    Packer,
    /// The native engine, which keeps artifacts and compressed blocks, and verbs that remove them.
    Store,
    /// The builder of the Debian archive, and verbs that fetch Debian's sources and indices.
    DebianArchive,
    /// syft, in a container.
    Syft,
    /// The step that fetches packages instead of building them.
    PublishedPackages,
    /// The tags of packages that no Dockerfile of the tree names.
    Organization,
    /// The tree's makefile that names the kernel's image.
    KernelMakefile,
    /// A package's build-rstats.yml.
    Rstats,
    /// The tree's packages with build arguments.
    BuildArguments,
    /// The container in which a tree's Go code is built.
    GoBuilder,
    /// The collector of Go modules' sources.
    GoSources,
    /// The step that packs rootfs.img, and verbs about keys.
    Signer,
}

const READERS: &[(Reader, &[&str])] = &[
    (
        Reader::Linuxkit,
        &[
            "LINUXKIT_OPTS",
            "EVE_REL",
            "PRUNE",
            "BUILDERS",
            "BUILDKIT_PROGRESS",
            "LINUXKIT_MIRROR",
            "LINUXKIT_BUILDER_NAME",
            "LINUXKIT_BUILDER_IMAGE",
            "LINUXKIT_BUILDER_CONFIG",
            "DEBUG",
        ],
    ),
    (Reader::Docker, &["DOCKER"]),
    (Reader::Packer, &["ROOTFS_COMPRESSION"]),
    (Reader::Store, &["STORE", "STORE_LIMIT"]),
    (Reader::DebianArchive, &["DEBIAN_MIRROR", "DEBIAN_SECURITY_MIRROR"]),
    (Reader::Syft, &["SYFT_VERSION"]),
    (Reader::PublishedPackages, &["ROOTFS_DEPS"]),
    (Reader::Organization, &["LINUXKIT_PKG_ORG"]),
    (Reader::KernelMakefile, &["KERNEL_TAG", "KERNEL_CONFIG_FLAVOR"]),
    (Reader::Rstats, &["RSTATS"]),
    (Reader::BuildArguments, &["COVER", "IMM_PROFILING", "ARTIFICIAL_LEAK", "FAULT_INJECTION"]),
    (Reader::GoBuilder, &["GOVER", "BUILD"]),
    (Reader::GoSources, &["GOSOURCES_VERSION"]),
    (Reader::Signer, &["SIGN", "SIGN_KEYS"]),
];

/// Verbs that build and make no rootfs.img.
const WITHOUT_ROOTFS: &[&str] = &["rootfstar", "config", "pkg", "pkgs", "initrd", "kernel", "kernel-yml", "installertar"];

/// The knobs of disks and of the bill of materials, which change nothing that a verb of [`UNREAD`] makes.
const OF_DISKS: &[&str] = &["IMAGE_FORMAT", "INSTALLER_IMG_FORMAT", "LIVE_PART_SPEC", "MEDIA_SIZE", "PARALLELS_UUID", "SBOM"];
/// Verbs that make little, and the other knobs that change nothing of it on the native tree, with any engine. A test compares their plans.
const UNREAD: &[(&str, &[&str])] = &[
    (
        "config",
        &[
            "ACRN_BIN",
            "DOCKER_ARCH_TAG",
            "HV",
            "KERNEL_IMAGE",
            "LINUXKIT_PKG_TARGET",
            "LIVE_FAST",
            "LIVE_UPDATE",
            "ROOTFS_FORMAT",
            "ROOTFS_MAXSIZE_MB",
        ],
    ),
    (
        "pkgs",
        &[
            "ACRN_BIN",
            "CONF_DIR",
            "DOCKER_ARCH_TAG",
            "EVE_SNAPSHOT_VERSION",
            "HV",
            "KERNEL_IMAGE",
            "LIVE_FAST",
            "LIVE_UPDATE",
            "ROOTFS_FORMAT",
            "ROOTFS_MAXSIZE_MB",
            "ROOTFS_VERSION",
        ],
    ),
    ("rootfstar", &["CONF_DIR", "LINUXKIT_PKG_TARGET", "ROOTFS_FORMAT", "ROOTFS_MAXSIZE_MB"]),
    ("rootfs", &["CONF_DIR", "LINUXKIT_PKG_TARGET"]),
];

/// Why nothing reads the knob `name` of `verb` on the tree with this profile and this engine; none if something does.
pub fn why_idle(name: &str, verb: &Verb, profile: &Profile, engine: EngineKind) -> Option<String> {
    if profile.packages.archive.is_some()
        && UNREAD.iter().any(|(of, names)| *of == verb.name && (OF_DISKS.contains(&name) || names.contains(&name)))
    {
        return Some(format!("nothing that `{}` makes depends on it", verb.name));
    }
    let (reader, _) = READERS.iter().find(|(_, names)| names.contains(&name))?;
    let (can, tree) = (Capabilities::of(profile, engine), &profile.tree.name);
    let unless = |is_there: bool, why: &str| (!is_there).then(|| why.to_owned());
    match reader {
        Reader::Linuxkit => unless(can.tools_run_in_containers, "only the linuxkit engine reads it"),
        Reader::Docker => unless(can.tools_run_in_containers || !verb.builds, "the native engine starts no containers"),
        Reader::Packer => unless(!can.tools_run_in_containers, "the tool image chooses the compressor; --engine native reads it"),
        Reader::Store => {
            unless(!can.tools_run_in_containers || !verb.builds, "only the native engine keeps artifacts and compressed blocks")
        }
        Reader::DebianArchive if profile.packages.archive.is_none() => Some(format!("{tree} has no archive of Debian packages")),
        Reader::DebianArchive => {
            let builds_packages = matches!(verb.action, Action::Builds(_)) || verb.name == "pkg";
            unless(!can.tools_run_in_containers || !builds_packages, "docker builds pkg/debian with the mirrors of its own base image")
        }
        Reader::Syft if profile.sbom.is_some() => Some(format!("linuxkit writes the bill of materials of {tree}, not syft")),
        Reader::Syft => unless(can.tools_run_in_containers, "the native engine writes the bill of materials itself, without syft"),
        Reader::PublishedPackages => (!can.packages_are_published).then(|| format!("{tree} always builds its packages")),
        Reader::Organization => {
            unless(can.packages_are_published, "the Dockerfiles of this tree name its packages by their own organization")
        }
        Reader::KernelMakefile => profile.kernel.is_none().then(|| format!("{tree} builds its kernel from a package")),
        Reader::Rstats => (!has_rstats(profile)).then(|| format!("no package of {tree} has a build-rstats.yml")),
        Reader::BuildArguments => profile.packages.build_args.is_empty().then(|| format!("no package of {tree} has this build argument")),
        Reader::GoBuilder => (!can.has_pillar).then(|| format!("{tree} has no container in which Go code is built")),
        Reader::GoSources => {
            let is_debian = profile.packages.archive.is_some() && !can.packages_are_published;
            (is_debian && verb.name != "gosources" && verb.name != "build-tools").then(|| format!("{tree} collects Debian's sources only"))
        }
        Reader::Signer => unless(!WITHOUT_ROOTFS.contains(&verb.name), "rootfs.img is signed, and it is not made here"),
    }
}

/// Whether a package has a build.yml for RSTATS.
fn has_rstats(profile: &Profile) -> bool {
    let ymls = || profile.packages.variants.iter().filter(|variant| variant.knob == Some(VariantKnob::Rstats));
    let packages = std::fs::read_dir(&profile.packages.folder).into_iter().flatten().flatten();
    packages.map(|package| package.path()).any(|package| ymls().any(|variant| package.join(&variant.yml).is_file()))
}

/// Prints a note for each value that nothing reads: all that were typed, and for a verb that builds also those of the environment.
pub fn note(ctx: &Ctx, verb: &Verb) {
    for origin in &ctx.knobs.origins {
        let was_meant = origin.source == Source::Command || origin.source == Source::Environment && verb.builds;
        let is_default = find(&origin.name).is_none_or(|knob| knob.default == origin.value) || origin.value.is_empty();
        if was_meant
            && !is_default
            && let Some(why) = why_idle(&origin.name, verb, &ctx.profile, ctx.engine).or_else(|| why_idle_beside(&origin.name, &ctx.knobs))
        {
            eprintln!("note: {} has no effect here: {why}", origin.name);
        }
    }
}

/// Why the value of a knob has no effect beside the values of others.
fn why_idle_beside(name: &str, knobs: &Knobs) -> Option<String> {
    (name == "ROOTFS_COMPRESSION" && knobs.image.rootfs_format == RootfsFormat::Ext4)
        .then(|| "ROOTFS_FORMAT is ext4, which is not compressed".to_owned())
}

/// Hides in the help of `command` the knobs that nothing reads, and the option that only the native engine has.
#[must_use]
pub fn hide(command: Command, verb: &Verb, profile: &Profile, engine: EngineKind) -> Command {
    command.mut_args(|arg| {
        let is_native = arg.get_id() == "shell_on_failure" && engine != EngineKind::Native;
        let is_idle = is_native || why_idle(arg.get_id().as_str(), verb, profile, engine).is_some();
        if is_idle { arg.hide(true) } else { arg }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{
        context,
        globals::{OnFailure, Options},
        verbs,
    };
    use child::environment::Environment;
    use knobs::{Knob, RawKnobs};
    use std::path::{Path, PathBuf};

    /// Knobs that builds read outside of the usual plan, and where. PLATFORM is refused unless a tree has platforms.
    const NOT_IN_PLANS: &[(&str, &str)] = &[
        ("PLATFORM", "xtask/src/cli/context.rs"),
        ("BUILDERS", "tools/linuxkit/src/lib.rs"),
        ("BUILDKIT_PROGRESS", "tools/linuxkit/src/lib.rs"),
        ("LINUXKIT_MIRROR", "tools/linuxkit/src/lib.rs"),
        ("LINUXKIT_BUILDER_NAME", "tools/linuxkit/src/lib.rs"),
        ("LINUXKIT_BUILDER_IMAGE", "tools/linuxkit/src/lib.rs"),
        ("LINUXKIT_BUILDER_CONFIG", "tools/linuxkit/src/lib.rs"),
        ("DEBIAN_MIRROR", "tools/native/src/mirrors.rs"),
        ("DEBIAN_SECURITY_MIRROR", "tools/native/src/mirrors.rs"),
        ("INSTALL_TOOLS", "xtask/src/commands/doctor.rs"),
        // Only with SIGN.
        ("SIGN_KEYS", "tools/plan/src/signing.rs"),
        ("STORE", "tools/checkout/src/context.rs"),
        ("CACHE", "tools/native/src/team.rs"),
        ("CACHE_MODE", "tools/native/src/team.rs"),
        ("LOCKED", "tools/native/src/locked.rs"),
        ("LOCK_KEY", "tools/native/src/locked.rs"),
        ("STORE_LIMIT", "xtask/src/commands/store.rs"),
        ("CHECK_ARTIFACTS", "xtask/src/commands/build.rs"),
        ("DOCKER", "xtask/src/cli/context.rs"),
        ("HTTP_PROXY", "tools/native/src/mirrors.rs"),
        ("HTTPS_PROXY", "tools/native/src/mirrors.rs"),
        ("NO_PROXY", "tools/native/src/mirrors.rs"),
        ("ALL_PROXY", "tools/helpers/src/go_builder.rs"),
        ("DEBUG", "tools/linuxkit/src/lib.rs"),
        ("V", "xtask/src/commands/build.rs"),
        ("BELL", "xtask/src/cli/mod.rs"),
    ];

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
    }

    /// The context of this tree with these knobs.
    fn ctx(engine: &str, set: &[(&str, &str)]) -> Ctx {
        let mut raw = RawKnobs::default();
        for (name, value) in set {
            raw.set(name, value, Source::Command).expect("a knob");
        }
        let knobs = Knobs::resolve(&raw, &root()).expect("knobs");
        let options = Options { engine: Some(engine.to_owned()), ..Options::default() };
        context::build(
            options,
            OnFailure::default(),
            knobs,
            checkout::read_profile(&root()).expect("a profile"),
            root(),
            &Environment::of_process(),
            checkout::Ahead::default(),
        )
        .expect("a context")
    }

    /// A value of `knob` that is not its default.
    fn other_value(knob: &Knob) -> String {
        match (knob.name.as_str(), knob.values.as_str()) {
            ("ZARCH", _) => (if Knobs::resolve(&RawKnobs::default(), &root()).expect("knobs").host_arch.as_str() == "arm64" {
                "amd64"
            } else {
                "arm64"
            })
            .to_owned(),
            ("CONF_DIR" | "KERNEL_IMAGE", _) => "images".to_owned(),
            ("HV", _) => "xen".to_owned(),
            ("LIVE_PART_SPEC", _) => "efi imga".to_owned(),
            ("ROOTFS_VERSION" | "EVE_SNAPSHOT_VERSION", _) => "9.9.9".to_owned(),
            (_, "MiB") => "4321".to_owned(),
            (_, words) if words.contains(", ") => {
                words.split(", ").find(|word| *word != knob.default && *word != "manifest").unwrap_or_default().to_owned()
            }
            _ => "other".to_owned(),
        }
    }

    /// The plans of all targets, as text.
    fn plans(ctx: &Ctx) -> String {
        let tree = ctx.tree().expect("this tree");
        let goals = verbs().filter_map(|verb| if let Action::Builds(goal) = verb.action { Some(goal) } else { None });
        let plan = |goal: fn(&Ctx) -> anyhow::Result<plan::Goal>| plan::plan_goal(&goal(ctx)?, &ctx.knobs, &tree);
        goals.map(|goal| format!("{:?}\n", plan(goal))).collect()
    }

    /// The format whose disk has an id.
    const PARALLELS: (&str, &str) = ("IMAGE_FORMAT", "parallels");

    #[test]
    fn a_knob_changes_a_plan_or_gets_a_note() {
        let live = verbs().find(|verb| verb.name == "live").expect("a verb");
        let mut silent = Vec::new();
        for engine in ["native", "linuxkit"] {
            // With one tag for all packages an edit of the tree between two plans changes nothing.
            let with = |hv, more: &[(&str, &str)]| plans(&ctx(engine, &[&[("HV", hv), ("EVE_HASH", "tag")], more].concat()));
            let (usual, usual_acrn, here) = (with("kvm", &[]), with("acrn", &[]), ctx(engine, &[]));
            let usual_parallels = with("kvm", &[PARALLELS]);
            for origin in here.knobs.origins.iter().filter(|origin| !["HV", "EVE_HASH"].contains(&origin.name.as_str())) {
                let knob = find(&origin.name).expect("a knob");
                let is_elsewhere = NOT_IN_PLANS.iter().any(|(name, _)| *name == knob.name);
                if is_elsewhere || why_idle(&knob.name, live, &here.profile, here.engine).is_some() {
                    continue;
                }
                let value = other_value(knob);
                // Two knobs count only beside another.
                let (hv, beside, usual): (_, &[_], _) = match &*knob.name {
                    "ACRN_BIN" => ("acrn", &[], &usual_acrn),
                    "PARALLELS_UUID" => ("kvm", &[PARALLELS], &usual_parallels),
                    _ => ("kvm", &[], &usual),
                };
                if with(hv, &[beside, &[(&knob.name, &value)]].concat()) == *usual {
                    silent.push(format!("{engine}: {}={value}", knob.name));
                }
            }
        }
        assert!(silent.is_empty(), "neither a plan nor a note shows them: {silent:#?}");
        for (name, file) in NOT_IN_PLANS {
            assert!(find(name).is_some() && root().join(file).is_file(), "{name}");
        }
    }

    #[test]
    fn a_verb_that_makes_little_offers_no_knob_of_the_rest() {
        for (name, unread) in UNREAD {
            let verb = verbs().find(|verb| verb.name == *name).expect("a verb");
            let Action::Builds(goal) = verb.action else { unreachable!("{name} builds nothing") };
            let mut found = Vec::new();
            let plan = |engine: &str, set: &[(&str, &str)]| {
                let ctx = ctx(engine, &[set, &[("EVE_HASH", "tag")]].concat());
                format!("{:?}", plan::plan_goal(&goal(&ctx).expect("a goal"), &ctx.knobs, &ctx.tree().expect("this tree")))
            };
            // A knob may count only beside others.
            let bases: [(&str, &[(&str, &str)]); 3] =
                [("native", &[]), ("linuxkit", &[]), ("native", &[("HV", "acrn"), ("ROOTFS_FORMAT", "ext4")])];
            let with = |more: &[(&str, &str)]| {
                bases.map(|(engine, base)| {
                    let others = base.iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
                    plan(engine, &others.chain(more).copied().collect::<Vec<_>>())
                })
            };
            let usual = with(&[]);
            // DEV counts where a package has a build-dev.yml; ACRN is for one architecture.
            let apart = ["EVE_HASH", "DEV", "ZARCH"];
            for origin in ctx("native", &[]).knobs.origins.iter().filter(|origin| !apart.contains(&origin.name.as_str())) {
                let knob = find(&origin.name).expect("a knob");
                let has_reader = READERS.iter().any(|(_, names)| names.contains(&knob.name.as_str()));
                let is_elsewhere = NOT_IN_PLANS.iter().any(|(name, _)| *name == knob.name);
                if !has_reader && !is_elsewhere && with(&[(knob.name.as_str(), &*other_value(knob))]) == usual {
                    found.push(knob.name.clone());
                }
            }
            found.sort();
            let mut wanted = [OF_DISKS, *unread].concat();
            wanted.sort_unstable();
            assert_eq!(found, wanted, "{name}");
        }
    }

    #[test]
    fn what_reads_a_knob_depends_on_the_tree_and_the_engine() {
        let here = checkout::read_profile(&root()).expect("a profile");
        let (may, today) = (Profile::named("eve-2023", &root()), Profile::named("eve", &root()));
        let why = |name: &str, verb: &str, profile: &Profile, engine| {
            why_idle(name, verbs().find(|known| known.name == verb).expect("a verb"), profile, engine)
        };
        for (_, names) in READERS {
            for name in *names {
                assert!(find(name).is_some_and(|knob| knob.name == *name), "{name} is no knob");
            }
        }
        for name in ["KERNEL_TAG", "KERNEL_CONFIG_FLAVOR", "RSTATS", "ROOTFS_DEPS", "PRUNE", "EVE_REL", "SYFT_VERSION", "DOCKER"] {
            assert!(why(name, "live", &here, EngineKind::Native).is_some(), "{name}");
        }
        assert!(why("KERNEL_TAG", "live", &may, EngineKind::Linuxkit).is_some());
        for name in ["KERNEL_TAG", "ROOTFS_DEPS", "PRUNE", "EVE_REL", "GOVER"] {
            assert_eq!(why(name, "live", &today, EngineKind::Linuxkit), None, "{name}");
        }
        assert_eq!(why("SYFT_VERSION", "sbom", &may, EngineKind::Linuxkit), None);
        assert!(why("SYFT_VERSION", "sbom", &today, EngineKind::Linuxkit).is_some());
        assert_eq!(why("DOCKER", "cache-export-docker-load", &here, EngineKind::Native), None);
        assert!(why("GOSOURCES_VERSION", "collected_sources", &here, EngineKind::Native).is_some());
        assert_eq!(why("GOSOURCES_VERSION", "gosources", &here, EngineKind::Native), None);
        for name in WITHOUT_ROOTFS {
            assert!(why("SIGN", name, &here, EngineKind::Native).is_some(), "{name}");
        }
        for name in ["live", "rootfs", "sbom", "keys", "run"] {
            assert_eq!(why("SIGN_KEYS", name, &here, EngineKind::Native), None, "{name}");
        }
        assert_eq!(why("DEBIAN_MIRROR", "live", &here, EngineKind::Native), None);
        assert!(why("DEBIAN_MIRROR", "live", &here, EngineKind::Linuxkit).is_some());
    }
}
