//! `--secure-boot`: the firmware of a machine that starts only what the keys of `keys init` have signed. It is OVMF's secure variant, of this
//! machine's package ovmf, because the tree's own firmware has no Secure Boot.

use super::super::keys;
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::{Arch, artifact::write_named, eprintln, error::usage};
use imagefs::{LookedUp, Spec, look_up};
use native::{certificate, certificate_file};
use secureboot::{EfiProgram, variable::Variable};
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
    let (code, enrolled) = secure_boot_firmware(ctx)?;
    let vars = folder.join(format!("{name}-secure-boot.fd"));
    if !ctx.globals.dry_run {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        write_named(&vars, &enrolled)?;
    }
    Ok(Firmware::Flash { code: code.into(), vars })
}

/// The code of that firmware, and its variables with the keys in.
pub fn secure_boot_firmware(ctx: &Ctx) -> Result<(&'static Path, Vec<u8>)> {
    Ok((Path::new(CODE), keys::enrolled(ctx, Path::new(VARIABLES)).context("--secure-boot: the firmware needs the keys")?))
}

/// The boot loader on a live disk, which is what the firmware starts: the partition and the path.
const LOADER: &str = "1:/EFI/BOOT/BOOTX64.EFI";
/// Bytes of a signature list with one certificate, without that.
const LIST_OF_ONE: u64 = 28 + 16;
/// The most bytes of a boot loader.
const MOST: u64 = 64 << 20;

/// Fails if the boot loader of `disk` is not signed with db, because the machine would show its firmware's menu and nothing else. The
/// firmware checks the signature, this only looks for it.
pub fn check_disk(ctx: &Ctx, disk: &Path) -> Result<()> {
    let shown = disk.display();
    let spec = Spec { file: disk.to_owned(), steps: LOADER.split(':').map(str::to_owned).collect() };
    let program = look_up(&spec).and_then(|found| match found {
        LookedUp::Entry(volume, path) => volume.get(&path).map(|entry| volume.read(entry, MOST)).transpose(),
        LookedUp::Whole => Ok(None),
    });
    let program = match program {
        Ok(Some(program)) => program,
        Ok(None) | Err(_) => {
            eprintln!("note: `{shown}` has no boot loader that can be looked at, so nobody knows whether it is signed");
            return Ok(());
        }
    };
    let keys = keys::folder(ctx);
    let certificate = certificate(&ctx.tools, &certificate_file(&keys, Variable::Db))?;
    let unsigned = EfiProgram::parse(&program).with_context(|| format!("the boot loader of `{shown}`"))?.unsigned().len();
    let signatures = program.get(unsigned..).unwrap_or_default();
    if signatures.windows(certificate.der.len()).any(|bytes| bytes == certificate.der) {
        return Ok(());
    }
    // The firmware also gets what else is in db.esl: certificates of others, or of an authority whose own certificate a signature leaves out.
    let enrolled = fs::metadata(keys.join("db.esl")).map_or(0, |file| file.len());
    if !signatures.is_empty() && enrolled > LIST_OF_ONE + certificate.der.len() as u64 {
        return Ok(());
    }
    let what =
        if signatures.is_empty() { "is not signed".to_owned() } else { format!("is not signed with the key db of `{}`", keys.display()) };
    Err(usage(format!(
        "--secure-boot: the boot loader of `{shown}` {what}, so the firmware would not start it\nhint: cargo xtask live --sign makes a signed live.qcow2, cargo xtask live-raw --sign a signed live.raw"
    )))
}
