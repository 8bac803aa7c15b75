//! Golden plans: each target for each hypervisor and architecture, from facts that never change, without any tool.
//! `XTASK_BLESS=1 cargo test -p plan golden` writes them anew; read the difference before you commit it.

use super::*;
use anyhow::{Result, bail};
use common::Arch;
use knobs::{ImageFormat, Knobs, RawKnobs, Source};
use std::path::{Path, PathBuf};

/// A tree of packages that all have the same tag.
struct Fake {
    profile: Profile,
    engine: EngineKind,
}

impl Facts for Fake {
    fn version(&self) -> &'static str {
        "0.0.0-main-1234abcd"
    }

    fn epoch(&self) -> i64 {
        1_700_000_000
    }

    fn package(&self, name: &str) -> Result<PackageFacts> {
        let bases = match name {
            "debian" | "eve" | "ring-0" => vec![],
            "grub" => vec![("debian".to_owned(), false), ("debian".to_owned(), true)],
            "kernel" | "init" | "uefi" => vec![("debian".to_owned(), false)],
            "ring" => vec![("ring".to_owned(), false)],
            _ if self.engine == EngineKind::Linuxkit => vec![],
            _ => bail!("there is no package `{name}`"),
        };
        let templated = name == "kernel" && self.engine == EngineKind::Linuxkit;
        let reference = format!("lfedge/eve-{name}:{}", "ab12".repeat(10));
        Ok(PackageFacts {
            build_args: vec![],
            changes: None,
            hidden: None,
            is_dirty: false,
            name: name.into(),
            dir: Path::new("/tree/pkg").join(name),
            plain: reference.clone(),
            reference,
            hash: None,
            build_yml: "build.yml".into(),
            arches: if name == "ring-0" { vec!["amd64".into(), "arm64".into()] } else { vec![] },
            bases: bases.into_iter().map(|(name, on_build_machine)| BasePackage { name, on_build_machine, target: None }).collect(),
            yml_template: templated.then(|| "/tree/pkg/kernel/build.yml.in".into()),
            generated_dockerfile: None,
        })
    }

    fn bulk_packages(&self) -> Result<Vec<String>> {
        Ok(["grub", "kernel"].map(str::to_owned).into())
    }

    fn generated_yml(&self, package: &PackageFacts) -> Result<Option<String>> {
        Ok(package.yml_template.as_ref().map(|_| "image: eve-kernel\n".to_owned()))
    }

    fn yml(&self, of: Composed) -> Result<(String, PathBuf, Vec<String>)> {
        let packages = ["grub", "init", "kernel"].map(str::to_owned).to_vec();
        Ok(("kernel: …\n".into(), format!("/tree/images/{}.yml.in", of.as_str()).into(), packages))
    }

    fn file_digest(&self, path: &Path) -> Result<String> {
        Ok(format!("sha256:f11e of {}", path.display()))
    }

    fn file_digest_if_there(&self, path: &Path) -> Result<Option<String>> {
        self.file_digest(path).map(Some)
    }

    fn fill(&self, template: &Path) -> Result<String> {
        Ok(format!("# {}\n", template.display()))
    }

    fn release(&self) -> Result<Release> {
        Ok(Release { hash: None, release: Some("snapshot".into()) })
    }

    fn root(&self) -> &Path {
        Path::new("/tree")
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::of(&self.profile, self.engine)
    }

    fn folder_digest(&self, _: &Path) -> Result<String> {
        Ok("sha256:c0f1".into())
    }

    fn folder_files(&self, _: &Path) -> Result<Vec<PathBuf>> {
        Ok(vec!["grub.cfg".into()])
    }

    fn profile(&self) -> &Profile {
        &self.profile
    }
}

fn facts() -> Fake {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join(crate::PROFILE)).expect("this tree's profile");
    Fake { profile: Profile::parse(&text, &crate::layers::NoTree).expect("a valid profile").below(&root), engine: EngineKind::Native }
}

fn eve(name: &str) -> Fake {
    Fake { profile: Profile::named(name, Path::new("/tree")), engine: EngineKind::Linuxkit }
}

