//! Makes a VMDK by qemu-img reproducible. qemu-img writes a random content id and the name of its output, a temporary file, into the
//! descriptor, a text inside the file (Virtual Disk Format 5.0, "The Text Descriptor" and "Hosted Sparse Extents").

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};
use std::{fs::File, os::unix::fs::FileExt as _, path::Path};

const SECTOR: u64 = 512;
/// More bytes than any descriptor of qemu-img has.
const MOST: u64 = 128 * SECTOR;

/// Writes `name`, and an id that depends only on the descriptor, into the descriptor of the VMDK at `path`.
pub fn pin(path: &Path, name: &str) -> Result<()> {
    let file = File::options().read(true).write(true).open(path).with_context(|| format!("cannot open `{}`", path.display()))?;
    let mut header = [0; SECTOR as usize];
    file.read_exact_at(&mut header, 0).with_context(|| format!("cannot read `{}`", path.display()))?;
    ensure!(header.starts_with(b"KDMV"), "`{}` is no VMDK", path.display());
    let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("8 bytes"));
    let (start, bytes) = (number(28).saturating_mul(SECTOR), number(36).saturating_mul(SECTOR));
    ensure!((1..=MOST).contains(&bytes), "the descriptor of `{}` has {bytes} bytes", path.display());
    let mut old = vec![0; usize::try_from(bytes)?];
    file.read_exact_at(&mut old, start).with_context(|| format!("cannot read `{}`", path.display()))?;
    let text = std::str::from_utf8(&old)?.trim_end_matches('\0');
    let mut new = descriptor(text, name)?.into_bytes();
    ensure!(new.len() < old.len(), "the descriptor of `{}` has no room for the name {name}", path.display());
    new.resize(old.len(), 0);
    file.write_all_at(&new, start).with_context(|| format!("cannot write `{}`", path.display()))
}

/// The descriptor `text` with the file name `name` and the reproducible id.
fn descriptor(text: &str, name: &str) -> Result<String> {
    let line = |line: &str, id: &str| match line.rsplit_once(" SPARSE ") {
        _ if line.starts_with("CID=") => format!("CID={id}\n"),
        Some((extent, _)) => format!("{extent} SPARSE \"{name}\"\n"),
        None => format!("{line}\n"),
    };
    ensure!(text.lines().any(|line| line.starts_with("CID=")), "the descriptor of the VMDK has no CID");
    let with_id = |id: &str| text.lines().map(|text| line(text, id)).collect::<String>();
    let hash = Sha256::digest(with_id(""));
    // The highest bit stays off: ffffffff means "no parent", and fffffffe is what qemu-img begins with.
    let id = u32::from_be_bytes([hash[0] & 0x7f, hash[1], hash[2], hash[3]]);
    Ok(with_id(&format!("{id:08x}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::tests;
    use child::Tool;
    use knobs::ImageFormat;

    #[test]
    fn qemu_img_reads_what_was_made() {
        let Some(tools) = tests::tools() else { return };
        let folder = tempfile::tempdir().expect("a folder");
        let step = tests::made(folder.path(), &tools, ImageFormat::Vmdk);
        let qemu_img = |words: &[&str]| tools.cmd(Tool::QemuImg).expect("found").args(words);
        qemu_img(&["check", "-q", "-f", "vmdk"]).arg(&step.out).run().expect("whole");
        qemu_img(&["compare", "-q", "-f", "raw", "-F", "vmdk"]).arg(&step.raw).arg(&step.out).run().expect("the same content");
        let info = qemu_img(&["info", "-f", "vmdk"]).arg(&step.out).stdout().expect("read");
        assert!(info.contains("create type: streamOptimized") && info.contains(&format!("({} bytes)", step.size_mib << 20)), "{info}");
        let bytes = std::fs::read(&step.out).expect("read");
        assert!(bytes.windows(18).any(|text| text == b"SPARSE \"live.vmdk\""), "the extent has another name");
    }

    #[test]
    fn id_and_name_are_the_only_changes() {
        let text =
            |id: &str, name: &str| format!("# Disk DescriptorFile\nversion=1\nCID={id}\nparentCID=ffffffff\nRW 131072 SPARSE \"{name}\"\n");
        let one = descriptor(&text("f515b260", ".live.vmdk.part"), "live.vmdk").expect("a descriptor");
        let two = descriptor(&text("00000001", "other"), "live.vmdk").expect("a descriptor");
        assert_eq!(one, two);
        let id = one.lines().nth(2).and_then(|line| line.strip_prefix("CID=")).expect("an id");
        assert_eq!(one, text(id, "live.vmdk"));
        let error = descriptor("version=1\n", "live.vmdk").expect_err("no CID").to_string();
        assert_eq!(error, "the descriptor of the VMDK has no CID");
    }
}
