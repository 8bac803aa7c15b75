//! `--secure-boot`: the firmware of a machine that starts only what the keys of `keys init` have signed. It is OVMF's secure variant, of this
//! machine's package ovmf, because the tree's own firmware has no Secure Boot.

use super::super::keys;
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::{Arch, artifact::write_named, error::usage};
use std::{fs, path::Path};
use vm::Firmware;

const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
/// Variables without keys.
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// The firmware. Its variables, with the keys in, are the file `NAME-secure-boot.fd` in `folder`, and are written anew.
pub fn firmware(ctx: &Ctx, folder: &Path, name: &str) -> Result<Firmware> {
    if ctx.capabilities().machines_are_as_make_had_them() {
        return Err(usage("--secure-boot: the machine of this tree is that of its Makefile, which has no Secure Boot"));
    }
    if ctx.knobs.image.arch != Arch::Amd64 {
        return Err(usage(format!("--secure-boot: there is no such machine for {} yet", ctx.knobs.image.arch)));
    }
    if let Some(missing) = [CODE, VARIABLES].into_iter().find(|file| !Path::new(file).is_file()) {
        return Err(usage(format!("--secure-boot: the firmware `{missing}` is missing\nhint: apt-get install ovmf")));
    }
    let enrolled = keys::enrolled(ctx, Path::new(VARIABLES)).context("--secure-boot: the firmware needs the keys")?;
    let vars = folder.join(format!("{name}-secure-boot.fd"));
    if !ctx.globals.dry_run {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        write_named(&vars, &enrolled)?;
    }
    Ok(Firmware::Flash { code: CODE.into(), vars })
}
