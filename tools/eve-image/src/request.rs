//! What a person asks the image for: a word, a format, a size.

use crate::DiskFormat;
use anyhow::{Context as _, Result, bail};

/// The help of the image. The names and the order of arguments are those of lf-edge/eve's.
pub const USAGE: &str = "usage: docker run --rm [-v DIR:/in] [-v DIR:/out] lfedge/eve:TAG [-f FORMAT] WORD [MEBIBYTES]

  version         print the version
  rootfs          the root file system
  live            the disk that boots; MEBIBYTES is its size
  installer_raw   the disk that installs EVE, if the image has an installer; MEBIBYTES is its size
  installer_iso   the same as an ISO
  installer_net   the same as a tar for the network
  sbom            the bill of materials, SPDX
  kernel, initrd  the kernel and its initrd
  help            this text

-f FORMAT  of live and installer_raw: raw (default), qcow2, vdi, parallels or gcp
/in        files that replace or add to those of the configuration
/out       a folder for the artifact; without it, the artifact goes to standard output. A file mounted as /out/f receives it as well";

/// The artifacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The text of the version.
    Version,
    /// rootfs.img.
    Rootfs,
    /// The live disk.
    Live,
    /// The disk of the installer.
    InstallerRaw,
    /// The ISO of the installer.
    InstallerIso,
    /// The tar for a netboot of the installer.
    InstallerNet,
    /// The SPDX document.
    Sbom,
    /// The kernel.
    Kernel,
    /// Its initrd.
    Initrd,
}

/// A row of the table of words.
struct Row {
    word: Word,
    name: &'static str,
    /// The name of the artifact in /out.
    file: &'static str,
    /// The part that is the artifact, or none where it is made of parts.
    part: Option<&'static str>,
    /// Whether a size may follow.
    sized: bool,
}

const fn part(word: Word, name: &'static str, part: &'static str) -> Row {
    Row { word, name, file: part, part: Some(part), sized: false }
}

const fn made(word: Word, name: &'static str, file: &'static str, sized: bool) -> Row {
    Row { word, name, file, part: None, sized }
}

const WORDS: &[Row] = &[
    part(Word::Version, "version", "eve_version"),
    part(Word::Rootfs, "rootfs", "rootfs.img"),
    made(Word::Live, "live", "live.raw", true),
    made(Word::InstallerRaw, "installer_raw", "installer.raw", true),
    made(Word::InstallerIso, "installer_iso", "installer.iso", false),
    made(Word::InstallerNet, "installer_net", "installer.net", false),
    part(Word::Sbom, "sbom", "rootfs.spdx.json"),
    part(Word::Kernel, "kernel", "kernel"),
    part(Word::Initrd, "initrd", "initrd.img"),
];

impl Word {
    fn row(self) -> &'static Row {
        WORDS.iter().find(|row| row.word == self).unwrap_or(&WORDS[0])
    }

    /// The part that it is, if it is one.
    pub(crate) fn part(self) -> Option<&'static str> {
        self.row().part
    }

    /// The word as a person types it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().name
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EveRequest {
    /// The artifact.
    pub word: Word,
    /// The format of a disk.
    pub format: DiskFormat,
    /// The size of a disk in MiB; none for the usual one.
    pub mebibytes: Option<u64>,
}

impl EveRequest {
    /// Parses `[-f FORMAT] WORD [MEBIBYTES]`; none if help is asked for.
    pub fn parse(args: &[String]) -> Result<Option<Self>> {
        let mut format = None;
        let mut words = Vec::new();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.strip_prefix("-f") {
                Some("") => format = Some(args.next().context("-f needs a format")?.as_str()),
                Some(glued) => format = Some(glued),
                None if arg == "-h" || arg == "--help" => return Ok(None),
                None if arg.starts_with('-') => bail!("unknown option `{arg}`\n{USAGE}"),
                None => words.push(arg.as_str()),
            }
        }
        let (word, size) = match words[..] {
            [] | ["help"] => return Ok(None),
            [word] => (word, None),
            [word, size] => (word, Some(size)),
            _ => bail!("one word is expected, and a size: {}\n{USAGE}", words.join(" ")),
        };
        let Some(row) = WORDS.iter().find(|row| row.name == word) else { bail!("unknown word `{word}`\n{USAGE}") };
        let format = format.map_or(Ok(DiskFormat::Raw), str::parse)?;
        if format != DiskFormat::Raw && !row.sized {
            bail!("-f {format} is a format of a disk, and {word} is none");
        }
        let mebibytes = match size {
            Some(_) if !row.sized => bail!("{word} has no size to choose"),
            Some(size) => {
                Some(size.parse().ok().filter(|size| (1..1 << 24).contains(size)).with_context(|| format!("`{size}` is no size in MiB"))?)
            }
            None => None,
        };
        Ok(Some(Self { word: row.word, format, mebibytes }))
    }

    /// Whether the artifact is a text, which may be printed on a terminal.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self.word, Word::Version | Word::Sbom)
    }

    /// The name of the artifact's file.
    #[must_use]
    pub fn file_name(&self) -> String {
        match self.format {
            DiskFormat::Raw => self.word.row().file.to_owned(),
            other => format!("{}.{}", self.word.row().file, other.suffix()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<EveRequest>> {
        EveRequest::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn words_are_read_as_the_original_reads_them() {
        let request = parse("-f qcow2 live 8192").unwrap().unwrap();
        assert_eq!((request.word, request.format, request.mebibytes), (Word::Live, DiskFormat::Qcow2, Some(8192)));
        assert_eq!(request.file_name(), "live.raw.qcow2");
        assert_eq!(parse("-fgcp live").unwrap().unwrap().file_name(), "live.raw.img.tar.gz");
        assert_eq!(parse("installer_raw").unwrap().unwrap().file_name(), "installer.raw");
        for line in ["", "help", "--help", "live -h"] {
            assert_eq!(parse(line).unwrap(), None, "{line}");
        }
    }

    #[test]
    fn wrong_words_are_named() {
        let wrong = [
            ("liv", "unknown word `liv`"),
            ("-x live", "unknown option `-x`"),
            ("-f vhdx live", "unknown format `vhdx`"),
            ("-f qcow2 rootfs", "-f qcow2 is a format of a disk, and rootfs is none"),
            ("live -1", "unknown option `-1`"),
            ("live many", "`many` is no size in MiB"),
            ("live 0", "`0` is no size in MiB"),
            ("rootfs 10", "rootfs has no size to choose"),
            ("live 1 2", "one word is expected"),
            ("live -f", "-f needs a format"),
        ];
        for (line, expected) in wrong {
            let error = format!("{:#}", parse(line).unwrap_err());
            assert!(error.starts_with(expected), "{line}: {error}");
        }
    }
}
