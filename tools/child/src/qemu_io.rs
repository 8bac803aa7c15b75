//! qemu-io, which comes with qemu-img: writes bytes into a qcow2 image.

use super::{Output, Tool, Tools};
use anyhow::Result;
use std::path::Path;

/// Writes the file `from` (`length` bytes) into the qcow2 `image` at `offset` of its disk.
pub fn write_at(tools: &Tools, image: &Path, offset: u64, from: &Path, length: u64, output: &Output) -> Result<()> {
    // qemu-io splits its command at blanks, so pass only the file's name, without its folder.
    let (folder, name) = (from.parent().unwrap_or(Path::new("/")), from.file_name().unwrap_or_default().to_string_lossy());
    tools
        .cmd(Tool::QemuIo)?
        .step(format!("writing into {}", image.display()))
        .dir(folder)
        .args(["-f", "qcow2", "-c", &format!("write -q -s {name} {offset} {length}")])
        .arg(image)
        .output(output)
        .run()
}
