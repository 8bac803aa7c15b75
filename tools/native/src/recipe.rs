//! What decides the bytes of an artifact besides the inputs of its step: the code of this program, and the version of `qemu-img` where
//! that does the work. It is a part of the keys in the store of artifacts.

use child::{Output, Tools, qemu_img::QemuImg};
use common::digest::hex;
use plan::Step;
use sha2::{Digest as _, Sha256};
use std::sync::{LazyLock, OnceLock};

/// The sources of the crates that make artifacts, and Cargo.lock: see `build.rs`.
const SOURCES: &[&[u8]] = include!(concat!(env!("OUT_DIR"), "/sources.rs"));

/// The digest of [`SOURCES`].
static CODE: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for source in SOURCES {
        hash.update((source.len() as u64).to_le_bytes());
        hash.update(source);
    }
    hex(&hash.finalize())
});

/// The digest of the code of this program that decides the bytes of artifacts. Two programs with the same digest make the same artifacts.
#[must_use]
pub fn code_digest() -> &'static str {
    &CODE
}

/// Asked for once, when a disk is to be converted.
pub(super) type Version = OnceLock<Option<String>>;

/// The recipe of `step`; none if the version of its program is unknown.
pub(super) fn of(step: &Step, tools: &Tools, version: &Version) -> Option<String> {
    match step {
        Step::ConvertDisk(convert) if convert.format.row().conversion.is_by_qemu_img() => {
            let version = version.get_or_init(|| QemuImg::new(tools, Output::default()).ok()?.version_text());
            Some(format!("native {}, qemu-img {}", *CODE, version.as_ref()?))
        }
        _ => Some(format!("native {}", *CODE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipe_has_the_code_of_every_crate_that_makes_artifacts() {
        let has = |text: &str| SOURCES.iter().any(|source| source.windows(text.len()).any(|window| window == text.as_bytes()));
        for first in [
            include_str!("rootfs.rs"),
            include_str!("../../diskimage/src/squashfs/compress.rs"),
            include_str!("../../compose/src/compose.rs"),
        ] {
            assert!(has(first.lines().next().expect("a line")), "{first}");
        }
        assert!(has("name = \"liblzma-sys\""), "Cargo.lock is missing");
        // What finds facts, orders steps, speaks to registries and reads signed lists does not decide their bytes. The sandbox does: it reads a stage's files back.
        let others = ["checkout", "executor", "provenance", "registry", "skips"];
        let build = include_str!("../build.rs");
        for manifest in [
            include_str!("../Cargo.toml"),
            include_str!("../../sbom/Cargo.toml"),
            include_str!("../../compose/Cargo.toml"),
            include_str!("../../sandbox/Cargo.toml"),
        ] {
            let own = manifest.lines().filter_map(|line| line.split_once(".workspace")).map(|(name, _)| name);
            for name in own.filter(|name| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).is_dir()) {
                assert!(others.contains(&name) || build.contains(&format!("\"{name}\"")), "{name} is not in CRATES of build.rs");
            }
        }
        assert_eq!(CODE.len(), 64);
    }
}
