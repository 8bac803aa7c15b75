//! The table of targets: each reader of bytes from outside, with its seeds. A new reader is one row and one function.

pub mod archives;
pub mod boot;
pub mod disks;
pub mod files;
pub mod images;
pub mod texts;

use crate::repair;
use anyhow::Result;

/// A target.
pub struct FuzzTarget {
    pub name: &'static str,
    /// Reads one input. Only `Ok` and `Err` are allowed.
    pub read: fn(&[u8]) -> Result<()>,
    /// Inputs of a run in the test command: a few seconds.
    pub tries: u64,
    /// Folders of `corpus`.
    pub folders: &'static [&'static str],
    /// More seeds.
    pub texts: &'static [&'static str],
    /// Words that mean something in the format.
    pub words: &'static [&'static str],
    pub repair: Option<fn(&mut [u8])>,
}

const fn reader(name: &'static str, read: fn(&[u8]) -> Result<()>, tries: u64, folders: &'static [&'static str]) -> FuzzTarget {
    FuzzTarget { name, read, tries, folders, texts: &[], words: &[], repair: None }
}

impl FuzzTarget {
    const fn texts(self, texts: &'static [&'static str], words: &'static [&'static str]) -> Self {
        Self { texts, words, ..self }
    }

    const fn repaired(self, repair: fn(&mut [u8])) -> Self {
        Self { repair: Some(repair), ..self }
    }
}

/// All targets.
pub const ALL: &[FuzzTarget] = &[
    reader("tar", archives::tar, 5_000, &["tar"]).texts(&[], archives::TAR_WORDS).repaired(repair::tar),
    reader("layer", archives::layer, 1_000, &["layer"]).texts(&[], archives::TAR_WORDS),
    reader("image-archive", archives::image_archive, 1_500, &["image-archive"]).texts(&[], archives::IMAGE_WORDS).repaired(repair::tar),
    reader("image-documents", archives::image_documents, 1_000, &[]).texts(archives::DOCUMENTS, archives::IMAGE_WORDS),
    reader("oci-tar", images::files, 1_000, &["image-archive"]).texts(&[], archives::IMAGE_WORDS).repaired(repair::tar),
    reader("cpio", images::files, 2_000, &["cpio"]).texts(&[], &["070701", "070702", "TRAILER!!!", "0000", "ffffffff", "../"]),
    reader("iso-files", images::files, 2_000, &["iso"]).texts(&[], &["NM", "CE", "SP", "RR", "PX", "SL", "CD001"]),
    reader("delta", images::delta, 2_000, &["delta"]).texts(&[], &["eve-delta 1\n", "from ", "to   "]),
    reader("deb", archives::deb, 10_000, &["deb"]).texts(&[], archives::TAR_WORDS),
    reader("squashfs", disks::squashfs, 20_000, &["squashfs"]),
    reader("ext", disks::ext, 500, &["ext"]),
    reader("fat", disks::fat, 500, &["fat"]),
    reader("gpt", disks::gpt, 5_000, &["gpt"]).repaired(repair::gpt),
    reader("iso", disks::inspect, 5_000, &["iso"]).texts(&[], &["NM", "CE", "SP", "RR", "PX", "CD001"]),
    reader("qcow2", disks::inspect, 5_000, &["qcow2"]),
    reader("container", disks::inspect, 500, &["container"]).texts(&[], &["conectix", "KDMV", "WithouFreSpacExt", "QED\0"]),
    reader("efi", files::efi_program, 20_000, &["efi"]).texts(&[], &["MZ", "PE\0\0", "\u{b}\u{2}"]),
    reader("event-log", boot::event_log, 5_000, &["event-log"]).texts(&[], boot::LOG_WORDS),
    reader("firmware", boot::firmware, 2_000, &["firmware"]).texts(&[], &["_FVH", "\u{b}", "\u{17}"]),
    reader("firmware-variables", boot::firmware_variables, 500, &["firmware-variables"]).texts(&[], boot::VARIABLE_WORDS),
    reader("grub-script", boot::grub_script, 2_000, &[]).texts(boot::GRUB_SCRIPTS, boot::GRUB_SCRIPT_WORDS),
    reader("git-index", files::git_index, 3_000, &["git-index"]).texts(&[], &["TREE", "link", "UNTR", "DIRC", "\0"]),
    reader("git-names", files::git_names, 3_000, &[]).texts(files::NAMES, &["\0", "?", "18446744073709551616 "]),
    reader("packages", texts::packages, 20_000, &[]).texts(texts::PACKAGES, texts::DEBIAN_WORDS),
    reader("lock", texts::lock, 20_000, &[]).texts(texts::LOCKS, texts::DEBIAN_WORDS),
    reader("apt-sources", texts::apt_sources, 20_000, &[]).texts(texts::APT_SOURCES, texts::DEBIAN_WORDS),
    reader("debian-words", texts::debian_words, 20_000, &[]).texts(texts::RELATIONS, texts::DEBIAN_WORDS),
    reader("copyright", texts::copyright, 10_000, &[]).texts(texts::COPYRIGHTS, texts::DEBIAN_WORDS),
    reader("dockerfile", texts::dockerfile, 10_000, &[]).texts(texts::DOCKERFILES, texts::DOCKER_WORDS),
    reader("yml", texts::yml, 10_000, &[]).texts(texts::YMLS, texts::YML_WORDS),
    reader("build-yml", texts::build_yml, 10_000, &[]).texts(texts::BUILD_YMLS, texts::YML_WORDS),
    reader("yq", texts::yq, 10_000, &[]).texts(texts::YQS, texts::YQ_WORDS),
    reader("install-words", texts::install_words, 5_000, &[]).texts(texts::GRUB_CFGS, texts::GRUB_WORDS),
];

/// The target that is broken on purpose: it shows that a run notices. `list` leaves it out.
pub const BROKEN: FuzzTarget = reader("broken", broken, 0, &[]).texts(&["nothing"], &[]);

fn broken(input: &[u8]) -> Result<()> {
    fn deep(depth: usize) -> usize {
        let room = std::hint::black_box([depth; 1000]);
        if room[depth % 1000] == usize::MAX { 0 } else { deep(depth + 1) + room[1] }
    }
    match input {
        b"p" => assert_ne!(input, b"p", "it is a p"),
        b"s" => _ = std::hint::black_box(deep(0)),
        b"m" => drop(std::hint::black_box(vec![1_u8; 1 << 30])),
        b"l" => loop {
            std::hint::spin_loop();
        },
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds;
    use std::collections::BTreeSet;

    #[test]
    fn every_folder_of_the_corpus_belongs_to_a_target_with_its_name() {
        let names: Vec<&str> = ALL.iter().map(|reader| reader.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        for entry in std::fs::read_dir(seeds::corpus()).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
            let name = entry.file_name().to_string_lossy().into_owned();
            assert!(ALL.iter().any(|reader| reader.folders.contains(&name.as_str())), "no target reads corpus/{name}");
        }
    }

    /// A target whose seeds are refused at the door tests the door only.
    #[test]
    fn every_target_reads_one_of_its_seeds() {
        for reader in ALL {
            let seeds = seeds::of(reader).unwrap_or_default();
            let answers: Vec<String> =
                seeds.iter().filter_map(|seed| (reader.read)(seed).err()).map(|error| format!("{error:#}")).collect();
            assert!(answers.len() < seeds.len(), "{}: {answers:#?}", reader.name);
        }
    }
}
