//! The old helper scripts that tell of packages, ymls and versions, and that collect an image's sources: their arguments.
//! What they do is in the crate `helpers`.

mod collected;
mod fetched;
mod versions;
mod ymls;

use super::{Verb, simple, verb};

/// The verbs of this family.
pub const VERBS: &[Verb] = &[
    verb::<ymls::ParsePkgs>("parse-pkgs", "print each template name's image, or a file with the names replaced"),
    verb::<ymls::ComposeImageYml>("compose-image-yml", "apply an image template's patch and write the image's version into it"),
    simple("kernel-build-yml", "write the build.yml of packages that have a template for it", ymls::kernel_build_yml),
    verb::<ymls::UpdateComponentSha>("update-component-sha", "write another hash or tag wherever the tree names an image"),
    verb::<versions::OldImages>("oldimages", "list this tree's docker images whose tag is out of date"),
    verb::<versions::GetImgVersion>("getimgversion", "print the version inside an image"),
    verb::<collected::CollectedSources>("collected_sources", "collect the sources of what is in the root file system").building(),
    verb::<collected::CollectSources>("collect-sources", "collect the sources of what is in the tar of a root file system"),
    verb::<collected::GenerateSourcesManifests>(
        "generate-sources-manifests",
        "write the manifest of collected sources from the names of their files",
    ),
    verb::<fetched::GetAlpinePkgSource>("get-alpine-pkg-source", "collect the sources of an image's Alpine packages"),
    verb::<fetched::GetKernelSource>("get-kernel-source", "collect the sources that a kernel's Dockerfile fetches"),
    verb::<fetched::DockerfileAddScanner>("dockerfile-add-scanner", "list the addresses that Dockerfiles fetch with ADD"),
    verb::<fetched::GoSumToSrc>("go-sum-to-src", "collect the sources of modules in go.sum lines on standard input"),
    verb::<versions::GoPkgPseudoVersion>("go-pkg-pseudo-version", "print the version that Go gives the checked-out commit of a module"),
    simple("sbom_info", "print where the bill of materials is", collected::sbom_info),
    simple("collected_sources_info", "print where the collected sources are", collected::collected_sources_info),
];
