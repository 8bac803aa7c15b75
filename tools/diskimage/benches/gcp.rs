//! A live disk as a GCP archive, compared with `tar -Sczf`. Budget: ratio 1/3.
//!
//!     cargo bench -p diskimage --bench gcp [-- live.raw]
#![allow(clippy::unwrap_used, missing_docs)]

use diskimage::gcp;
use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

const SIZE: u64 = 8 << 30;
const ROUNDS: usize = 3;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let disk = given.map_or_else(|| generate(folder.path()), PathBuf::from);
    let raw = folder.path().join("disk.raw");
    std::fs::copy(&disk, &raw).unwrap();
    File::options().write(true).open(&raw).unwrap().set_len(SIZE).unwrap();
    let ours = folder.path().join("ours.tar.gz");
    let best_ours = best(|| {
        let layout = gcp::layout(File::open(&disk).unwrap(), &gcp::Options::new(SIZE, 1_684_000_000)).unwrap();
        layout.write(&mut File::create(&ours).unwrap()).unwrap();
    });
    println!("diskimage:  {best_ours:.2} s, {} bytes", ours.metadata().unwrap().len());
    let theirs = folder.path().join("theirs.tar.gz");
    let best_theirs = best(|| {
        let mut tar = Command::new("tar");
        tar.args(["--mode=644", "--owner=root", "--group=root", "-Sczf"]).arg(&theirs).arg("disk.raw").current_dir(folder.path());
        assert!(tar.status().unwrap().success());
    });
    println!("tar -Sczf:  {best_theirs:.2} s, {} bytes", theirs.metadata().unwrap().len());
    println!("ratio:      {:.2}", best_ours / best_theirs);
}

fn best(mut run: impl FnMut()) -> f64 {
    let time = |run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..ROUNDS).map(|_| time(&mut run)).fold(f64::MAX, f64::min)
}

/// A disk of 350 MiB like live.raw: a squashfs (noise), an ESP with programs (this one), holes.
fn generate(folder: &Path) -> PathBuf {
    let path = folder.join("live.raw");
    let file = File::create(&path).unwrap();
    file.set_len(350 << 20).unwrap();
    let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    for n in 0..4 {
        file.write_all_at(&program, (1 << 20) + n * (8 << 20)).unwrap();
    }
    let mut noise = 1_u64;
    let bytes: Vec<u8> = (0..150 << 17)
        .flat_map(|_| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise.to_le_bytes()
        })
        .collect();
    file.write_all_at(&bytes, 38 << 20).unwrap();
    path
}
