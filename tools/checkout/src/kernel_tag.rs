//! Finds the image of a kernel that is not a package of the tree.

use super::{Checkout, makefile::Makefile};
use anyhow::Result;
use common::error::usage;

impl Checkout {
    /// The image of a kernel that is not a package of this tree: from KERNEL_TAG, otherwise from the tree's makefile of variables.
    pub fn kernel_tag(&self) -> Option<Result<String>> {
        let kernel = self.profile.kernel.as_ref()?;
        if let Some(known) = self.kernel_tag.get() {
            return Some(Ok(known.clone()));
        }
        let (arch, knobs) = (self.knobs.image.arch.as_str(), &self.knobs);
        let mut given = vec![("ZARCH", arch), ("PLATFORM", knobs.image.platform.as_str())];
        given.extend(knobs.image.kernel_tag.iter().map(|tag| ("KERNEL_TAG", tag.as_str())));
        given.extend(knobs.image.kernel_flavor.iter().map(|flavor| ("KERNEL_CONFIG_FLAVOR", flavor.as_str())));
        let tag = || {
            let tag = Makefile::read(&self.root, &kernel.makefile, &given)?.value("KERNEL_TAG")?;
            if tag.is_empty() { Err(usage(format!("{} sets no KERNEL_TAG", kernel.makefile))) } else { Ok(tag) }
        };
        Some(tag().map(|tag| self.kernel_tag.get_or_init(|| tag).clone()))
    }
}
