//! A squashfs from a tar, compared with `tar x` and mksquashfs (same compressor and block size): wall time, CPU time, peak
//! memory, size. Budget: ratio 1 in wall time, and 256 MiB.
//!
//!     cargo bench -p diskimage --bench squashfs [-- rootfs.tar]
#![allow(clippy::unwrap_used, missing_docs)]

use diskimage::squashfs::{Compressor, Options, write};
use filetree::{Content, EntryKind, Kind, Meta, TarWriter};
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

/// Size in bytes of the generated tar.
const GENERATED: usize = 100 << 20;

struct Cost {
    wall: f64,
    cpu: f64,
    memory: u64,
    size: u64,
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let tar = given.map_or_else(|| generate(folder.path()), PathBuf::from);
    println!("{}: {} MiB", tar.display(), tar.metadata().unwrap().len() >> 20);
    // Alternates both sides and uses the fastest round, because the machine may have other work; xz is too slow for many
    // rounds.
    let rows = [(Compressor::Gzip, "gzip", &["-Xcompression-level", "6"][..], 3), (Compressor::Xz { bcj: Vec::new() }, "xz", &[][..], 1)];
    for (compressor, name, level, rounds) in rows {
        let there = Command::new("mksquashfs").arg("-version").output().is_ok();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(write_ours(folder.path(), &tar, &compressor));
            if there {
                theirs.push(run_mksquashfs(folder.path(), &tar, name, level));
            }
        }
        let ours = best(ours).unwrap();
        print(name, "diskimage", &ours);
        let Some(theirs) = best(theirs) else {
            println!("SKIPPED: `mksquashfs` is missing (cargo xtask doctor --install)");
            continue;
        };
        print(name, "tar x + mksquashfs", &theirs);
        println!(
            "{name:5} ratio               wall {:.2}  cpu {:.2}  memory {:.2}  size {:.3}",
            ours.wall / theirs.wall,
            ours.cpu / theirs.cpu,
            ours.memory as f64 / theirs.memory as f64,
            ours.size as f64 / theirs.size as f64
        );
    }
}

fn best(costs: Vec<Cost>) -> Option<Cost> {
    costs.into_iter().min_by(|left, right| left.wall.total_cmp(&right.wall))
}

fn print(compressor: &str, who: &str, cost: &Cost) {
    let Cost { wall, cpu, memory, size } = cost;
    println!("{compressor:5} {who:18} {wall:7.2} s wall {cpu:7.2} s cpu {:5} MiB peak {size:10} bytes", memory >> 20);
}

/// A tar of files of many sizes: words, machine code, noise.
fn generate(folder: &Path) -> PathBuf {
    let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let mut state = 1_u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let path = folder.join("generated.tar");
    let mut tar = TarWriter::new(std::io::BufWriter::new(File::create(&path).unwrap()));
    let mut left = GENERATED;
    for number in 0.. {
        let length = (1 << (next() % 22)) + next() % 1000;
        let bytes: Vec<u8> = match number % 5 {
            0 => (0..length).map(|_| next() as u8).collect(),
            1 => program.iter().copied().cycle().skip(next() % program.len()).take(length).map(|byte| byte ^ (number as u8 & 3)).collect(),
            _ => (0..length / 6).flat_map(|_| format!("word{:x} ", (next() % 64) * (next() % 64)).into_bytes()).collect(),
        };
        let Some(rest) = left.checked_sub(bytes.len()) else { break };
        left = rest;
        let kind = EntryKind::Node(Kind::File { content: Content::from(bytes), link: None });
        tar.append(format!("{}/{number}", number % 50).as_bytes(), &Meta::root(0o644, number), &kind, &[]).unwrap();
    }
    tar.finish().unwrap();
    path
}

fn write_ours(folder: &Path, tar: &Path, compressor: &Compressor) -> Cost {
    // Resets the peak, which otherwise is that of generating the input.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let (start, cpu) = (Instant::now(), processor_time(0));
    let entries = filetree::read_tar_file(Arc::new(File::open(tar).unwrap())).unwrap();
    let tree = filetree::entries_to_tree(entries).unwrap();
    let mut out = File::create(folder.join("ours")).unwrap();
    let summary = write(&tree, &Options { compressor: compressor.clone(), ..Options::default() }, &mut out).unwrap();
    Cost { wall: start.elapsed().as_secs_f64(), cpu: processor_time(0) - cpu, memory: peak("self").unwrap(), size: summary.bytes }
}

fn run_mksquashfs(folder: &Path, tar: &Path, compressor: &str, level: &[&str]) -> Cost {
    let (unpacked, image) = (folder.join("unpacked"), folder.join("theirs"));
    std::fs::create_dir(&unpacked).unwrap();
    let (start, cpu) = (Instant::now(), processor_time(2));
    let mut memory = run(Command::new("tar").arg("-x").arg("-f").arg(tar).arg("-C").arg(&unpacked));
    let mut command = Command::new("mksquashfs");
    command.arg(&unpacked).arg(&image).args(["-noappend", "-no-recovery", "-quiet", "-no-progress", "-b", "131072", "-comp", compressor]);
    memory = memory.max(run(command.args(level)));
    let cost = Cost { wall: start.elapsed().as_secs_f64(), cpu: processor_time(2) - cpu, memory, size: image.metadata().unwrap().len() };
    std::fs::remove_dir_all(unpacked).unwrap();
    std::fs::remove_file(image).unwrap();
    cost
}

/// Runs a command; returns its peak memory, sampled while it runs.
fn run(command: &mut Command) -> u64 {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let mut most = 0;
    loop {
        most = most.max(peak(&child.id().to_string()).unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{command:?}: {status}");
            return most;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Peak resident memory of a process in bytes.
fn peak(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// CPU seconds of this process, or (2) of its finished children.
fn processor_time(which: usize) -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // Fields after the name, which may contain anything; user time is the twelfth, in ticks of 10 ms.
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    (11 + which..13 + which).map(|index| fields[index].parse::<f64>().unwrap() / 100.0).sum()
}
