//! The arguments of the old helper scripts about packages, ymls, versions and an image's sources. The crate `helpers` does their work.

mod collected;
mod deps;
mod fetched;
mod publish;
mod versions;
mod ymls;

pub use collected::{place, sbom_path};

use super::{Run, Verb, Wants, simple, verb};

/// The verbs of this family.
pub const VERBS: &[Verb] = &[
    verb("parse-pkgs", "print the image of each NAME_TAG, or a file with images instead of these names", &Run(ymls::parse_pkgs)),
    verb("dockerfile", "write the Dockerfile of a package that has a template for it", &Run(deps::write_dockerfile)),
    verb("pkg-deps", "print which packages start from which, as rules for make", &Run(deps::print_deps)),
    verb("compose-image-yml", "apply an image template's patch and write the image's version into it", &Run(ymls::compose_image_yml)),
    simple("kernel-build-yml", "write the build.yml of packages that have a template for it", helpers::kernel_build_yml::write_build_ymls),
    verb("update-component-sha", "replace a hash or an image's tag in all files of the tree", &Run(ymls::update_component_sha)),
    verb("oldimages", "list this tree's docker images whose tag is out of date", &Run(versions::print_old_images)),
    verb("getimgversion", "print the version inside an image", &Run(versions::print_image_version)),
    verb("collected_sources", "build the root file system and collect its sources", &Run(collected::build_and_collect)).building(),
    verb("publish_sources", "build or push the image with the collected sources", &Run(publish::publish)).building().on(Wants::Sources),
    verb("collect-sources", "collect the sources of the packages in a rootfs.tar", &Run(collected::collect_sources)),
    verb(
        "generate-sources-manifests",
        "write the manifest of collected sources from the names of their files",
        &Run(collected::generate_manifest),
    ),
    verb("get-alpine-pkg-source", "collect the sources of an image's Alpine packages", &Run(fetched::get_alpine_sources)),
    verb("get-kernel-source", "collect the sources that a kernel's Dockerfile fetches", &Run(fetched::get_kernel_sources)),
    verb("dockerfile-add-scanner", "list the addresses that Dockerfiles fetch with ADD", &Run(fetched::scan_dockerfiles)),
    verb("go-sum-to-src", "collect the sources of the Go modules in go.sum lines on standard input", &Run(fetched::get_go_sources)),
    verb(
        "go-pkg-pseudo-version",
        "print the version that Go gives the checked-out commit of a module",
        &Run(versions::print_pseudo_version),
    ),
    simple("sbom_info", "print the path of the bill of materials", collected::sbom_info),
    simple("collected_sources_info", "print the path of the collected sources", collected::collected_sources_info),
];
