//! `mkimage-raw-efi`: a disk with a partition table, made from partition images.

use crate::{Environment, USAGE, input, output::Output};
use anyhow::{Context as _, Result, bail};
use diskimage::{
    FileImage,
    disk::{self, Table},
    eve::{self, Kind},
    gpt::{self, Guid},
    recipes,
};
use std::{fs::File, io::Read as _, path::Path};

/// Default folder of the parts.
const PARTS: &str = "/parts";

struct Arguments {
    out: String,
    kinds: Vec<Kind>,
    random: bool,
    parts: String,
}

impl Arguments {
    /// `[-r] [--parts DIR] OUT [PARTITION...]`; one argument may contain several partitions.
    fn parse(args: &[String]) -> Result<Self> {
        let mut random = false;
        let mut parts = PARTS.to_owned();
        let mut args = args.iter();
        let out = loop {
            match args.next().map(String::as_str) {
                Some("-r") => random = true,
                Some("--parts") => parts = args.next().context("--parts needs a folder")?.clone(),
                Some(other) if other.starts_with('-') => bail!("unknown option `{other}`\n{USAGE}"),
                Some(out) => break out.to_owned(),
                None => bail!("mkimage-raw-efi needs the name of the disk image to write\n{USAGE}"),
            }
        };
        let kinds = args.flat_map(|arg| arg.split_whitespace()).map(str::parse).collect::<Result<Vec<Kind>>>()?;
        let kinds = if kinds.is_empty() { eve::INSTALLED.to_vec() } else { kinds };
        Ok(Self { out, kinds, random, parts })
    }
}

pub fn make_raw(args: &[String], environment: &Environment) -> Result<()> {
    let args = Arguments::parse(args)?;
    let out = Path::new(&args.out);
    let size = disk_size(out, &args.kinds)?;
    let (parts, epoch) = input::read_parts(&args.parts, args.kinds.contains(&Kind::UsbConf), environment)?;
    let mut table = recipes::disk(&args.kinds, size, &parts, epoch)?;
    if args.random {
        randomize(&mut table)?;
    }
    let layout = disk::layout(table)?;
    let output = Output::open(out)?;
    layout.write(output.file())?;
    output.commit()
}

/// Size in bytes of the disk: that of an existing file at `out` (`makeflash.sh -C` makes one), else 350 MiB, or 650 MiB for
/// verification. Fails on a disk with Android's partitions, because this tool cannot add partitions to a disk.
fn disk_size(out: &Path, kinds: &[Kind]) -> Result<u64> {
    let usual = if kinds.contains(&Kind::Verification) { eve::VERIFICATION_DISK_SIZE } else { eve::DISK_SIZE };
    let file = match File::open(out) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(usual),
        Err(error) => return Err(error).with_context(|| format!("cannot open `{}`", out.display())),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        bail!("`{}` is not a regular file: devices are not supported", out.display());
    }
    if metadata.len() == 0 {
        return Ok(usual);
    }
    if let Ok(Some(found)) = gpt::read(&FileImage::new(file)?) {
        let names: Vec<&str> = found.entries.iter().map(|entry| entry.name.as_str()).collect();
        if names.starts_with(&["vrl", "vrl_backup", "mcuimage", "fastboot"]) {
            bail!("`{}` has Android's partition table ({}): adding EVE to it is not supported", out.display(), names.join(" "));
        }
    }
    Ok(metadata.len())
}

/// `-r`: random GUIDs (RFC 9562, version 4).
fn randomize(table: &mut Table) -> Result<()> {
    let mut random = File::open("/dev/urandom").context("cannot open /dev/urandom for random GUIDs")?;
    let identities = std::iter::once(&mut table.disk_guid).chain(table.parts.iter_mut().map(|part| &mut part.uuid));
    for identity in identities {
        let mut bytes = [0; 16];
        random.read_exact(&mut bytes).context("cannot read /dev/urandom")?;
        *identity = Guid(u128::from_be_bytes(bytes) & !(0xf << 76) & !(3 << 62) | 4 << 76 | 2 << 62);
    }
    Ok(())
}
