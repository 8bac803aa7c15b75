//! Lists the sources that decide the bytes of artifacts, so that `src/recipe.rs` can make a digest of them.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

/// The crates whose code makes artifacts from their parts: this one and what it calls. A test compares the list with Cargo.toml.
const CRATES: &[&str] = &[
    "child",
    "common",
    "compose",
    "diskimage",
    "eve-image",
    "filetree",
    "knobs",
    "native",
    "oci",
    "pkgbuild",
    "plan",
    "sandbox",
    "sbom",
    "secureboot",
];

fn main() -> io::Result<()> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let lock = tools.join("../Cargo.lock");
    let mut files = vec![lock.clone()];
    for name in CRATES {
        let folder = tools.join(name).join("src");
        println!("cargo::rerun-if-changed={}", folder.display());
        collect(&folder, &mut files)?;
    }
    println!("cargo::rerun-if-changed={}", lock.display());
    files.sort();
    let text: String = files.iter().map(|path| format!("    include_bytes!({:?}),\n", path.display().to_string())).collect();
    let out = env::var_os("OUT_DIR").map(PathBuf::from).ok_or(io::ErrorKind::NotFound)?;
    fs::write(out.join("sources.rs"), format!("&[\n{text}]\n"))
}

/// Adds the files of Rust below `folder`, without tests in files of their own.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            collect(&path, files)?;
        } else if name.ends_with(".rs") && name != "tests.rs" {
            files.push(path);
        }
    }
    Ok(())
}
