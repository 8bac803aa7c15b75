use super::*;
use common::{Arch, PackageWork};
use plan::{ImageRef, Input, Layout, steps};

/// Has every image, and counts what it is asked to build.
#[derive(Default)]
struct Full(std::sync::atomic::AtomicUsize);

macro_rules! full_engine {
    ($($method:ident $step:ident,)*) => {
        impl Engine for Full {
            fn find_package(&self, _: &steps::BuildPackage) -> Result<Option<String>> {
                Ok(Some("sha256:image".into()))
            }

            $(fn $method<'e>(&'e self, _: &'e steps::$step) -> Result<Making<'e>> {
                Ok(Making::by(|_| {
                    self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    Ok(())
                }))
            })*
        }
    };
}
plan::for_each_step!(full_engine);

fn package(changes: Option<&str>) -> Plan {
    let image = ImageRef { reference: "org/eve-x:1-dirty-1234567".into(), arch: Arch::Amd64 };
    let step = steps::BuildPackage {
        name: "x".into(),
        dir: "pkg/x".into(),
        image,
        build_yml: "build.yml".into(),
        dockerfile: None,
        work: PackageWork::Build,
        hash: None,
        build_args: vec![],
        release: None,
        options: vec![],
        changes: changes.map(str::to_owned),
        is_dirty: changes.is_some(),
        force: false,
        docker_load: false,
        platforms: vec![Arch::Amd64],
        prune: false,
        archives: vec![],
    };
    let id = NodeId::Package("x".into(), Arch::Amd64);
    let inputs = changes.map(|changes| Input { name: "changes".into(), value: changes.into() }).into_iter().collect();
    Plan { nodes: vec![Node { id: id.clone(), inputs, needs: vec![], outputs: vec![], step: step.into() }], goals: vec![id] }
}

#[test]
fn a_changed_package_whose_tag_does_not_show_it_is_built_again_once() {
    let folder = tempfile::tempdir().expect("folder");
    let options = Options {
        tree: folder.path().into(),
        layout: Layout::at(folder.path()),
        jobs: 1,
        verbose: false,
        read_artifacts: false,
        store: None,
    };
    let engine = Full::default();
    for (changes, builds) in [(None, 0), (Some("a"), 1), (Some("a"), 1), (Some("b"), 2), (Some("b"), 2), (None, 2)] {
        run(&package(changes), &engine, &options).expect("run");
        assert_eq!(engine.0.load(std::sync::atomic::Ordering::Relaxed), builds, "{changes:?}");
    }
}
