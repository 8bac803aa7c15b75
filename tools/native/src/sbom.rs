//! The bill of materials of rootfs.tar, from the records of its packages.

use anyhow::{Context as _, Result, bail};
use common::artifact::write_atomically;
use compose::Yml;
use plan::steps::WriteSbom;
use sbom::{Bill, Subject, components};
use std::{fs::File, sync::Arc};

/// Writes the SPDX document.
pub fn write_sbom(step: &WriteSbom) -> Result<()> {
    let WriteSbom { tar, yml, version, epoch, out } = step;
    let file = File::open(tar).with_context(|| format!("cannot open `{}`", tar.display()))?;
    let entries = filetree::read_tar_file(Arc::new(file)).with_context(|| format!("cannot read `{}`", tar.display()))?;
    let components = components(entries).with_context(|| format!("in `{}`", tar.display()))?;
    if components.is_empty() {
        bail!("`{}` has no record of any package\nhint: Dockerfiles must COPY /out/{} too", tar.display(), pkgbuild::debian::STATUS);
    }
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
