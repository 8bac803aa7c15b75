//! live.raw from its parts, compared with genimage on the same table and images. Budget: ratio 1.
#![allow(clippy::unwrap_used, missing_docs)]

use diskimage::{
    disk::{self, Source},
    eve::{self, Kind},
    fat,
};
use filetree::{Content, Node, Tree};
use std::{
    fs::File,
    io::Write as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

const ROUNDS: usize = 5;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let rootfs = folder.path().join("rootfs.img");
    write_noise(&rootfs, 150 << 20);
    let ours = best(|| write_ours(folder.path(), &rootfs));
    println!("diskimage: {ours:?}");
    // genimage gets the finished ESP and configuration; it would call mkfs.vfat and mtools for them.
    fat(36 << 20).write(&File::create(folder.path().join("esp.img")).unwrap()).unwrap();
    fat(1 << 20).write(&File::create(folder.path().join("config.img")).unwrap()).unwrap();
    std::fs::write(folder.path().join("genimage.cfg"), GENIMAGE).unwrap();
    std::fs::create_dir(folder.path().join("root")).unwrap();
    if Command::new("genimage").arg("--version").output().is_err() {
        println!("SKIPPED: `genimage` is missing");
        return;
    }
    let theirs = best(|| run_genimage(folder.path()));
    println!("genimage:  {theirs:?}");
    println!("ratio:     {:.2}", ours.as_secs_f64() / theirs.as_secs_f64());
}

fn best(mut run: impl FnMut()) -> Duration {
    let time = |run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..ROUNDS).map(|_| time(&mut run)).min().unwrap()
}

fn write_noise(path: &Path, len: usize) {
    let mut noise = 1_u64;
    let bytes: Vec<u8> = (0..len / 8)
        .flat_map(|_| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.to_le_bytes()
        })
        .collect();
    File::create(path).unwrap().write_all(&bytes).unwrap();
}

fn fat(size: u64) -> fat::Layout {
    let mut tree = Tree::new();
    tree.insert("EFI/BOOT/BOOTX64.EFI", Node::file(0o644, 0, Content::from(vec![7; 2 << 19]))).unwrap();
    if size <= 1 << 20 {
        tree = Tree::new();
    }
    let options = fat::Options { size, label: "EVE".into(), volume_id: 1, mtime: 1_684_000_000, sector: 512, bits: fat::Bits::Auto };
    fat::layout(&tree, &options).unwrap()
}

fn write_ours(folder: &Path, rootfs: &Path) {
    let sources = vec![
        (Kind::Efi, Source::Fat(fat(36 << 20))),
        (Kind::Conf, Source::Fat(fat(1 << 20))),
        (Kind::Imga, Source::Image(Content::of_path(rootfs).unwrap())),
    ];
    let layout = disk::layout(eve::table(sources, eve::DISK_SIZE).unwrap()).unwrap();
    layout.write(&File::create(folder.join("ours.raw")).unwrap()).unwrap();
}

const GENIMAGE: &str = r#"
image live.raw {
    size = 350M
    hdimage { partition-table-type = "gpt" align = 1M }
    partition efi { image = "esp.img" size = 36M partition-type-uuid = "U" }
    partition config { image = "config.img" size = 1M }
    partition imga { image = "rootfs.img" size = 300M }
}
"#;

fn run_genimage(folder: &Path) {
    let mut command = Command::new("genimage");
    for (option, name) in
        [("--rootpath", "root"), ("--tmppath", "tmp"), ("--inputpath", "."), ("--outputpath", "out"), ("--config", "genimage.cfg")]
    {
        command.arg(option).arg(folder.join(name));
    }
    let output = command.current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_dir_all(folder.join("tmp")).unwrap();
}
