//! The old helper scripts that tell of packages, ymls and versions, and that collect an image's sources.

mod compose_image_yml;
mod image_version;
mod info;
mod kernel_build_yml;
pub mod oldimages;
mod parse_pkgs;
mod update_component_sha;

use super::{Verb, no_arguments, verb};

/// The verbs of this family.
pub const VERBS: &[Verb] = &[
    verb("parse-pkgs", "print the images of all template names, or a file with them filled in", parse_pkgs::arguments, parse_pkgs::run),
    verb(
        "compose-image-yml",
        "patch an image's template and write its version into it",
        compose_image_yml::arguments,
        compose_image_yml::run,
    ),
    verb("kernel-build-yml", "write the build.yml of packages that have a template for it", no_arguments, kernel_build_yml::run),
    verb(
        "update-component-sha",
        "write another hash or tag wherever the tree names an image",
        update_component_sha::arguments,
        update_component_sha::run,
    ),
    verb("oldimages", "list docker's images that are not of the tree's present state", oldimages::arguments, oldimages::run),
    verb("getimgversion", "print the version that is inside an image", image_version::arguments, image_version::run),
    verb("sbom_info", "print where the bill of materials is", no_arguments, info::sbom),
    verb("collected_sources_info", "print where the collected sources are", no_arguments, info::collected_sources),
];
