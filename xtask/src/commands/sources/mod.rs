//! The old helper scripts that tell of packages, ymls and versions, and that collect an image's sources: their arguments.
//! What they do is in the crate `helpers`.

mod collected;
mod fetched;
pub mod typed;
mod versions;
mod ymls;

use super::{Verb, no_arguments, target, verb};
use typed::typed;

/// The verbs of this family.
pub const VERBS: &[Verb] = &[
    typed::<ymls::ParsePkgs>("parse-pkgs", "print each template name's image, or a file with the names replaced"),
    typed::<ymls::ComposeImageYml>("compose-image-yml", "apply an image template's patch and write the image's version into it"),
    verb("kernel-build-yml", "write the build.yml of packages that have a template for it", no_arguments, ymls::kernel_build_yml),
    typed::<ymls::UpdateComponentSha>("update-component-sha", "write another hash or tag wherever the tree names an image"),
    typed::<versions::OldImages>("oldimages", "list this tree's docker images whose tag is out of date"),
    typed::<versions::GetImgVersion>("getimgversion", "print the version inside an image"),
    target("collected_sources", "collect the sources of what is in the root file system", collected::target),
    typed::<collected::CollectSources>("collect-sources", "collect the sources of what is in the tar of a root file system"),
    typed::<collected::GenerateSourcesManifests>(
        "generate-sources-manifests",
        "write the manifest of collected sources from the names of their files",
    ),
    typed::<fetched::GetAlpinePkgSource>("get-alpine-pkg-source", "collect the sources of an image's Alpine packages"),
    typed::<fetched::GetKernelSource>("get-kernel-source", "collect the sources that a kernel's Dockerfile fetches"),
    typed::<fetched::DockerfileAddScanner>("dockerfile-add-scanner", "list the addresses that Dockerfiles fetch with ADD"),
    typed::<fetched::GoSumToSrc>("go-sum-to-src", "collect the sources of modules in go.sum lines on standard input"),
    typed::<versions::GoPkgPseudoVersion>("go-pkg-pseudo-version", "print the version that Go gives the checked-out commit of a module"),
    verb("sbom_info", "print where the bill of materials is", no_arguments, collected::sbom_info),
    verb("collected_sources_info", "print where the collected sources are", no_arguments, collected::collected_sources_info),
];
