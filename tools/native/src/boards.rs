//! Copies the files that the package bsp-imx has for one board beside a disk's parts.

use super::files::copy_file;
use anyhow::{Context as _, Result};
use common::{error::did_you_mean, error::usage};
use std::path::Path;

const LICENSE: &str = "NXP-EULA-LICENSE.txt";

/// Copies the boot loader of `board`, its position on the disk, the device trees and the licence from `parts`/bsp-imx to `parts`.
pub fn place(parts: &Path, board: &str) -> Result<()> {
    let bsp = parts.join("bsp-imx");
    let names: Vec<String> = std::fs::read_dir(&bsp)
        .with_context(|| format!("cannot read `{}`", bsp.display()))?
        .filter_map(|entry| entry.ok().and_then(|entry| entry.file_name().into_string().ok()))
        .collect();
    if !names.contains(&format!("{board}-flash.bin")) {
        let boards: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix("-flash.bin")).collect();
        let near = did_you_mean(board, boards.iter().copied()).map_or_else(String::new, |near| format!("; did you mean {near}?"));
        return Err(usage(format!("PLATFORM={board}: bsp-imx has boot loaders for {}{near}", boards.join(", "))));
    }
    copy_file(&bsp.join(LICENSE), &parts.join(LICENSE))?;
    if let Some(above) = parts.parent() {
        copy_file(&bsp.join(LICENSE), &above.join(LICENSE))?;
    }
    copy_file(&bsp.join(format!("{board}-flash.bin")), &parts.join("imx8-flash.bin"))?;
    copy_file(&bsp.join(format!("{board}-flash.conf")), &parts.join("imx8-flash.conf"))?;
    for name in names.iter().filter(|name| name.ends_with(".dtb")) {
        copy_file(&bsp.join(name), &parts.join("boot").join(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boards_files_go_where_the_disk_takes_them_from() {
        let folder = tempfile::tempdir().expect("folder");
        let parts = folder.path().join("installer");
        std::fs::create_dir_all(parts.join("bsp-imx")).expect("folder");
        for name in ["imx8mq_evk-flash.bin", "imx8mq_evk-flash.conf", "imx8mq_evk.dtb", LICENSE] {
            std::fs::write(parts.join("bsp-imx").join(name), name).expect("file");
        }
        place(&parts, "imx8mq_evk").expect("placed");
        for name in ["imx8-flash.bin", "imx8-flash.conf", "boot/imx8mq_evk.dtb", LICENSE, "../NXP-EULA-LICENSE.txt"] {
            assert!(parts.join(name).is_file(), "{name}");
        }
        let error = place(&parts, "imx8mq_evt").expect_err("no such board").to_string();
        assert_eq!(error, "PLATFORM=imx8mq_evt: bsp-imx has boot loaders for imx8mq_evk; did you mean imx8mq_evk?");
    }
}