fn knobs(hv: &str, arch: &str, format: &str) -> Knobs {
    let mut raw = RawKnobs::default();
    for (name, value) in [("HV", hv), ("ZARCH", arch), ("IMAGE_FORMAT", format)] {
        raw.set(name, value, Source::Command).expect("a knob");
    }
    let mut knobs = Knobs::resolve(&raw, Path::new("/tree")).expect("knobs");
    // The golden text must not depend on the machine that runs the test.
    knobs.host_arch = Arch::Amd64;
    knobs
}

/// The steps of a plan, and which of them were asked for.
fn shown(plan: &Plan) -> String {
    let goals: Vec<String> = plan.goals.iter().map(ToString::to_string).collect();
    format!("{}goals: {}\n", plan.to_text(Path::new("/tree"), &|_| Some("…".into())), goals.join(", "))
}

fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("XTASK_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
        std::fs::write(&path, text).expect("write");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{name} differs; it is now:\n{text}");
}

#[test]
fn golden_plans_of_live() {
    for hv in ["kvm", "xen", "acrn"] {
        for arch in ["amd64", "arm64", "riscv64"] {
            let knobs = knobs(hv, arch, "qcow2");
            let plan = plan_goal(&Goal::Live(knobs.image.image_format), &knobs, &facts()).expect("a plan");
            check(&format!("live-{hv}-{arch}.txt"), &shown(&plan));
        }
    }
}

#[test]
fn golden_plans_of_the_other_targets() {
    let knobs = knobs("kvm", "amd64", "raw");
    let goals = [
        ("rootfs", Goal::Rootfs),
        ("rootfstar", Goal::RootfsTar),
        ("config", Goal::Config),
        ("sbom", Goal::Sbom),
        ("eve", Goal::Eve),
        ("live-raw", Goal::Live(ImageFormat::Raw)),
        ("installer-raw", Goal::Disk(DiskKind::Installer)),
        ("installer-iso", Goal::InstallerIso),
        ("installer-net", Goal::InstallerNet),
        ("verification-raw", Goal::Disk(DiskKind::Verification)),
        ("pkg-grub", Goal::Packages(vec!["grub".into()], PackageWork::Build)),
    ];
    for (name, goal) in goals {
        let plan = plan_goal(&goal, &knobs, &facts()).expect("a plan");
        check(&format!("{name}.txt"), &shown(&plan));
    }
}

#[test]
fn golden_plans_of_a_checkout_of_lf_edge_eve() {
    for name in ["eve-2023", "eve"] {
        for (hv, arch) in [("kvm", "amd64"), ("xen", "arm64"), ("mini", "riscv64")] {
            let knobs = knobs(hv, arch, "gcp");
            let goals = [
                ("live-gcp", Goal::LiveDisk(ImageFormat::Gcp)),
                ("installer-raw", Goal::Disk(DiskKind::Installer)),
                ("installer-iso", Goal::InstallerIso),
                ("installer-net", Goal::InstallerNet),
                ("verification-raw", Goal::Disk(DiskKind::Verification)),
                ("eve", Goal::Eve),
                ("pkg-pillar", Goal::Packages(vec!["pillar".into(), "mkconf".into()], PackageWork::Push)),
            ];
            let mut text = String::new();
            for (target, goal) in goals {
                text.push_str(&format!("== {target}\n"));
                match plan_goal(&goal, &knobs, &eve(name)) {
                    Ok(plan) => text.push_str(&shown(&plan)),
                    Err(error) => text.push_str(&format!("{error:#}\n")),
                }
            }
            check(&format!("{name}-{hv}-{arch}.txt"), &text);
        }
    }
}

#[test]
fn a_ring_of_packages_is_named() {
    let error =
        plan_goal(&Goal::Packages(vec!["ring".into()], PackageWork::Build), &knobs("kvm", "amd64", "raw"), &facts()).expect_err("a ring");
    assert_eq!(error.to_string(), "packages need each other: ring -> ring");
}

#[test]
fn a_package_for_other_architectures_is_refused_in_the_plan() {
    let goal = Goal::Packages(vec!["ring-0".into()], PackageWork::Build);
    plan_goal(&goal, &knobs("kvm", "arm64", "raw"), &facts()).expect("a plan");
    let error = plan_goal(&goal, &knobs("kvm", "riscv64", "raw"), &facts()).expect_err("not for riscv64").to_string();
    assert!(error.starts_with("pkg/ring-0 is not for riscv64: `arches` in its build.yml has amd64, arm64\nhint: "), "{error}");
}

