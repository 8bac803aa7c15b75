//! Questions about files that the look at git's index has answered already; the others go to the file system.

use super::{Checkout, generated::TEMPLATE};
use std::path::Path;

impl Checkout {
    /// Whether there is a file at `path`.
    pub(super) fn has_file(&self, path: &Path) -> bool {
        self.seen.as_ref().and_then(|seen| seen.has_file(&self.state, path)).unwrap_or_else(|| path.is_file())
    }

    /// An id of the file at `path` as it is now, for [`pkgbuild::known::Known`].
    pub(super) fn file_id(&self, path: &Path) -> Option<String> {
        self.seen.as_ref()?.id_of(&self.state, path)
    }

    /// The top of the checkout, if the folder at `path` is known to be in no other repository.
    pub(super) fn top_of(&self, path: &Path) -> Option<&Path> {
        self.seen.as_ref()?.top_of(&self.state, path)
    }

    /// The build.yml of a package without variants, or its template.
    pub(super) fn plain_yml(&self, dir: &Path) -> &'static str {
        if self.has_file(&dir.join(TEMPLATE)) { TEMPLATE } else { "build.yml" }
    }
}
