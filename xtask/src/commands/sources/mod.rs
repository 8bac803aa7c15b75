//! The old helper scripts that tell of packages, ymls and versions, and that collect an image's sources.

mod alpine;
mod apkbuild;
mod collect;
mod compose_image_yml;
mod download;
mod go_modules;
mod go_pseudo_version;
mod go_sum;
mod image_version;
mod info;
mod installed;
mod kernel;
mod kernel_build_yml;
mod manifests;
pub mod oldimages;
mod parse_pkgs;
mod update_component_sha;

use super::{Verb, by_matches, no_arguments};

/// The verbs of this family.
pub const VERBS: &[Verb] = &[
    by_matches(
        "parse-pkgs",
        "print the images of all template names, or a file with them filled in",
        parse_pkgs::arguments,
        parse_pkgs::run,
    ),
    by_matches(
        "compose-image-yml",
        "patch an image's template and write its version into it",
        compose_image_yml::arguments,
        compose_image_yml::run,
    ),
    by_matches("kernel-build-yml", "write the build.yml of packages that have a template for it", no_arguments, kernel_build_yml::run),
    by_matches(
        "update-component-sha",
        "write another hash or tag wherever the tree names an image",
        update_component_sha::arguments,
        update_component_sha::run,
    ),
    by_matches("oldimages", "list docker's images that are not of the tree's present state", oldimages::arguments, oldimages::run),
    by_matches("getimgversion", "print the version that is inside an image", image_version::arguments, image_version::run),
    by_matches("collected_sources", "collect the sources of what is in the root file system", no_arguments, collect::target).building(),
    by_matches("collect-sources", "collect the sources of what is in a root file system's tar", collect::arguments, collect::run),
    by_matches(
        "generate-sources-manifests",
        "write the manifest of collected sources from their names",
        manifests::arguments,
        manifests::run,
    ),
    by_matches("get-alpine-pkg-source", "collect the sources of an image's Alpine packages", alpine::arguments, alpine::run),
    by_matches("get-kernel-source", "collect the sources that a kernel's Dockerfile fetches", kernel::arguments, kernel::run),
    by_matches("dockerfile-add-scanner", "list what Dockerfiles fetch by ADD", kernel::scanner_arguments, kernel::scan),
    by_matches("go-sum-to-src", "collect the sources of the modules in go.sum lines", go_sum::arguments, go_sum::run),
    by_matches(
        "go-pkg-pseudo-version",
        "print the version that Go gives a module's commit",
        go_pseudo_version::arguments,
        go_pseudo_version::run,
    ),
    by_matches("sbom_info", "print where the bill of materials is", no_arguments, info::sbom),
    by_matches("collected_sources_info", "print where the collected sources are", no_arguments, info::collected_sources),
];