#[test]
fn nothing_is_resolved_that_the_target_does_not_need() {
    let plan = plan_goal(&Goal::Config, &knobs("kvm", "amd64", "raw"), &facts()).expect("a plan");
    assert_eq!(plan.nodes.len(), 1);
}

/// The tags of an XML document in order; fails unless each is closed and every `&` starts an entity.
fn tags(xml: &str) -> Vec<String> {
    let (mut open, mut found) = (Vec::new(), Vec::new());
    for piece in xml.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        assert!(!text.contains('>') && tag.matches('"').count() % 2 == 0, "{piece}");
        for entity in piece.split('&').skip(1) {
            assert!(["lt;", "gt;", "amp;", "quot;"].iter().any(|known| entity.starts_with(known)), "{piece}");
        }
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop().as_deref(), Some(name)),
            None if tag.starts_with('?') || tag.ends_with('/') => found.push(tag.to_owned()),
            None => {
                open.push(tag.split(' ').next().unwrap_or_default().to_owned());
                found.push(tag.to_owned());
            }
        }
    }
    assert!(open.is_empty(), "{open:?} stay open");
    found
}

/// The value of an attribute.
fn attribute(tag: &str, name: &str) -> f64 {
    let value = tag.split(&format!(" {name}=\"")).nth(1).and_then(|rest| rest.split('"').next()).expect("the attribute");
    value.parse().expect("a number")
}

#[test]
fn a_picture_has_every_node_and_edge_and_no_node_covers_another() {
    let knobs = knobs("kvm", "amd64", "qcow2");
    for goal in [Goal::Live(ImageFormat::Qcow2), Goal::Disk(DiskKind::Installer), Goal::Config, Goal::Eve] {
        let plan = plan_goal(&goal, &knobs, &facts()).expect("a plan");
        let svg = plan.to_svg();
        assert_eq!(svg, plan.to_svg());
        let tags = tags(&svg);
        let count = |start: &str| tags.iter().filter(|tag| tag.starts_with(start)).count();
        assert_eq!(count("g class=\"node"), plan.nodes.len());
        assert_eq!(count("g class=\"node goal"), plan.goals.len());
        assert_eq!(count("path class=\"edge\""), plan.nodes.iter().map(|node| node.needs.len()).sum::<usize>());
        for node in &plan.nodes {
            assert!(svg.contains(&format!(">{}</text>", node.id)), "{}", node.id);
            for need in &node.needs {
                assert!(svg.contains(&format!("data-from=\"{}\" data-to=\"{}\"", need.id, node.id)), "{} after {}", node.id, need.id);
                assert!(svg.contains(&format!("{} after {}: {}", node.id, need.id, need.reason)), "{}", need.reason);
            }
        }
        let boxes: Vec<[f64; 4]> = tags
            .iter()
            .filter(|tag| tag.starts_with("rect "))
            .map(|tag| ["x", "y", "width", "height"].map(|name| attribute(tag, name)))
            .collect();
        let page = tags.iter().find(|tag| tag.starts_with("svg ")).expect("a picture");
        for (at, [x, y, width, height]) in boxes.iter().enumerate() {
            assert!(*x >= 0.0 && *y >= 0.0 && x + width <= attribute(page, "width") && y + height <= attribute(page, "height"));
            let covers =
                |[x2, y2, width2, height2]: &[f64; 4]| x < &(x2 + width2) && x2 < &(x + width) && y < &(y2 + height2) && y2 < &(y + height);
            assert!(!boxes[at + 1..].iter().any(covers), "{x} {y}");
        }
    }
}

#[test]
fn all_packages_are_those_that_the_tree_names() {
    let plan = |goal: &Goal| plan_goal(goal, &knobs("kvm", "amd64", "raw"), &facts()).expect("a plan").goals;
    let named = Goal::Packages(vec!["grub".into(), "kernel".into()], PackageWork::Build);
    assert_eq!(plan(&Goal::AllPackages(PackageWork::Build)), plan(&named));
}

