//! `sign FILE`: signs an EFI program with the key db, so that a firmware that knows the key starts it; or writes, beside a root file system,
//! the signed statement by which machines take it as an update.

use super::{keys, update_statement};
use anyhow::{Context as _, Result};
use checkout::context::Ctx;
use common::{artifact::write_named, digest::hex, error::usage};
use native::Pair;
use secureboot::{EfiProgram, Signer, authenticode, variable::Variable};
use std::path::{Path, PathBuf};

/// The program or root file system, and who signs.
#[derive(clap::Args)]
pub struct Sign {
    /// the EFI program: a boot loader, a kernel, Xen; or a rootfs.img, which gets a statement for machines that update themselves
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// write the signed program, or the statement, to this file; when unset FILE itself, or FILE.update.jsonl
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// sign with this private key (PEM, or a URI that openssl knows, such as pkcs11:…) instead of db.key, or image.key, in the folder of keys
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    /// for an EFI program: the certificate of --sign-key
    #[arg(long, value_name = "FILE", requires = "sign_key")]
    certificate: Option<PathBuf>,
}

/// `sign`.
pub fn run(ctx: &Ctx, args: Sign) -> Result<()> {
    if update_statement::is_root_file_system(&args.file)? {
        if args.certificate.is_some() {
            return Err(usage("--certificate is that of an EFI program: a machine checks an update by the public key in its own image"));
        }
        let key = args.sign_key.unwrap_or_else(|| update_statement::key(ctx));
        return update_statement::sign(ctx, &args.file, &key, args.out.as_deref());
    }
    sign_program(ctx, &args)
}

fn sign_program(ctx: &Ctx, Sign { file, out, sign_key, certificate }: &Sign) -> Result<()> {
    let program = std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    EfiProgram::parse(&program)
        .map_err(|error| usage(format!("{error:#}")))
        .with_context(|| format!("cannot sign `{}`", file.display()))?;
    let pair = match (sign_key, certificate) {
        (Some(key), Some(certificate)) => Pair::of_files(&ctx.tools, key, certificate)?,
        (Some(_), None) => return Err(usage("--sign-key of an EFI program needs its certificate\nhint: --certificate db.crt")),
        (None, _) => Pair::of_folder(&ctx.tools, &keys::folder(ctx), Variable::Db)?,
    };
    let out: &Path = out.as_ref().unwrap_or(file);
    if ctx.globals.dry_run {
        println!("sign {}, and write {}", file.display(), out.display());
        return Ok(());
    }
    let signer = Signer { certificate: &pair.certificate, sign: &|bytes| pair.sign(bytes) };
    let signed = authenticode::sign(&program, &signer).with_context(|| format!("cannot sign `{}`", file.display()))?;
    write_named(out, &signed)?;
    println!("signed: {}, Authenticode's SHA-256 {}", out.display(), hex(&EfiProgram::parse(&signed)?.digest()));
    Ok(())
}
