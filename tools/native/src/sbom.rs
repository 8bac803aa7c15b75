//! The bill of materials of rootfs.tar, from the records of its packages.

use anyhow::{Context as _, Result, bail};
use common::{Arch, artifact::write_atomically};
use compose::Yml;
use plan::steps::WriteSbom;
use sbom::{Bill, Component, Ecosystem, Subject, components};
use secureboot::uki::{STUB_PACKAGE, stub_version};
use std::{fs::File, path::Path, sync::Arc};

/// Writes the SPDX document.
pub fn write_sbom(step: &WriteSbom) -> Result<()> {
    let WriteSbom { tar, yml, version, epoch, stub, out } = step;
    let file = File::open(tar).with_context(|| format!("cannot open `{}`", tar.display()))?;
    let entries = filetree::read_tar_file(Arc::new(file)).with_context(|| format!("cannot read `{}`", tar.display()))?;
    let mut components = components(entries).with_context(|| format!("in `{}`", tar.display()))?;
    if components.is_empty() {
        bail!("`{}` has no record of any package\nhint: Dockerfiles must COPY /out/{} too", tar.display(), pkgbuild::debian::STATUS);
    }
    components.extend(stub.as_deref().map(stub_package).transpose()?);
    let text = std::fs::read_to_string(yml).with_context(|| format!("cannot read `{}`", yml.display()))?;
    let references = compose::image_references(&Yml::parse(&text, &yml.display().to_string())?);
    let image = |reference: compose::Reference| {
        let (name, tag) = reference.image.rsplit_once(':').unwrap_or((&reference.image, ""));
        (name.to_owned(), tag.to_owned())
    };
    let subject = Subject {
        name: "eve".to_owned(),
        version: version.clone(),
        created: oci::rfc3339(*epoch),
        images: references.into_iter().map(image).collect(),
    };
    write_atomically(out, &Bill::new(subject, components).to_json()?)
}

/// The package of the stub of a unified kernel image, which is a part of the image too.
fn stub_package(stub: &Path) -> Result<Component> {
    let bytes = std::fs::read(stub).with_context(|| format!("cannot read `{}`", stub.display()))?;
    let version = stub_version(&bytes).with_context(|| format!("cannot read `{}`", stub.display()))?;
    let version = version.with_context(|| format!("`{}` does not say of which version it is", stub.display()))?;
    Ok(Component {
        origin: Ecosystem::Debian,
        name: STUB_PACKAGE.to_owned(),
        arch: Arch::Amd64.to_string(),
        source: Some(("systemd".to_owned(), version.clone())),
        version,
        built_using: None,
        summary: Some("the beginning of the unified kernel image; from the machine that built it".to_owned()),
        homepage: None,
        sha256: None,
        licence: None,
        places: ["/EFI/Linux/eve.efi".to_owned()].into(),
    })
}