#[test]
fn the_previous_tar_is_updated_with_either_knob() {
    for (update, fast, wanted) in [(false, false, false), (true, false, true), (false, true, true)] {
        let mut knobs = knobs("kvm", "amd64", "raw");
        (knobs.image.live_update, knobs.image.live_fast) = (update, fast);
        let plan = plan_goal(&Goal::RootfsTar, &knobs, &eve("eve")).expect("a plan");
        let is_updated = |node: &Node| matches!(&node.step, Step::ComposeRootfs(step) if step.update);
        assert_eq!(plan.node(&NodeId::Tar(Composed::Rootfs)).map(is_updated), Some(wanted), "LIVE_UPDATE={update} LIVE_FAST={fast}");
    }
    // Without a tar between them, the image of files is the same one, with the same key in stores.
    let step = |fast: bool| {
        let mut knobs = knobs("kvm", "amd64", "raw");
        knobs.image.live_fast = fast;
        let plan = plan_goal(&Goal::Rootfs, &knobs, &facts()).expect("a plan");
        format!("{:?}", plan.node(&NodeId::RootfsImg).expect("packed").step)
    };
    assert!(step(true).contains("Images(") && step(true) == step(false));
}

#[test]
fn the_largest_rootfs_img_is_the_trees_or_the_knobs_and_an_input() {
    let limit = |facts: &Fake, hv: &str, most: Option<u64>| {
        let mut knobs = knobs(hv, "amd64", "raw");
        knobs.image.rootfs_most = most;
        let plan = plan_goal(&Goal::Rootfs, &knobs, facts).expect("a plan");
        let node = plan.node(&NodeId::RootfsImg).expect("rootfs.img");
        let limit = if let Step::PackRootfs(step) = &node.step { step.limit } else { 0 };
        assert!(node.inputs.contains(&Input { name: "limit".into(), value: limit.to_string() }), "{node:?}");
        limit
    };
    let eve = eve("eve");
    assert_eq!((limit(&eve, "kvm", None), limit(&eve, "k", None)), (290 << 20, 10240 << 20));
    assert_eq!((limit(&eve, "kvm", Some(400)), limit(&eve, "k", Some(400))), (400 << 20, 400 << 20));
    assert_eq!(limit(&facts(), "kvm", Some(1)), 1 << 20);
}

/// Names and values of what decides an artifact, for images with a kernel and a hypervisor from files.
fn inputs(goal: &Goal, of: &NodeId, kernel: &str, hypervisor: &str) -> Vec<(String, String)> {
    let mut knobs = knobs("acrn", "amd64", "raw");
    knobs.image.kernel_image = Some(kernel.into());
    knobs.image.acrn_bin = Some(hypervisor.into());
    let plan = plan_goal(goal, &knobs, &facts()).expect("a plan");
    plan.node(of).expect("the artifact").inputs.iter().map(|input| (input.name.clone(), input.value.clone())).collect()
}

#[test]
fn what_a_root_file_system_is_composed_of_decides_it() {
    let packed = ["ROOTFS_FORMAT", "ROOTFS_COMPRESSION", "time"];
    let own = ["ZARCH", "KERNEL_IMAGE", "ACRN_BIN"];
    let cases = [
        (Goal::Rootfs, NodeId::RootfsImg, [&["version", "limit"], &own[..], &packed].concat()),
        (Goal::RootfsTar, NodeId::Tar(Composed::Rootfs), own.to_vec()),
        // It contains the root file system's image, and neither of the files.
        (Goal::Disk(DiskKind::Installer), NodeId::InstallerImg, [&own[..1], &packed].concat()),
    ];
    for (goal, node, wanted) in cases {
        let inputs = |kernel, hypervisor| inputs(&goal, &node, kernel, hypervisor);
        let first = inputs("vmlinuz", "acrn.bin");
        assert_eq!(first.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), wanted, "{node}");
        assert_eq!(first, inputs("vmlinuz", "acrn.bin"), "{node}");
        for (name, other) in [("KERNEL_IMAGE", inputs("other", "acrn.bin")), ("ACRN_BIN", inputs("vmlinuz", "other"))] {
            let differ: Vec<&str> = first.iter().zip(&other).filter(|(a, b)| a != b).map(|((name, _), _)| name.as_str()).collect();
            let wanted: Vec<&str> = wanted.iter().copied().filter(|known| *known == name).collect();
            assert_eq!(differ, wanted, "{node}");
        }
        for (name, value) in first.iter().filter(|(name, _)| own[1..].contains(&name.as_str())) {
            let file = if name == "ACRN_BIN" { "acrn.bin" } else { "vmlinuz" };
            assert_eq!(value, &format!("sha256:f11e of /tree/{file}"), "{node}");
        }
    }
}
